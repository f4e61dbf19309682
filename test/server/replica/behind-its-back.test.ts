/**
 * The applier on a disk that somebody else has changed since it last looked (E94, E95): each way in which what a change is about,
 * or where it leads, can be another thing by now.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Change } from '../../../gen/lockstep/sync/v1/change.ts';
import { contentName } from '../../../services/sync-server/replica/layout.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import {
  fileEntry,
  linesOf,
  metadata,
  mkdir,
  move,
  p,
  put,
  putStored,
  remove,
  removeDirectory,
  symlink,
  T0,
  temporaryDirectory,
  TestReplica,
  treeOf,
} from './support.ts';

describe('the applier, behind whose back the disk was changed', () => {
  let directory: string;
  let replica: TestReplica;
  const local = (path: string): string => join(directory, path);

  beforeEach(() => {
    directory = temporaryDirectory('/dev/shm');
    replica = TestReplica.open(directory);
  });

  /** Whatever happened: index and disk agree in the end, and nothing is left in staging. */
  afterEach(() => {
    replica.lookThrough();
    expect(treeOf(directory), 'disk = index').to.deep.equal(linesOf(replica.indexEntries()));
    expect(replica.stagedNames()).to.deep.equal([]);
    replica.core.index.verify();
    replica.close();
    removeDirectory(directory);
  });

  const problemsOf = (...changes: Change[]): string[] =>
    replica.apply(changes).problems.map(({ index, kind, reason }) => `${index} ${kind} ${reason}`);
  /** Something else under a name that the index has a directory for. */
  const replaceDirectory = (name: string): void => {
    renameSync(local(name), local(`${name}-old`));
    mkdirSync(local(name));
    writeFileSync(local(`${name}/foreign`), '1');
  };

  it('replaces a directory that is gone already by what it is to be', () => {
    replica.applyAll(mkdir('d'), put('d/a', '1'), mkdir('e'), put('e/a', '1'));
    for (const name of ['d', 'e']) rmSync(local(name), { recursive: true });
    replica.applyAll(put('d', 'a file'), symlink('e', 'd'));
    expect(readFileSync(local('e'), 'utf8')).to.equal('a file');
    replica.applyAll(remove('d'), remove('e'));
  });

  it('neither removes, replaces nor sets a directory that stands where its own did', () => {
    replica.applyAll(...['a', 'b', 'c'].flatMap((name) => [mkdir(name), put(`${name}/f`, '1')]));
    for (const name of ['a', 'b', 'c']) replaceDirectory(name);
    expect(problemsOf(remove('a'), put('b', 'file'), metadata('c', 'directory', 0o700, T0))).to.deep.equal([
      '0 drifted DRIFTED',
      '1 drifted DRIFTED',
      '2 drifted DRIFTED',
    ]);
    for (const name of ['a', 'b', 'c']) expect(readFileSync(local(`${name}/foreign`), 'utf8')).to.equal('1');
  });

  it('moves nothing that is gone, and nothing of another kind', () => {
    replica.applyAll(put('gone', '1'), put('kind', '1'), put('edited', '1'), mkdir('d'), put('into', '1'));
    rmSync(local('gone'));
    rmSync(local('kind'));
    symlinkSync('d', local('kind'));
    writeFileSync(local('edited'), 'edited');
    mkdirSync(local('foreign'));
    expect(
      problemsOf(move('gone', 'd/gone'), move('kind', 'd/kind'), move('edited', 'd/edited'), move('into', 'foreign')),
    ).to.deep.equal([0, 1, 2, 3].map((index) => `${index} drifted DRIFTED`));
    expect(replica.core.index.get(p('kind'))?.kind).to.equal('symlink');
  });

  it('moves a directory over a foreign file, and a file over its own other name', () => {
    replica.applyAll(mkdir('d'), put('d/a', '1'), put('f', '1'));
    writeFileSync(local('e'), 'foreign');
    execFileSync('ln', [local('f'), local('g')]);
    replica.lookThrough();
    replica.applyAll(remove('e'));
    writeFileSync(local('e'), 'foreign');
    replica.applyAll(move('d', 'e'));
    expect(readFileSync(local('e/a'), 'utf8')).to.equal('1');
    expect(replica.log.warnings.filter((line) => line.startsWith('replaced a foreign change'))).to.have.length(1);
    replica.applyAll(move('f', 'g'));
    expect(existsSync(local('f'))).to.equal(false);
  });

  it('deletes nothing that it does not know, and minds no FIFO', () => {
    execFileSync('mkfifo', [local('fifo')]);
    writeFileSync(local('foreign'), '1');
    expect(problemsOf(remove('fifo'), remove('foreign'), remove('nothing'))).to.deep.equal(['1 drifted DRIFTED']);
    expect(existsSync(local('fifo'))).to.equal(true);
    rmSync(local('fifo'));
  });

  it('deletes no directory in the place of a file', () => {
    replica.applyAll(put('f', '1'), put('g', '1'));
    for (const name of ['f', 'g']) {
      rmSync(local(name));
      mkdirSync(local(name));
    }
    expect(problemsOf(remove('f'), metadata('g', 'file', 0o600, T0))).to.deep.equal([
      '0 drifted DRIFTED',
      '1 drifted DRIFTED',
    ]);
  });

  it('removes a large directory of which some is missing, and none of which anything has changed (E96)', () => {
    const files = Array.from({ length: 1_500 }, (_, at) => put(`d/f${at}`, `${at}`));
    replica.applyAll(mkdir('d'), ...files, mkdir('d/e'), put('d/e/f', '1'), symlink('d/l', 'f1'));
    rmSync(local('d/f700'));
    writeFileSync(local('d/f1400'), 'edited');
    expect(problemsOf(remove('d'))).to.deep.equal(['0 drifted DRIFTED']);
    expect(readFileSync(local('d/f1400'), 'utf8')).to.equal('edited');
    rmSync(local('d/f1'));
    replica.applyAll(remove('d'));
    expect(existsSync(local('d'))).to.equal(false);
  });

  it('removes what it has never seen itself only where the kind is right', () => {
    replica.applyAll(mkdir('d'), put('d/a', '1'), mkdir('e'), put('e/a', '1'));
    for (const path of ['d/a', 'e/a']) replica.core.index.setIdentity(p(path), undefined);
    unlinkSync(local('e/a'));
    symlinkSync('x', local('e/a'));
    expect(problemsOf(remove('d'), remove('e'))).to.deep.equal(['1 drifted DRIFTED']);
  });

  it('takes the contents of a directory back that could not be replaced', () => {
    replica.applyAll(mkdir('d'), put('d/a', '1'), mkdir('d/e'), put('d/e/b', '2'));
    const known = replica.core.index.get(p('d/e/b'));
    {
      using _ = failingCalls('renameSync', 'EIO', (_number, [, to]) => String(to).endsWith('/d'));
      expect(problemsOf(put('d', 'file'))).to.deep.equal(['0 failed IO']);
    }
    // It was removed before: that much had been done, and is found.
    expect(replica.core.index.has(p('d'))).to.equal(false);
    replica.applyAll(mkdir('d'), put('d/a', '1'), mkdir('d/e'), put('d/e/b', '2'));
    writeFileSync(local('d/foreign'), '');
    expect(problemsOf(put('d', 'file'), put('other', '1'))).to.deep.equal(['0 drifted DRIFTED']);
    expect(replica.core.index.get(p('d/e/b'))).to.deep.include({ kind: known?.kind, sizeBytes: 1 });
    rmSync(local('d/foreign'));
  });

  it('takes back what was moved or removed out of a directory that the same batch removes (E95)', () => {
    replica.applyAll(mkdir('d'), put('d/a', '1'), mkdir('d/e'), put('d/e/b', '2'));
    writeFileSync(local('d/a'), 'foreign');
    writeFileSync(local('d/e/foreign'), '');
    const changes = [move('d/a', 'a'), remove('d/e'), remove('d'), put('other', '1')];
    expect(problemsOf(...changes)).to.deep.equal(['0 drifted DRIFTED', '1 drifted DRIFTED', '2 drifted DRIFTED']);
    expect(readFileSync(local('d/a'), 'utf8')).to.equal('foreign');
    expect(replica.core.index.has(p('d/e/foreign'))).to.equal(true);
    replica.applyAll(...changes);
  });

  it('says of each change what staging refuses, and goes on when it no longer does (E87)', () => {
    const content = Buffer.alloc(5000, 'x');
    writeFileSync(local(`.lockstep/staging/${contentName(fileEntry('c', content).digest)}`), content);
    {
      using _write = failingCalls('writeSync', 'EIO');
      using _make = failingCalls('mkdirSync', 'ENOENT');
      using _link = failingCalls('symlinkSync', 'EDQUOT');
      expect(problemsOf(put('a', '1'), mkdir('d'), symlink('l', 'a'))).to.deep.equal([
        '0 failed IO',
        '1 failed IO',
        '2 failed NO_SPACE',
      ]);
    }
    {
      using _ = failingCalls('futimesSync', 'EIO');
      problemsOf(putStored(fileEntry('c', content)));
    }
    replica.applyAll(put('a', '1'), mkdir('d'), symlink('l', 'a'), putStored(fileEntry('c', content)));
  });

  it('leaves a staged file that it cannot remove for the next start', () => {
    replica.applyAll(put('a', '1'));
    mkdirSync(local('d'));
    {
      using _ = failingCalls('unlinkSync', 'EIO');
      expect(problemsOf(put('d', 'file'))).to.deep.equal(['0 drifted DRIFTED']);
    }
    expect(replica.log.warnings.join()).to.include('a staged file stays behind');
    replica.close();
    replica = TestReplica.open(directory);
    expect(replica.stagedNames()).to.deep.equal([]);
  });

  it('says of each change what the disk refuses (E87)', () => {
    replica.applyAll(mkdir('d'), put('d/a', '1'), put('f', '1'));
    {
      using _ = failingCalls('renameSync', 'EIO', (_number, [, to]) => /\/(?:t-[^/]*|g)$/.test(String(to)));
      expect(problemsOf(remove('d'), move('f', 'g'))).to.deep.equal(['0 failed IO', '1 failed IO']);
    }
    expect(existsSync(local('d/a')) && existsSync(local('f'))).to.equal(true);
    replica.applyAll(remove('d'), move('f', 'g'));
  });

  it('reads a content once more whose copy it could not look at', () => {
    const content = Buffer.alloc(70_000, 'x');
    replica.applyAll(put('a', content), mkdir('d'));
    {
      using _ = failingCalls('lstatSync', 'EIO', (_number, [path]) => String(path).endsWith('/x'));
      replica.applyAll(putStored(fileEntry('d/x', content)));
    }
    expect(replica.core.index.get(p('d/x'))?.identity).to.equal(undefined);
    expect(replica.lookThrough()).to.deep.equal([]);
    expect(replica.core.index.get(p('d/x'))?.identity).not.to.equal(undefined);
  });

  it('minds no directory that vanishes just before it would have removed it', () => {
    replica.applyAll(mkdir('d'));
    replica.close();
    let isArmed = false;
    const crashPoint = (step: string): void => {
      if (isArmed && step === 'install') rmSync(local('d'), { recursive: true });
    };
    replica = TestReplica.open(directory, { crashPoint });
    isArmed = true;
    replica.applyAll(put('d/a', '1'), remove('d'));
    expect(existsSync(local('d'))).to.equal(false);
    expect(replica.log.warnings).to.deep.equal([]);
  });

  it('names a directory that it cannot give its time back, and applies the rest', () => {
    replica.applyAll(mkdir('d'), put('d/a', '1'));
    {
      using _ = failingCalls('utimesSync', 'EPERM');
      replica.applyAll(put('d/b', '1'), put('c', '1'));
    }
    expect(replica.log.warnings.join()).to.include('cannot set the time of a directory');
    expect(readFileSync(local('d/b'), 'utf8')).to.equal('1');
    expect(replica.lookThrough()).to.include('d');
  });

  it('keeps a mode that the file system has taken bits of', () => {
    const before = process.umask(0o077);
    try {
      replica.applyAll(mkdir('d', 0o755), put('f', '1', 0o644));
    } finally {
      process.umask(before);
    }
    chmodSync(local('d'), 0o700);
    replica.applyAll(metadata('d', 'directory', 0o755, T0));
  });
});
