import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chownSync,
  existsSync,
  fstatSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { LockstepError } from '../../../common/ops/errors.ts';
import { toWirePath } from '../../../common/tree/tree-path.ts';
import { contentName } from '../../../services/sync-server/replica/layout.ts';
import { MAX_BUILT_BYTES } from '../../../services/sync-server/replica/limits.ts';
import { SpaceGuard } from '../../../services/sync-server/replica/space-guard.ts';
import { eventually } from '../../support/eventually.ts';
import { failingCalls, replacedCall } from '../../support/failing-calls.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
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

function isOpenOn([fd, inode]: [number, bigint]): boolean {
  try {
    return fstatSync(fd, { bigint: true }).ino === inode;
  } catch {
    return false;
  }
}

describe('the applier', () => {
  let directory: string;
  let replica: TestReplica;

  beforeEach(() => {
    directory = temporaryDirectory();
    replica = TestReplica.open(directory);
  });

  afterEach(() => {
    expect(treeOf(directory), 'disk = index').to.deep.equal(linesOf(replica.indexEntries()));
    expect(replica.stagedNames().filter((name) => name.startsWith('b-'))).to.deep.equal([]);
    replica.close();
    removeDirectory(directory);
  });

  const problemsOf = (answer: { problems: readonly { kind: string; reason: string; index: number }[] }): string[] =>
    answer.problems.map(({ index, kind, reason }) => `${index} ${kind} ${reason}`);
  const local = (path: string): string => join(directory, path);

  it('says that the index is made anew only where there was one', () => {
    expect(replica.log.warnings).to.deep.equal([]);
    replica.close();
    rmSync(local('.lockstep/index.db'));
    replica = TestReplica.open(directory);
    expect(replica.log.warnings.join()).to.include('made anew');
  });

  it('puts, makes, links, sets, moves and deletes', () => {
    replica.applyAll(
      mkdir('d', 0o750),
      put('d/a', 'alpha', 0o600),
      put('d/b', 'beta'),
      symlink('l', 'd/a'),
      put('empty', ''),
      mkdir('gone'),
      put('gone/x', 'x'),
    );
    replica.applyAll(
      metadata('d/a', 'file', 0o755, T0 + 5_000n),
      move('d/b', 'c'),
      remove('gone'),
      metadata('l', 'symlink', 0, T0),
    );
    expect([...treeOf(directory).keys()]).to.deep.equal(['c', 'd', 'd/a', 'empty', 'l']);
    expect(readFileSync(local('c'), 'utf8')).to.equal('beta');
    expect(lstatSync(local('d/a')).mode & 0o777).to.equal(0o755);
  });

  it('gives every batch with an accepted change a revision of its own, without gaps', () => {
    expect(replica.applyAll(mkdir('a')).revision).to.equal(1n);
    expect(replica.apply([put('no/parent', 'x')]).revision).to.equal(1n);
    expect(replica.applyAll(put('a/b', 'x')).revision).to.equal(2n);
  });

  it('applies many batches as one group, each seeing the ones before', () => {
    const { results } = replica.group([
      replica.incoming([mkdir('a'), put('a/f', '1')]),
      replica.incoming([put('a/f', '2'), move('a', 'b')]),
      replica.incoming([put('b/g', '3'), remove('b/f'), put('b/f', '4')]),
      replica.incoming([move('b', 'a'), mkdir('b'), put('b/x', '5')]),
    ]);
    expect(results.map((r) => r.outcome === 'applied' && r.answer.revision)).to.deep.equal([1n, 2n, 3n, 4n]);
    expect([...treeOf(directory).keys()]).to.deep.equal(['a', 'a/f', 'a/g', 'b', 'b/x']);
    expect(readFileSync(local('a/f'), 'utf8')).to.equal('4');
  });

  it('answers a replayed batch as before, in the same group, later, and after a restart (E109)', () => {
    const batchId = Buffer.alloc(16, 7);
    const first = replica.apply([put('f', '1'), put('no/f', 'x')], { batchId });
    const replay = replica.incoming([put('f', '2')], { batchId });
    const { results } = replica.group([replay, replay]);
    for (const result of results) expect(result.outcome === 'applied' && result.answer).to.deep.equal(first);
    const twin = replica.incoming([put('g', '1'), put('no/g', 'x')], { batchId: Buffer.alloc(16, 8) });
    const [one, other] = replica.group([twin, twin]).results;
    expect(one?.outcome === 'applied' && one.answer.revision).to.equal(2n);
    expect(other).to.deep.equal(one);
    replica.close();
    replica = TestReplica.open(directory);
    expect(replica.apply([put('f', '2')], { batchId })).to.deep.equal(first);
    expect(readFileSync(local('f'), 'utf8')).to.equal('1');
  });

  it('refuses batches of other leases, and remembers the newest lease (E106)', () => {
    replica.applyAll(put('f', '1'));
    const stale = replica.lease;
    replica.lease = replica.applier.nextLease();
    expect(() => replica.apply([put('f', '2')], { lease: stale }))
      .to.throw(LockstepError)
      .with.property('reason', 'LEASE_STALE');
    replica.close();
    replica = TestReplica.open(directory);
    expect(replica.core.state.lease).to.equal(stale + 1n);
  });

  it('reports problems per change and applies the others (E66)', () => {
    replica.applyAll(put('file', 'x'), mkdir('dir'), mkdir('dir/sub'));
    const answer = replica.apply([
      put('missing/f', 'x'),
      put('file/f', 'x'),
      move('dir', 'dir/sub/dir'),
      move('nothing', 'else'),
      move('file', 'dir'),
      metadata('dir', 'file', 0o644, T0),
      metadata('nothing', 'file', 0o644, T0),
      put('good', 'x'),
      remove('not there'),
    ]);
    expect(problemsOf(answer)).to.deep.equal([
      '0 invalid PARENT_MISSING',
      '1 invalid NOT_A_DIRECTORY',
      '2 invalid MOVE_INTO_SELF',
      '3 invalid ENTRY_NOT_FOUND',
      '4 invalid TARGET_EXISTS',
      '5 invalid INVALID_ARGUMENT',
      '6 invalid ENTRY_NOT_FOUND',
    ]);
    expect(existsSync(local('good'))).to.equal(true);
  });

  it('flips kinds in every direction (E17, E18)', () => {
    const makers = {
      file: (): ReturnType<typeof put>[] => [put('x', 'content')],
      directory: () => [mkdir('x'), mkdir('x/y'), put('x/y/z', 'deep')],
      symlink: () => [symlink('x', '/etc')],
    };
    for (const from of Object.values(makers)) {
      for (const to of Object.values(makers)) {
        replica.applyAll(...from());
        replica.applyAll(...to());
        expect(treeOf(directory)).to.deep.equal(linesOf(replica.indexEntries()));
        replica.applyAll(remove('x'), ...from(), ...to());
        expect(treeOf(directory)).to.deep.equal(linesOf(replica.indexEntries()));
      }
    }
    expect(readFileSync('/etc/passwd').length).to.be.greaterThan(0);
  });

  it('keeps the modification times of directories whose names change (E74)', () => {
    replica.applyAll(metadata('', 'directory', 0o755, T0), mkdir('d', 0o755, T0 + 1_000_000n));
    replica.applyAll(put('d/a', 'x'), put('b', 'x'));
    replica.applyAll(move('d/a', 'c'), remove('b'));
    expect(lstatSync(local('d'), { bigint: true }).mtimeNs / 1_000n).to.equal((T0 + 1_000_000n) / 1_000n);
    expect(lstatSync(directory, { bigint: true }).mtimeNs / 1_000n).to.equal(T0 / 1_000n);
  });

  it('sets mode and time of the root', () => {
    replica.applyAll(metadata('', 'directory', 0o700, T0));
    expect(lstatSync(directory).mode & 0o777).to.equal(0o700);
    expect(replica.core.index.get(p(''))).to.include({ mode: 0o700, mtimeNs: T0 });
  });

  it('carries names that are not UTF-8, and odd ones (E01, E04, E06, E13)', () => {
    const names = ['\xff\xfeA', 'n\n', ' ', '-rf', '__proto__', '\\', 'C:', 'x'.repeat(255), '\xc3\xa9', '%41'];
    replica.applyAll(
      ...names.map((name) => put(name, name)),
      mkdir('\xfe'),
      symlink('\xfd', Buffer.from([0xff, 0x80])),
    );
    replica.applyAll(...names.map((name) => move(name, `\xfe/${name}`)));
    expect(treeOf(directory).size).to.equal(names.length + 2);
  });

  it('drops set-id bits and times that need care (E73, E77)', () => {
    replica.applyAll(
      put('old', 'x', 0o644, -1_000_000n),
      put('zero', 'x', 0o4755 & 0o777, 0n),
      put('far', 'x', 0o644, 4_102_444_800_000_000_000n),
    );
    expect(problemsOf(replica.apply([put('s', 'x', 0o4755)]))).to.deep.equal(['0 invalid INVALID_ARGUMENT']);
  });

  it('takes a stored content once by renaming, then by copying (E103)', () => {
    const content = Buffer.alloc(100_000, 'stored');
    const entry = fileEntry('a', content);
    expect(problemsOf(replica.apply([putStored(entry)]))).to.deep.equal(['0 content-needed CONTENT_NOT_FOUND']);
    writeFileSync(join(directory, '.lockstep/staging', contentName(entry.digest)), content);
    replica.applyAll(
      putStored(entry),
      putStored({ ...entry, path: p('b') }),
      putStored({ ...entry, path: p('c'), mode: 0o600 }),
    );
    replica.applyAll(putStored({ ...entry, path: p('d') }));
    expect(replica.core.index.get(p('c'))?.identity?.ino).to.equal(lstatSync(local('c'), { bigint: true }).ino);
  });

  describe('of large files that go', () => {
    const LARGE = 16 * 2 ** 20;
    /** Of what was closed beside the thread: how many names and bytes it had then. */
    let freed: { nlink: number; size: number }[];
    let closing: Map<number, bigint>;
    let spy: Disposable;
    beforeEach(() => {
      freed = [];
      closing = new Map();
      spy = failingCalls('close', 'EIO', (_, [fd]) => {
        const { nlink, size, ino } = fstatSync(Number(fd), { bigint: true });
        freed.push({ nlink: Number(nlink), size: Number(size) });
        closing.set(Number(fd), ino);
        return false;
      });
    });
    afterEach(() => spy[Symbol.dispose]());

    function putLarge(path: string, sizeBytes = LARGE): void {
      const content = Buffer.alloc(sizeBytes);
      const entry = fileEntry(path, content);
      writeFileSync(join(directory, '.lockstep/staging', contentName(entry.digest)), content);
      replica.applyAll(putStored(entry));
    }

    it('gives the space back beside its thread: replaced, deleted, and moved over', () => {
      putLarge('replaced');
      expect(freed).to.deep.equal([]);
      replica.applyAll(put('replaced', 'small'));
      expect(freed).to.deep.equal([{ nlink: 0, size: LARGE }]);
      putLarge('deleted');
      replica.applyAll(remove('deleted'));
      putLarge('over');
      replica.applyAll(move('replaced', 'over'));
      expect(freed).to.have.lengthOf(3);
      putLarge('little', LARGE - 1);
      replica.applyAll(remove('little'));
      expect(freed).to.have.lengthOf(3);
    });

    it('does it at once where many are on their way, where a close fails, and where something else is there', async () => {
      const names = Array.from({ length: 40 }, (_, number) => `f${number}`);
      for (const name of names) {
        writeFileSync(local(name), '');
        truncateSync(local(name), LARGE);
      }
      replica.lookThrough();
      replica.applyAll(...names.map((name) => remove(name)));
      expect(freed).to.have.lengthOf(32);
      spy[Symbol.dispose]();
      spy = failingCalls('close', 'EIO');
      await eventually('the others are closed', () => ![...closing].some(isOpenOn));
      // What is closed is heard of in the next turn.
      await setImmediate();
      putLarge('a');
      replica.applyAll(remove('a'));
      spy[Symbol.dispose]();
      putLarge('b');
      spy = failingCalls('openSync', 'EACCES', (_, [path]) => String(path).endsWith('/b'));
      replica.applyAll(remove('b'));
      expect(existsSync(local('b'))).to.equal(false);
    });
  });

  it('knows the inodes of copies that are renamed before they are made, and of those beside them (E103)', () => {
    const content = Buffer.alloc(100_000, 'stored');
    const entry = fileEntry('a', content);
    replica.applyAll(mkdir('d'), put('a', content));
    const copies = ['d/b', 'c'].map((path) => putStored({ ...entry, path: p(path) }));
    replica.applyAll(...copies, move('d', 'e'));
    for (const path of ['e/b', 'c']) {
      const { ino } = lstatSync(local(path), { bigint: true });
      expect(replica.core.index.get(p(path))?.identity?.ino, path).to.equal(ino);
    }
  });

  it('asks for a content whose copy in the folder was damaged (E98)', () => {
    const content = Buffer.alloc(100_000, 'stored');
    replica.applyAll(put('a', content));
    const stat = lstatSync(local('a'));
    writeFileSync(local('a'), Buffer.alloc(100_000, 'rotten'));
    utimesSync(local('a'), stat.atime, stat.mtime);
    expect(problemsOf(replica.apply([putStored(fileEntry('b', content))]))).to.deep.equal([
      '0 content-needed CONTENT_NOT_FOUND',
    ]);
    replica.lookThrough();
  });

  it('applies deltas, and refuses those whose basis is another (E70)', () => {
    replica.applyAll(put('f', 'hello world'));
    const result = fileEntry('f', 'hello brave new world');
    const segments = [
      { basisOffset: 0n, copyLength: 6n, literal: Buffer.from('brave new ') },
      { basisOffset: 6n, copyLength: 5n, literal: Buffer.alloc(0) },
    ];
    const delta = (basisDigest: Buffer, basisPath = '', parts = segments) => {
      const change = putStored(result);
      if (change.operation?.$case !== 'putFile') throw new Error('not a put');
      change.operation.value.content = { $case: 'delta', value: { basisDigest, basisPath, segments: parts } };
      return change;
    };
    const basis = fileEntry('f', 'hello world').digest;
    expect(problemsOf(replica.apply([delta(result.digest)]))).to.deep.equal(['0 basis-mismatch BASIS_MISMATCH']);
    expect(
      problemsOf(replica.apply([delta(basis, '', [{ basisOffset: 2n, copyLength: 21n, literal: Buffer.alloc(0) }])])),
    ).to.deep.equal(['0 invalid INVALID_ARGUMENT']);
    const wrong = [{ basisOffset: 0n, copyLength: 0n, literal: Buffer.from('hello brave old world') }];
    expect(problemsOf(replica.apply([delta(basis, '', wrong)]))).to.deep.equal(['0 basis-mismatch BASIS_MISMATCH']);
    replica.applyAll(delta(basis));
    expect(readFileSync(local('f'), 'utf8')).to.equal('hello brave new world');
    replica.applyAll(put('basis', 'hello world'), delta(basis, 'basis'));
    writeFileSync(local('basis'), 'HELLO WORLD');
    expect(problemsOf(replica.apply([delta(basis, 'basis')]))).to.deep.equal(['0 basis-mismatch BASIS_MISMATCH']);
    replica.lookThrough();
    // Known by its digest alone, and shorter than that says.
    replica.applyAll(put('basis', 'hello world'));
    replica.core.index.setIdentity(p('basis'), undefined);
    writeFileSync(local('basis'), 'hello');
    expect(problemsOf(replica.apply([delta(basis, 'basis')]))).to.deep.equal(['0 basis-mismatch BASIS_MISMATCH']);
    replica.lookThrough();
  });

  it('builds nothing from a delta that would take long (E70)', () => {
    replica.applyAll(put('f', 'hello world'));
    const { digest } = fileEntry('f', 'hello world');
    const change = putStored({ ...fileEntry('g', ''), sizeBytes: MAX_BUILT_BYTES + 1 });
    if (change.operation?.$case !== 'putFile') throw new Error('not a put');
    const segments = [{ basisOffset: 0n, copyLength: BigInt(MAX_BUILT_BYTES + 1), literal: Buffer.alloc(0) }];
    const delta = { basisDigest: digest, basisPath: toWirePath(p('f')), segments };
    change.operation.value.content = { $case: 'delta', value: delta };
    const [problem] = replica.apply([change]).problems;
    expect(problem).to.include({ kind: 'basis-mismatch', reason: 'BASIS_MISMATCH' });
    expect(problem?.message).to.include('too long for a batch');
  });

  it('replaces a foreign version of a file, and says so (E94)', () => {
    replica.applyAll(put('f', '1'));
    appendFileSync(local('f'), 'foreign');
    writeFileSync(local('new'), 'foreign');
    replica.applyAll(put('f', '2'), put('new', '2'));
    expect(replica.log.warnings.filter((line) => line.startsWith('replaced a foreign change'))).to.have.length(2);
  });

  it('does not delete or move what was changed behind its back (E95)', () => {
    replica.applyAll(put('f', '1'), put('g', '1'), put('h', '1'), mkdir('d'), put('k', '1'));
    for (const name of ['f', 'g', 'h']) appendFileSync(local(name), 'foreign');
    linkSync(local('k'), local('foreign link'));
    const answer = replica.apply([
      remove('f'),
      move('g', 'd/g'),
      metadata('h', 'file', 0o600, T0),
      remove('foreign link'),
    ]);
    expect(problemsOf(answer)).to.deep.equal([
      '0 drifted DRIFTED',
      '1 drifted DRIFTED',
      '2 drifted DRIFTED',
      '3 drifted DRIFTED',
    ]);
    expect(replica.core.state.revision).to.equal(answer.revision + 1n);
    expect(replica.core.state.headBatchId).to.have.length(0);
    replica.applyAll(remove('f'), move('g', 'd/g'), remove('foreign link'));
    expect(existsSync(local('d/g'))).to.equal(true);
    replica.lookThrough();
  });

  it('makes a new directory visible with its files, and gives both their bits and times (E74, E78)', () => {
    const inode = (path: string): bigint => lstatSync(local(path), { bigint: true }).ino;
    replica.group([
      replica.incoming([mkdir('d', 0o555), put('d/a', '1', 0o600), mkdir('d/s'), put('d/s/x', '2'), put('d/z', '3')]),
      replica.incoming([put('d/zz', '4', 0o777), put('d/a', '5'), mkdir('e'), put('f', '6'), put('e/x', '7')]),
    ]);
    for (const path of ['d/a', 'd/s/x', 'd/z', 'd/zz', 'e/x']) {
      expect(replica.core.index.get(p(path))?.identity?.ino, path).to.equal(inode(path));
    }
    expect(readFileSync(local('d/a'), 'utf8')).to.equal('5');
    expect(replica.lookThrough()).to.deep.equal([]);
  });

  it('renames nothing into a new directory, in whatever order it is filled', () => {
    const names = Array.from({ length: 40 }, (_, number) => `d${number}`);
    const targets: string[] = [];
    using _ = replacedCall('renameSync', (call, parameters) => {
      targets.push(basename(String(parameters[1])));
      return call(parameters);
    });
    replica.applyAll(
      ...names.map((name) => mkdir(name)),
      ...names.map((name) => put(`${name}/x`, name)),
      ...names.toReversed().map((name) => put(`${name}/y`, name)),
    );
    expect(targets).to.include.members(names).and.not.include('x').and.not.include('y');
    expect(replica.lookThrough()).to.deep.equal([]);
    for (const name of names) expect(readFileSync(local(`${name}/y`), 'utf8')).to.equal(name);
  });

  it('refuses what belongs into a new directory where another stands (E95)', () => {
    mkdirSync(local('d'));
    writeFileSync(local('d/foreign'), '1');
    const answer = replica.apply([mkdir('d'), put('d/a', '1'), put('e', '2')]);
    expect(problemsOf(answer)).to.deep.equal(['0 drifted DRIFTED', '1 drifted DRIFTED']);
    expect(readFileSync(local('d/foreign'), 'utf8')).to.equal('1');
    replica.applyAll(mkdir('d'), put('d/a', '1'));
  });

  it('goes on by single files where a new directory is moved, removed or replaced in its group', () => {
    replica.applyAll(
      ...[mkdir('a'), put('a/x', '1'), move('a', 'b'), put('b/y', '2')],
      ...[mkdir('c'), put('c/x', '1'), remove('c'), mkdir('c'), put('c/x', '2')],
      ...[
        mkdir('d'),
        put('d/x', '1'),
        put('d', 'file'),
        mkdir('e'),
        metadata('e', 'directory', 0o700, T0),
        put('e/x', '3'),
      ],
    );
    expect(readFileSync(local('b/x'), 'utf8') + readFileSync(local('b/y'), 'utf8')).to.equal('12');
    expect(readFileSync(local('c/x'), 'utf8') + readFileSync(local('e/x'), 'utf8')).to.equal('23');
    const missing = replica.apply([mkdir('n'), put('n/x', '1'), remove('n'), put('n/y', '2')]);
    expect(problemsOf(missing)).to.deep.equal(['3 invalid PARENT_MISSING']);
  });

  it('does not remove a directory that holds a foreign file (E96)', () => {
    replica.applyAll(mkdir('d'), mkdir('d/e'), put('d/e/known', 'x'), put('d/other', 'y'));
    writeFileSync(local('d/e/foreign'), 'foreign');
    expect(problemsOf(replica.apply([remove('d')]))).to.deep.equal(['0 drifted DRIFTED']);
    expect(replica.core.index.has(p('d/e/foreign'))).to.equal(true);
    expect(readFileSync(local('d/e/foreign'), 'utf8')).to.equal('foreign');
    expect(problemsOf(replica.apply([put('d', 'file now')]))).to.deep.equal([]);
  });

  it('finds foreign files where a directory is to become a file, or an empty one to vanish (E96)', () => {
    replica.applyAll(mkdir('d'), mkdir('empty'));
    writeFileSync(local('d/foreign'), '1');
    writeFileSync(local('empty/foreign'), '2');
    expect(problemsOf(replica.apply([put('d', 'file'), remove('empty')]))).to.deep.equal([
      '0 drifted DRIFTED',
      '1 drifted DRIFTED',
    ]);
    expect(replica.core.index.has(p('d/foreign'))).to.equal(true);
  });

  it('believes of a file whose copy failed what it knew before, and calls nothing drifted (E98)', () => {
    const [known, wanted] = [Buffer.alloc(100_000, 'known'), Buffer.alloc(100_000, 'wanted')];
    replica.applyAll(put('a', known), put('source', wanted));
    unlinkSync(local('source'));
    const { results, drifted } = replica.group([
      replica.incoming([putStored(fileEntry('a', wanted, 0o600, T0 + 5n))]),
      replica.incoming([put('b', 'x')]),
    ]);
    const [failed] = results;
    if (failed?.outcome !== 'applied') throw new Error('refused');
    expect(problemsOf(failed.answer)).to.deep.equal(['0 content-needed CONTENT_NOT_FOUND']);
    expect(drifted).to.deep.equal([]);
    const { identity: _, ...record } = replica.core.index.get(p('a')) ?? {};
    expect(record).to.deep.equal({ ...fileEntry('a', known) });
    replica.lookThrough();
  });

  it('treats a foreign directory in the way as drift', () => {
    mkdirSync(local('d'));
    writeFileSync(local('d/f'), 'foreign');
    expect(problemsOf(replica.apply([put('d', 'x')]))).to.deep.equal(['0 drifted DRIFTED']);
    expect(replica.core.index.has(p('d/f'))).to.equal(true);
  });

  it('keeps going when later changes of a group relied on one that failed', () => {
    replica.applyAll(mkdir('d'), put('d/f', '1'));
    writeFileSync(local('d/foreign'), 'x');
    const { results } = replica.group([
      replica.incoming([remove('d'), mkdir('d'), put('d/new', 'n')]),
      replica.incoming([put('ok', '1')]),
    ]);
    expect(results.map(({ outcome }) => outcome)).to.deep.equal(['applied', 'applied']);
  });

  it('reports an immutable file as one failed change, applies the rest, and succeeds later (E80)', function () {
    replica.applyAll(put('fixed', '1'));
    try {
      execFileSync('chattr', ['+i', local('fixed')], { stdio: 'ignore' });
    } catch {
      this.skip(); // Needs root, and a file system with attributes.
    }
    try {
      const answer = replica.apply([put('fixed', '2'), put('free', '2')]);
      expect(problemsOf(answer)).to.deep.equal(['0 failed PERMISSION_DENIED']);
      expect(replica.core.index.get(p('fixed'))).to.deep.include({ digest: fileEntry('fixed', '1').digest });
    } finally {
      execFileSync('chattr', ['-i', local('fixed')]);
    }
    replica.applyAll(put('fixed', '2'));
  });

  it('keeps a reserve of space: puts fail, deletes and moves still run (E87)', () => {
    replica.applyAll(put('a', '1'), put('b', '1'));
    replica.close();
    let freeBytes = 0;
    const space = new SpaceGuard(directory, () => ({ freeBytes, totalBytes: 1e9, freeInodes: undefined }));
    replica = TestReplica.open(directory, { space });
    const answer = replica.apply([put('c', '1'), remove('a'), move('b', 'd'), mkdir('e')]);
    expect(problemsOf(answer)).to.deep.equal(['0 failed NO_SPACE', '3 failed NO_SPACE']);
    freeBytes = 1e9;
    replica.applyAll(put('c', '1'));
  });

  it('refuses one entry more than the folder may have', () => {
    replica.close();
    replica = TestReplica.open(directory, {}, { limits: { ...replica.core.settings.limits, maxEntries: 2 } });
    const answer = replica.apply([put('a', '1'), put('b', '1'), put('c', '1'), put('a', '2'), move('a', 'd')]);
    expect(problemsOf(answer)).to.deep.equal(['2 failed LIMIT_EXCEEDED']);
  });

  it('fills new directories however deep they lie in each other', () => {
    const directories = Array.from({ length: 20 }, (_, depth) =>
      Array(depth + 1)
        .fill('d')
        .join('/'),
    );
    const deepest = directories.at(-1) ?? '';
    // The files of a directory come behind its subdirectories.
    const files = directories.toReversed().map((path) => put(`${path}/f`, path));
    replica.applyAll(...directories.map((path) => mkdir(path)), ...files, put('f', ''));
    expect(readFileSync(local(`${deepest}/f`), 'utf8')).to.equal(deepest);
    expect(readFileSync(local('d/f'), 'utf8')).to.equal('d');
  });

  it('remembers the last 4,096 answers, and forgets the ones before (E109)', () => {
    const { index, state } = replica.core;
    const idOf = (at: number): Buffer => {
      const id = Buffer.alloc(16);
      id.writeUInt32BE(at);
      return id;
    };
    index.transaction(() => {
      for (let at = 0; at <= 4_096; at++) state.remember(idOf(at), { revision: BigInt(at), problems: [] });
      state.saveHead();
    });
    const check = (): void => {
      expect(state.answerTo(idOf(0))).to.equal(undefined);
      expect(state.answerTo(idOf(1))).to.deep.equal({ revision: 1n, problems: [] });
      expect(state.answerTo(idOf(4_096))?.revision).to.equal(4_096n);
    };
    check();
    state.reload();
    check();
  });

  it('remembers of answers with very many problems the last few only, and reads no more at a start (E109)', () => {
    const { index, state } = replica.core;
    const idOf = (at: number): Buffer => Buffer.alloc(16, at);
    const problems = Array.from({ length: 8_000 }, (_, at) => ({
      index: at,
      kind: 'failed' as const,
      path: p(`d/${at}`),
      reason: 'IO',
      message: 'x'.repeat(100),
    }));
    const answers = 30;
    index.transaction(() => {
      for (let at = 0; at < answers; at++) state.remember(idOf(at), { revision: BigInt(at), problems });
      state.remember(idOf(answers), { revision: BigInt(answers), problems: [] });
      state.saveHead();
    });
    const chars = [...index.allMeta('answer.').values()].reduce((sum, text) => sum + text.length, 0);
    expect(chars).to.be.within(2 ** 20, 9 * 2 ** 20);
    const check = (): void => {
      expect(state.answerTo(idOf(0))).to.equal(undefined);
      expect(state.answerTo(idOf(answers - 1))?.problems).to.have.length(8_000);
      expect(state.answerTo(idOf(answers))).to.deep.equal({ revision: BigInt(answers), problems: [] });
    };
    check();
    state.reload();
    check();
    // The bound holds behind a start as well.
    index.transaction(() => {
      for (let at = answers + 1; at < 2 * answers; at++) state.remember(idOf(at), { revision: BigInt(at), problems });
      state.saveHead();
    });
    expect(state.answerTo(idOf(answers))).to.equal(undefined);
    expect(state.answerTo(idOf(2 * answers - 1))?.problems).to.have.length(8_000);
  });

  it('ignores a FIFO in the replica, and removes it with its directory (E15)', () => {
    replica.applyAll(mkdir('d'));
    execFileSync('mkfifo', [local('d/pipe')]);
    expect(replica.lookThrough()).to.deep.equal([p('d')]);
    replica.applyAll(remove('d'));
  });

  it('does not follow a directory that became a link (S01)', () => {
    const outside = temporaryDirectory();
    replica.applyAll(mkdir('d'), put('d/f', '1'));
    execFileSync('rm', ['-rf', local('d')]);
    execFileSync('ln', ['-s', outside, local('d')]);
    const answer = replica.apply([put('d/f', '2'), put('d/g', '2'), remove('d/f')]);
    expect(problemsOf(answer).every((line) => line.includes('drifted')) || answer.problems.length < 3).to.equal(true);
    expect(treeOf(outside).size).to.equal(0);
    removeDirectory(outside);
    replica.lookThrough();
  });

  it("stops when another directory stands in the root's place", () => {
    replica.applyAll(put('f', '1'));
    execFileSync('mv', [directory, `${directory}-away`]);
    mkdirSync(directory);
    expect(() => replica.apply([put('f', '2')]))
      .to.throw(LockstepError)
      .with.property('reason', 'ROOT_REPLACED');
    execFileSync('rm', ['-r', directory]);
    execFileSync('mv', [`${directory}-away`, directory]);
    replica.applyAll(put('f', '2'));
  });

  it('leaves nothing behind of a group whose log could not be written (E88)', () => {
    replica.applyAll(put('f', '1'));
    const write = replica.core.log.write.bind(replica.core.log);
    replica.core.log.write = () => {
      throw new LockstepError('NO_SPACE', 'no space left for the log');
    };
    expect(() => replica.apply([put('f', '2'), mkdir('d'), symlink('l', 't')])).to.throw('no space');
    replica.core.log.write = write;
    expect(replica.stagedNames()).to.deep.equal([]);
    expect(replica.applyAll(put('f', '3')).revision).to.equal(2n);
  });
});

const NOBODY = 65_534;
const QUARANTINE = join(import.meta.dirname, '../../../services/sync-server/replica/quarantine.ts');
const LAYOUT = join(import.meta.dirname, '../../../services/sync-server/replica/layout.ts');

describe('the applier without privileges', () => {
  let directory: string;

  before(function () {
    // Root may write anywhere; a process of another user has to be one from its start.
    if (process.geteuid?.() !== 0) skipBecause(this, 'only root can become another user');
  });
  beforeEach(() => {
    directory = temporaryDirectory();
    chownSync(directory, NOBODY, NOBODY);
  });
  afterEach(() => removeDirectory(directory));

  /** Runs it in a process of another user, with what support.ts has as `support`. Returns what it passes to `tell`. */
  function asNobody(script: string): unknown {
    const program = `
      process.setgid(${NOBODY});
      process.setuid(${NOBODY});
      const support = await import(process.argv[1]);
      const directory = process.argv[2];
      const tell = (what) => process.stdout.write(JSON.stringify(what));
      ${script}
    `;
    const support = join(import.meta.dirname, 'support.ts');
    const words = ['--input-type=module', '-e', program, support, directory];
    return JSON.parse(execFileSync(process.execPath, words, { encoding: 'utf8' }));
  }

  it('works in read-only directories and restores their mode (E76)', () => {
    const { disk, index } = asNobody(`
      const { TestReplica, mkdir, put, move, remove, metadata, treeOf, linesOf, T0 } = support;
      const replica = TestReplica.open(directory);
      replica.applyAll(mkdir('d', 0o555), put('d/a', '1', 0o444), mkdir('d/e', 0o500), put('d/e/b', '2'));
      replica.applyAll(put('d/c', '3'), put('d/a', '4', 0o444), move('d/e', 'e'), move('e', 'd/f'));
      replica.applyAll(remove('d/a'), metadata('d', 'directory', 0o511, T0), put('d/f/new', 'n'));
      replica.applyAll(mkdir('gone', 0o555), put('gone/x', '1'));
      replica.applyAll(remove('gone'));
      tell({ disk: [...treeOf(directory)], index: [...linesOf(replica.indexEntries())] });
      replica.close();
    `) as { disk: [string, string][]; index: [string, string][] };
    expect(disk).to.deep.equal(index);
    expect(disk.map(([path, line]) => `${path} ${line.split(' ').slice(0, 2).join(' ')}`)).to.deep.equal([
      'd dir 511',
      'd/c file 644',
      'd/f dir 500',
      'd/f/b file 644',
      'd/f/new file 644',
    ]);
  });

  for (const mode of ['444', '200', '0']) {
    it(`installs an uploaded content of mode ${mode} at the second try, too (E76, E92)`, () => {
      const found = asNobody(`
        const { statSync, writeFileSync } = await import('node:fs');
        const { contentName } = await import(${JSON.stringify(LAYOUT)});
        const { TestReplica, fileEntry, putStored, put } = support;
        const entries = ['abandoned', 'killed'].map((path) => fileEntry(path, Buffer.alloc(200_000, path), 0o${mode}));
        let crashesAt;
        const crashPoint = (step) => {
          if (step === crashesAt) throw new Error('crash');
        };
        const tryOnce = (replica, entry, step) => {
          writeFileSync(directory + '/.lockstep/staging/' + contentName(entry.digest), Buffer.alloc(200_000, entry.path), { mode: 0o600 });
          crashesAt = step;
          try {
            replica.apply([putStored(entry)]);
          } catch {}
          crashesAt = undefined;
        };
        const replica = TestReplica.open(directory, { crashPoint });
        replica.applyAll(put('x', 'x'));
        tryOnce(replica, entries[0], 'planned');
        const { problems } = replica.apply([putStored(entries[0])]);
        tryOnce(replica, entries[1], 'synced');
        try {
          replica.close();
        } catch {}
        const again = TestReplica.open(directory);
        const modes = entries.map(({ path }) => (statSync(directory + '/' + path).mode & 0o777).toString(8));
        tell({ problems, isLossy: again.recovery.isLossy, modes });
        again.close();
      `);
      expect(found).to.deep.equal({ problems: [], isLossy: false, modes: [mode, mode] });
    });
  }

  it('moves what went bad to the quarantine from read-only directories, too (E76, E98)', () => {
    const found = asNobody(`
      const { closeSync, existsSync, openSync, readdirSync, statSync, utimesSync, writeSync } = await import('node:fs');
      const { quarantine } = await import(${JSON.stringify(QUARANTINE)});
      const { TestReplica, mkdir, put, p } = support;
      const replica = TestReplica.open(directory);
      replica.applyAll(mkdir('d', 0o555), put('d/a', 'right'));
      const bad = directory + '/d/a';
      const fd = openSync(bad, 'r+');
      writeSync(fd, 'wrong');
      closeSync(fd);
      utimesSync(bad, 1_700_000_000.123457, 1_700_000_000.123456);
      const isMoved = quarantine(replica.core, p('d/a'));
      const kept = readdirSync(directory + '/.lockstep/quarantine').length;
      tell({ isMoved, kept, isLeft: existsSync(bad), mode: (statSync(directory + '/d').mode & 0o777).toString(8) });
      replica.close();
    `);
    expect(found).to.deep.equal({ isMoved: true, kept: 1, isLeft: false, mode: '555' });
  });
});
