/**
 * File systems that run full, become read-only, lie in the way, or go away, below the replica and below the source.
 */
import { expect } from 'chai';
import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, statfsSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Pair, PairOptions } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { differencesOf } from '../support/tree-oracle.ts';
import { noise, put, putMany, run } from '../support/writing.ts';
import { Disk, disksUnavailable } from './disks.ts';
import { Witness } from './witness.ts';

/** Gives a directory of the replica to another mount; `beside` is another directory of the same file system. */
const MOUNTS: readonly (readonly [what: string, mountOn: (place: string, beside: string) => void])[] = [
  ['mounted', (place) => run('mount', ['-t', 'tmpfs', '-o', 'size=32m', 'tmpfs', place])],
  ['of the same file system bound', (place, beside) => run('mount', ['--bind', beside, place])],
];

describe('a file system', function () {
  this.timeout(90_000);
  let disks: Disk[] = [];

  before(function () {
    const reason = disksUnavailable('memory');
    if (reason !== undefined) skipBecause(this, reason);
  });
  // The pairs are removed by a hook that is registered later, and runs later.
  const pairs = usePairs();
  afterEach(() => {
    for (const disk of disks) disk.remove();
    disks = [];
  });

  function memory(options: string): Disk {
    const disk = Disk.memory(options);
    disks.push(disk);
    return disk;
  }

  async function started(options: PairOptions): Promise<{ readonly pair: Pair; readonly witness: Witness }> {
    const pair = await pairs.start({ prepare: ({ source }) => putMany(source, 'files', 30, 3000), ...options });
    return { pair, witness: new Witness(pair.source) };
  }

  function directoryOn(disk: Disk, name: string): string {
    const directory = join(disk.path, name);
    mkdirSync(directory, { recursive: true });
    return directory;
  }

  it('without inodes below the replica: the old tree stays, deletions run, and it heals (E87, F33)', async () => {
    const disk = memory('size=64m,nr_inodes=400');
    const { pair, witness } = await started({ replica: directoryOn(disk, 'replica') });
    putMany(pair.source, 'many', 500, 10);
    witness.note();
    const full = await pair.statusWhere('problems are named', ({ problem_count }) => Number(problem_count) > 100);
    expect(JSON.stringify(full['problems'])).to.include('NO_SPACE');
    expect(witness.wrongIn(pair.replica)).to.deep.equal([]);
    rmSync(join(pair.source, 'files', 'file-1'));
    await pair.follows({ except: (path) => path.startsWith('many') });
    rmSync(join(pair.source, 'many'), { recursive: true });
    putMany(pair.source, 'few', 20, 10);
    await pair.follows({}, 30_000);
    await pair.statusWhere('no problem is left', ({ problem_count }) => problem_count === 0, 30_000);
    await pair.inStep();
  });

  it('too small for a file of the replica ends --once with 5, and what has no room is named (E88, F33)', async () => {
    const disk = memory('size=12m');
    const { pair } = await started({ replica: directoryOn(disk, 'replica') });
    await pair.watcher.end();
    put(pair.source, 'too-big', noise(20_000_000));
    const { code, stderr } = await pair.command(...pair.watcherArguments, '--once');
    expect(code, stderr).to.equal(5);
    expect(stderr).to.match(/^sync-watcher: too-big: /m);
  });

  it("full below the server's state: nothing is taken in that cannot be recorded, and it heals (E88, F33)", async () => {
    const disk = memory('size=12m');
    const { pair, witness } = await started({ serverFlags: ['--state', directoryOn(disk, 'state')] });
    const { bavail, bsize } = statfsSync(disk.path);
    writeFileSync(join(disk.path, 'hog'), noise(bavail * bsize));
    putMany(pair.source, 'more', 60, 20_000);
    witness.note();
    rmSync(join(pair.source, 'files', 'file-2'));
    witness.note();
    await pair.server.reaches('it says so', () => /NO_SPACE|ENOSPC|no space|full/i.test(pair.server.stderr));
    expect(witness.wrongIn(pair.replica)).to.deep.equal([]);
    rmSync(join(disk.path, 'hog'));
    await pair.follows({}, 30_000);
    await pair.inStep();
  });

  it('that becomes read-only below the replica is an alarm and no end, and it heals (E89, F38)', async () => {
    const disk = memory('size=64m');
    const { pair, witness } = await started({ replica: directoryOn(disk, 'replica') });
    // What is open for writing would keep it from becoming read-only; the kernel does it all the same when a disk fails.
    await pair.server.end();
    disk.remount('ro');
    const refused = await pair.command('--dir', pair.source, '--server', pair.address, '--once', '--timeout', '1s');
    expect(refused.code).to.not.equal(0);
    await pair.startServer().then(
      () => expect.fail('a server on a read-only file system was ready'),
      () => undefined,
    );
    expect(pair.server.report()).to.match(/read-only/i);
    put(pair.source, 'meanwhile');
    witness.note();
    expect(witness.wrongIn(pair.replica)).to.deep.equal([]);
    disk.remount('rw');
    await pair.startServer();
    await pair.follows({}, 30_000);
    await pair.inStep();
  });

  it('mounted inside of the source hides what is below: unknown, not deleted (E22)', async () => {
    const { pair, witness } = await started({});
    const before = pair.copyOfReplica();
    const files = join(pair.source, 'files');
    run('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', files]);
    try {
      put(pair.source, 'beside', 'changed while it is mounted');
      await pair.follows({ except: (path) => path === 'files' });
      await pair.flush().catch(() => undefined);
      expect(differencesOf(join(before, 'files'), join(pair.replica, 'files'), { withRoot: false })).to.deep.equal([]);
    } finally {
      run('umount', [files]);
    }
    put(pair.source, 'files/new', 'after it was unmounted');
    witness.note();
    await pair.follows({}, 30_000);
    await pair.inStep();
  });

  it('with the source on it that is unmounted ends the watcher with 5; mounted again, nothing is sent (E52, E53, F28)', async () => {
    const disk = Disk.ext4();
    disks.push(disk);
    const { pair, witness } = await started({
      source: directoryOn(disk, '.'),
      counting: true,
      watcherFlags: ['--scan-interval', '1s'],
    });
    witness.note();
    await pair.inStep();
    run('umount', ['--lazy', disk.path]);
    // What is open lives on in there, without an event: the next scan finds it out.
    const { code, stderr } = await pair.watcher.ended();
    expect(code, stderr).to.equal(5);
    expect(witness.wrongIn(pair.replica)).to.deep.equal([]);
    // Before it is mounted again there is an empty directory in its place.
    const again = await pair.launchWatcher().ended();
    expect(again.code, again.stderr).to.equal(5);
    expect(witness.wrongIn(pair.replica)).to.deep.equal([]);
    disk.mount();
    const sentBytes = await pair.proxy.sentDuring(async () => {
      await pair.startWatcher();
      await pair.inStep();
    });
    expect(sentBytes).to.be.below(30 * 3000);
  });

  for (const [what, mountOn] of MOUNTS) {
    it(`${what} inside of the replica gets copies where no rename leads, and stays in step (E83)`, async () => {
      const { pair } = await started({ serverFlags: [] });
      await pair.server.end();
      const { source } = pair;
      const at = (path: string): string => join(source, path);
      const files = join(pair.replica, 'files');
      const beside = `${pair.replica}-beside`;
      mkdirSync(beside);
      mountOn(files, beside);
      try {
        await pair.startServer();
        put(source, 'elsewhere/new', 'beside it');
        // What was there is hidden now, and comes again.
        await pair.follows({}, 30_000);
        await pair.inStep();
        const foreign = (): number => pair.watcher.stderr.split("behind the server's back").length;
        const before = foreign();
        putMany(source, 'files/made/deeper', 20, 500);
        put(source, 'files/file-3', 'another');
        put(source, 'files/large.bin', noise(2_000_000, 'large'));
        symlinkSync('file-3', at('files/link'));
        chmodSync(at('files/file-4'), 0o600);
        rmSync(at('files/file-5'));
        renameSync(at('files/file-6'), at('files/made/renamed'));
        await pair.follows();
        await pair.inStep();
        // Over the border, both ways.
        renameSync(at('files/large.bin'), at('elsewhere/large.bin'));
        renameSync(at('elsewhere/new'), at('files/from-elsewhere'));
        renameSync(at('files/made/deeper'), at('elsewhere/deeper'));
        await pair.follows();
        renameSync(at('elsewhere/deeper'), at('files/again'));
        put(source, 'files/again/file-1', 'in the same breath');
        await pair.follows();
        // Directories go, and make room for other kinds.
        rmSync(at('files/made'), { recursive: true });
        put(source, 'files/made', 'a file now');
        rmSync(at('files/file-7'));
        putMany(source, 'files/file-7', 3, 100);
        await pair.follows();
        await pair.statusWhere('no problem is left', ({ problem_count }) => problem_count === 0);
        await pair.inStep();
        // Copies are known by what they are on the disk.
        expect(foreign(), "taken for somebody else's change").to.equal(before);
        const { code, stderr } = await pair.command('verify', ...pair.watcherArguments);
        expect(code, stderr).to.equal(0);
      } finally {
        await pair.server.end('SIGKILL');
        run('umount', [files]);
      }
      await pair.startServer();
      await pair.follows({}, 30_000);
      await pair.inStep();
    });
  }

  it('with the replica on it that is unmounted: nothing is written into the place that is left (E52)', async () => {
    const disk = Disk.ext4();
    disks.push(disk);
    const replica = directoryOn(disk, 'replica');
    const { pair, witness } = await started({ replica });
    await pair.inStep();
    run('umount', ['--lazy', disk.path]);
    put(pair.source, 'meanwhile');
    witness.note();
    await pair.statusWhere('it is told', ({ in_step }) => in_step === false);
    expect(existsSync(replica)).to.equal(false);
    await pair.server.end('SIGKILL');
    disk.mount();
    expect(witness.wrongIn(pair.replica)).to.deep.equal([]);
    await pair.startServer();
    await pair.follows({}, 30_000);
    await pair.inStep();
  });
});
