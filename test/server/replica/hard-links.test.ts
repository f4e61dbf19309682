import {
  appendFileSync,
  copyFileSync,
  linkSync,
  lstatSync,
  readFileSync,
  renameSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { FileRecord } from '../../../common/tree/entry.ts';
import { contentName } from '../../../services/sync-server/replica/layout.ts';
import { MAX_BUILT_BYTES } from '../../../services/sync-server/replica/limits.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import {
  fileEntry,
  link,
  linesOf,
  metadata,
  mkdir,
  move,
  p,
  put,
  putStored,
  remove,
  removeDirectory,
  sharedNamesOf,
  symlink,
  T0,
  temporaryDirectory,
  TestReplica,
  treeOf,
} from './support.ts';

describe('hard links in the replica (E19)', () => {
  let directory: string;
  let replica: TestReplica;
  const one: FileRecord = fileEntry('a', 'one');

  beforeEach(() => {
    directory = temporaryDirectory();
    replica = TestReplica.open(directory);
  });

  afterEach(() => {
    expect(treeOf(directory), 'disk = index').to.deep.equal(linesOf(replica.indexEntries()));
    expect(replica.stagedNames().filter((name) => name.startsWith('b-'))).to.deep.equal([]);
    expect(replica.lookThrough(), 'nothing is taken for drift').to.deep.equal([]);
    expect(replica.log.warnings).to.deep.equal([]);
    replica.close();
    removeDirectory(directory);
  });

  const local = (path: string): string => join(directory, path);
  const problemsOf = (answer: { problems: readonly { kind: string; reason: string; index: number }[] }): string[] =>
    answer.problems.map(({ index, kind, reason }) => `${index} ${kind} ${reason}`);

  /** As long after all that was done as it takes for a time of change to tell more than the slack hides. */
  const age = (): void => {
    const { index } = replica.core;
    for (const entry of [...index.walk(p(''))]) {
      const { identity } = entry;
      if (identity === undefined) continue;
      const { ctimeNs } = lstatSync(local(entry.path), { bigint: true });
      index.setIdentity(entry.path, { ...identity, ctimeNs });
    }
  };

  it('makes a file a further name of another one, in place of what was there', () => {
    replica.applyAll(put('a', 'one'), put('b', 'two'), symlink('l', 'a'), mkdir('d'), put('d/x', 'x'));
    replica.applyAll(link('b', 'a', one), link('l', 'a', one), link('d', 'a', one), link('new', 'b', one));
    expect(sharedNamesOf(directory)).to.deep.equal([['a', 'b', 'd', 'l', 'new']]);
  });

  it('links within the batch that brings the file, also in a directory that comes with it', () => {
    replica.applyAll(mkdir('d'), put('d/a', 'one'), link('d/b', 'd/a', one), put('d/c', 'one'), link('e', 'd/a', one));
    expect(sharedNamesOf(directory)).to.deep.equal([['d/a', 'd/b', 'e']]);
  });

  it('does nothing where both are names of one file', () => {
    replica.applyAll(put('a', 'one'), link('b', 'a', one));
    const { ino } = lstatSync(local('a'));
    replica.applyAll(link('b', 'a', one), link('a', 'b', one));
    expect(lstatSync(local('a')).ino).to.equal(ino);
    expect(sharedNamesOf(directory)).to.deep.equal([['a', 'b']]);
  });

  it('wants the content where the other file is not what it should be', () => {
    replica.applyAll(put('a', 'one'), mkdir('d'));
    const other = fileEntry('b', 'one', 0o600);
    const answer = replica.apply([
      link('b', 'gone', one),
      link('b', 'a', other),
      link('b', 'd', one),
      link('no/b', 'a', one),
      link('a', 'a', one),
      link('d', 'd/x', one),
    ]);
    expect(problemsOf(answer)).to.deep.equal([
      '0 content-needed CONTENT_NOT_FOUND',
      '1 content-needed CONTENT_NOT_FOUND',
      '2 content-needed CONTENT_NOT_FOUND',
      '3 invalid PARENT_MISSING',
      '4 invalid INVALID_ARGUMENT',
      '5 invalid INVALID_ARGUMENT',
    ]);
  });

  it('gives a name a file of its own when it gets a content or metadata of its own', () => {
    replica.applyAll(put('a', 'one'), link('b', 'a', one), link('c', 'a', one), link('d', 'a', one));
    age();
    replica.applyAll(metadata('b', 'file', 0o600, T0 + 1_000n), put('c', 'two'));
    expect(sharedNamesOf(directory)).to.deep.equal([['a', 'd']]);
    expect(lstatSync(local('a')).mode & 0o777).to.equal(0o644);
    expect(readFileSync(local('b'), 'utf8')).to.equal('one');
    age();
    replica.applyAll(link('a', 'b', fileEntry('a', 'one', 0o600, T0 + 1_000n)), remove('d'));
    expect(sharedNamesOf(directory)).to.deep.equal([['a', 'b']]);
  });

  it('knows the inode of a name that is linked to one that got an inode of its own just before', () => {
    replica.applyAll(put('a', 'one'), link('b', 'a', one));
    replica.applyAll(metadata('b', 'file', 0o600, T0), link('a', 'b', fileEntry('a', 'one', 0o600)));
    for (const name of ['a', 'b']) {
      const { ino } = lstatSync(local(name), { bigint: true });
      expect(replica.core.index.get(p(name))?.identity?.ino).to.equal(ino);
    }
    expect(sharedNamesOf(directory)).to.deep.equal([['a', 'b']]);
  });

  it('goes on with the other names when one was linked, moved or removed long after', () => {
    replica.applyAll(put('a', 'one'), link('b', 'a', one), link('c', 'a', one), mkdir('d'), link('d/e', 'a', one));
    age();
    replica.applyAll(link('f', 'a', one));
    replica.applyAll(move('b', 'd/b'));
    replica.applyAll(remove('c'));
    replica.applyAll(move('d', 'g'), remove('f'));
    replica.applyAll(metadata('g/e', 'file', 0o600, T0), remove('g'));
    replica.applyAll(metadata('a', 'file', 0o600, T0));
  });

  it('knows the names that are left when others went with a directory, whenever its trash is emptied', () => {
    replica.applyAll(put('a', 'one'), mkdir('d'), link('d/b', 'a', one), link('c', 'a', one));
    age();
    replica.applyAll(remove('d'));
    for (const name of replica.core.staging.list().filter((each) => each.startsWith('t-'))) {
      replica.core.staged.discard(name);
    }
    replica.applyAll(metadata('a', 'file', 0o600, T0), remove('c'));
  });

  it('sees names of one file through swaps and moves over each other', () => {
    replica.applyAll(put('a', 'one'), link('b', 'a', one), put('c', 'two'));
    replica.applyAll(move('a', 't'), move('c', 'a'), move('t', 'c'));
    expect(sharedNamesOf(directory)).to.deep.equal([['b', 'c']]);
    replica.applyAll(move('b', 'c'));
    expect([...treeOf(directory).keys()]).to.deep.equal(['a', 'c']);
  });

  it('does not link what was changed behind its back', () => {
    replica.applyAll(put('a', 'one'), put('b', 'one'));
    appendFileSync(local('a'), 'foreign');
    expect(problemsOf(replica.apply([link('b', 'a', one)]))).to.deep.equal(['0 drifted DRIFTED']);
    expect(readFileSync(local('b'), 'utf8')).to.equal('one');
    replica.log.warnings.length = 0;
  });

  it('does not link what takes the place of the file in this very moment', () => {
    replica.applyAll(put('a', 'one'));
    {
      using _ = failingCalls('linkSync', 'EIO', () => {
        unlinkSync(local('a'));
        writeFileSync(local('a'), 'foreign');
        return false;
      });
      expect(problemsOf(replica.apply([link('b', 'a', one)]))).to.deep.equal(['0 drifted DRIFTED']);
    }
    expect([...treeOf(directory).keys()]).to.deep.equal(['a']);
    replica.log.warnings.length = 0;
  });

  it('removes none that is another one by its length', () => {
    replica.applyAll(put('a', 'one'), link('b', 'a', one), put('c', 'two'));
    appendFileSync(local('c'), 'foreign');
    expect(problemsOf(replica.apply([remove('c')]))).to.deep.equal(['0 drifted DRIFTED']);
    expect(readFileSync(local('c'), 'utf8')).to.equal('twoforeign');
    replica.log.warnings.length = 0;
  });

  it('copies no name of a file that would take long, to give it metadata of its own', () => {
    const long = { ...fileEntry('a', ''), sizeBytes: MAX_BUILT_BYTES + 1 };
    writeFileSync(local(`.lockstep/staging/${contentName(long.digest)}`), '');
    truncateSync(local(`.lockstep/staging/${contentName(long.digest)}`), long.sizeBytes);
    replica.applyAll(putStored(long), link('b', 'a', long));
    expect(problemsOf(replica.apply([metadata('b', 'file', 0o600, T0)]))).to.deep.equal([
      '0 content-needed CONTENT_NOT_FOUND',
    ]);
    expect(lstatSync(local('a')).mode & 0o777).to.equal(0o644);
    expect(lstatSync(local('b')).ino).to.equal(lstatSync(local('a')).ino);
    replica.applyAll(remove('a'), remove('b'));
    replica.log.warnings.length = 0;
  });

  it('tells of names that were separated behind its back, though nothing else differs', () => {
    replica.applyAll(mkdir('d'), put('a', 'one'), link('b', 'a', one), link('d/c', 'a', one));
    copyFileSync(local('b'), local('.lockstep/copy'));
    const { mtimeNs } = lstatSync(local('b'), { bigint: true });
    utimesSync(local('.lockstep/copy'), Number(mtimeNs) / 1e9, Number(mtimeNs) / 1e9);
    replica.applyAll(metadata('', 'directory', 0o755, T0));
    renameSync(local('.lockstep/copy'), local('b'));
    expect(replica.lookThrough()).to.include('b');
    replica.log.warnings.length = 0;
    const { identity: _, ...record } = replica.core.index.get(p('b')) ?? {};
    replica.applyAll(link('a', 'b', record as FileRecord), link('d/c', 'b', record as FileRecord));
    expect(sharedNamesOf(directory)).to.deep.equal([['a', 'b', 'd/c']]);
  });

  it('does not spread metadata to names that it does not know', () => {
    replica.applyAll(put('a', 'one'));
    linkSync(local('a'), local('.lockstep/kept'));
    replica.lookThrough();
    replica.applyAll(metadata('a', 'file', 0o600, T0 + 1_000n));
    expect(lstatSync(local('.lockstep/kept')).mode & 0o777).to.equal(0o644);
  });

  it('brings a name back that a power cut took, from the others', async () => {
    replica.applyAll(put('a', 'one'));
    await replica.checkpoint();
    replica.applyAll(link('b', 'a', one), metadata('', 'directory', 0o755, T0));
    replica.close();
    unlinkSync(local('b'));
    replica = TestReplica.open(directory);
    expect(readFileSync(local('b'), 'utf8')).to.equal('one');
    // They are two files now, and whoever linked them has to hear of it.
    expect(replica.recovery.isLossy).to.equal(true);
    replica.log.warnings.length = 0;
  });

  it('links a thousand names at once, and asks for the content of none', () => {
    replica.applyAll(put('a', 'one'));
    age();
    const names = Array.from({ length: 1000 }, (_, at) => `n${at}`);
    replica.applyAll(...names.map((name) => link(name, 'a', one)));
    expect(sharedNamesOf(directory).map(({ length }) => length)).to.deep.equal([1001]);
  });
});
