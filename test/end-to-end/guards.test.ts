/**
 * Deleting is dangerous: a root that vanished, was emptied or exchanged, a lost index, or a delete of very much never
 * becomes an empty replica.
 */
import { expect } from 'chai';
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { CHANGE_SOURCES, type Pair } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { differencesOf } from '../support/tree-oracle.ts';
import { noise, put, putMany, run, runQuietly } from '../support/writing.ts';

const FILES = 60;
const FILE_BYTES = 20_000;
/** Less than a tenth of the contents. */
const SMALL_TALK_BYTES = (FILES * FILE_BYTES) / 10;

function fill(pair: Pair): void {
  putMany(pair.source, 'kept/files', FILES, FILE_BYTES);
  put(pair.source, 'top.txt');
}

function expectReplicaIs(pair: Pair, copy: string): void {
  expect(differencesOf(copy, pair.replica)).to.deep.equal([]);
}

for (const changeSource of CHANGE_SOURCES) {
  describe(`the root (${changeSource})`, () => {
    const pairs = usePairs();

    it('that is removed ends the watcher with 5, and nothing is deleted (E52)', async () => {
      const pair = await pairs.start({ changeSource, prepare: fill });
      const before = pair.copyOfReplica();
      rmSync(pair.source, { recursive: true });
      const { code, stderr } = await pair.watcher.ended();
      expect(code, stderr).to.equal(5);
      expect(stderr).to.include(pair.source);
      expectReplicaIs(pair, before);
    });

    it('that is moved away ends the watcher with 5, also when another takes its place (E52)', async () => {
      for (const withSuccessor of [false, true]) {
        const pair = await pairs.start({ changeSource, prepare: fill });
        const before = pair.copyOfReplica();
        renameSync(pair.source, `${pair.source}-moved`);
        if (withSuccessor) put(pair.source, 'something-else.txt');
        const { code, stderr } = await pair.watcher.ended();
        expect(code, stderr).to.equal(5);
        expectReplicaIs(pair, before);
      }
    });

    it('that is unmounted ends the watcher with 5, and nothing is deleted (E52)', async function () {
      const pair = pairs.prepare({ changeSource });
      try {
        run('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', pair.source]);
      } catch (error) {
        return skipBecause(this, `nothing can be mounted here: ${String(error)}`);
      }
      try {
        fill(pair);
        await pair.startServer();
        await pair.startWatcher();
        const before = pair.copyOfReplica();
        run('umount', ['--lazy', pair.source]);
        // Who holds a directory of it open hears nothing of that; the next look shows it.
        await pair.command('rescan', ...pair.controlArguments);
        const { code, stderr } = await pair.watcher.ended();
        expect(code, stderr).to.equal(5);
        expectReplicaIs(pair, before);
      } finally {
        runQuietly('umount', ['--lazy', pair.source]);
      }
    });

    it('that is empty at the next start is not taken for "all deleted" (E52)', async () => {
      const pair = await pairs.start({ changeSource, prepare: fill });
      const before = pair.copyOfReplica();
      await pair.watcher.end();
      rmSync(join(pair.source, 'kept'), { recursive: true });
      rmSync(join(pair.source, 'top.txt'));
      const { code, stderr } = await pair.launchWatcher().ended();
      expect(code, stderr).to.equal(5);
      expectReplicaIs(pair, before);
    });
  });

  describe(`a mass deletion (${changeSource})`, () => {
    const pairs = usePairs();

    it('is held back until it is confirmed, while everything else goes on (E54)', async () => {
      const pair = await pairs.start({ changeSource, prepare: fill, watcherFlags: ['--max-delete', '10'] });
      const deleted = readdirSync(join(pair.source, 'kept', 'files')).slice(0, 25);
      for (const name of deleted) rmSync(join(pair.source, 'kept', 'files', name));
      // What was seen before the limit was reached is gone.
      const held = await pair.statusWhere(
        'deletions are held',
        ({ state, held_deletes }) => state === 'stopped' && Number(held_deletes) >= deleted.length - 10,
      );
      expect(held['state']).to.equal('stopped');
      expect(held['in_step']).to.equal(false);
      put(pair.source, 'new-meanwhile.txt');
      put(pair.source, 'top.txt', 'edited meanwhile');
      const isDoomed = (path: string) => deleted.some((name) => path === `kept/files/${name}`);
      // The directory's time is that after the deletion, which has not taken place.
      await pair.follows({ except: (path) => isDoomed(path) || path === 'kept/files' });
      expect(readdirSync(join(pair.replica, 'kept', 'files')).length).to.be.at.least(FILES - 10);

      const flush = await pair.command('flush', ...pair.controlArguments);
      expect(flush.code, flush.stderr).to.equal(5);
      const resume = await pair.command('resume', ...pair.controlArguments);
      expect(resume.code, resume.stderr).to.equal(0);
      expect(resume.stdout).to.match(/\d+ deletions are confirmed/);
      await pair.follows();
      const { in_step, held_deletes } = await pair.status();
      expect({ in_step, held_deletes }).to.deep.equal({ in_step: true, held_deletes: 0 });
    });

    it('below the limit goes through', async () => {
      const pair = await pairs.start({ changeSource, prepare: fill, watcherFlags: ['--max-delete', '50%'] });
      for (let number = 0; number < 25; number++) rmSync(join(pair.source, 'kept', 'files', `file-${number}`));
      await pair.follows();
    });

    it('that is taken back needs no confirmation', async () => {
      const pair = await pairs.start({ changeSource, prepare: fill, watcherFlags: ['--max-delete', '10'] });
      renameSync(join(pair.source, 'kept'), join(pair.base, 'kept'));
      await pair.statusWhere('deletions are held', ({ held_deletes }) => held_deletes !== 0);
      renameSync(join(pair.base, 'kept'), join(pair.source, 'kept'));
      await pair.follows();
      await pair.statusWhere('in step again', ({ in_step, held_deletes }) => in_step === true && held_deletes === 0);
    });
  });
}

describe('a root that is polled', () => {
  const pairs = usePairs();

  it('and found empty ends the watcher with 5: nothing shows that its entries were deleted (E52)', async () => {
    const pair = await pairs.start({ changeSource: 'poll', prepare: fill, watcherFlags: ['--scan-interval', '200ms'] });
    const before = pair.copyOfReplica();
    for (const name of readdirSync(pair.source)) rmSync(join(pair.source, name), { recursive: true });
    const { code, stderr } = await pair.watcher.ended();
    expect(code, stderr).to.equal(5);
    expectReplicaIs(pair, before);
  });
});

describe('a mass deletion with --once', () => {
  const pairs = usePairs();

  it('ends with 5, deletes nothing, and says how to go on', async () => {
    const pair = await pairs.start({ prepare: fill });
    await pair.watcher.end();
    const before = pair.copyOfReplica();
    rmSync(join(pair.source, 'kept'), { recursive: true });
    const { code, stderr } = await pair.command(...pair.watcherArguments, '--once', '--max-delete', '10');
    expect(code, stderr).to.equal(5);
    expect(stderr).to.include('deletions are more than --max-delete allows (10 entries within a minute), and nothing');
    // The time of the directory is that of the source, where the deletions have taken place.
    expect(differencesOf(before, pair.replica, { withRoot: false })).to.deep.equal([]);
  });
});

describe("the watcher's index", () => {
  const pairs = usePairs();

  /** Stops the watcher, does something to its state, changes the tree, and expects the pair in step without much traffic. */
  async function survives(damage: (pair: Pair, stateFiles: readonly string[]) => void): Promise<void> {
    const pair = await pairs.start({ prepare: fill, counting: true });
    await pair.inStep();
    await pair.watcher.end();
    const stateFiles = globSync('**/*.db*', { cwd: pair.watcherState }).map((name) => join(pair.watcherState, name));
    expect(stateFiles).to.not.deep.equal([]);
    damage(pair, stateFiles);
    put(pair.source, 'kept/files/file-1', 'changed meanwhile');
    rmSync(join(pair.source, 'kept', 'files', 'file-2'));
    put(pair.source, 'new.txt');
    const sentBytes = await pair.proxy.sentDuring(async () => {
      await pair.startWatcher();
      await pair.inStep();
    });
    expect(sentBytes, 'what the server had was sent again').to.be.below(SMALL_TALK_BYTES);
  }

  it('that is lost is made anew by comparing, without sending what the server has (E55)', async () => {
    await survives((_pair, files) => {
      for (const file of files) rmSync(file);
    });
  });

  it('is found again with its whole state directory lost (E55)', async () => {
    await survives((pair) => {
      rmSync(pair.watcherState, { recursive: true });
    });
  });

  it('that is damaged is made anew: overwritten, cut off, or emptied (E55)', async () => {
    const damages: readonly ((file: string) => void)[] = [
      (file) => writeFileSync(file, noise(100_000, 'garbage'), { flag: 'r+' }),
      (file) => truncateSync(file, 5000),
      (file) => truncateSync(file),
    ];
    for (const damage of damages) {
      await survives((_pair, files) => {
        for (const file of files.filter((name) => name.endsWith('.db'))) damage(file);
      });
    }
  });

  it('of another directory is not believed (E55)', async () => {
    const other = await pairs.start({
      prepare: ({ source }) => {
        putMany(source, 'kept/files', FILES + 20, 100);
        putMany(source, 'never-here', 20, 100);
      },
    });
    await other.watcher.end();
    await survives((pair, files) => {
      for (const file of files) rmSync(file, { force: true });
      cpSync(other.watcherState, pair.watcherState, { recursive: true });
    });
  });

  it('of an earlier day leads to a comparison, not to deletions (E55)', async () => {
    const pair = await pairs.start({ prepare: fill });
    await pair.watcher.end();
    const earlier = pair.copyOf(pair.watcherState);
    await pair.startWatcher();
    putMany(pair.source, 'added-later', 30, 1000);
    rmSync(join(pair.source, 'kept', 'files', 'file-9'));
    put(pair.source, 'kept/files/file-10', 'edited later');
    await pair.inStep();
    await pair.watcher.end();
    rmSync(pair.watcherState, { recursive: true });
    cpSync(earlier, pair.watcherState, { recursive: true, preserveTimestamps: true });
    put(pair.source, 'kept/files/file-11', 'edited offline');
    await pair.startWatcher();
    await pair.inStep();
    expect(readdirSync(join(pair.replica, 'added-later'))).to.have.lengthOf(30);
  });
});

describe('directories that must not be used', () => {
  const pairs = usePairs();

  it("are refused: a replica inside the watched directory, and the reverse, and the watcher's state inside (E11)", async () => {
    const pair = await pairs.start();
    const inside = join(pair.replica, 'inside');
    mkdirSync(inside);
    const attempts: readonly (readonly string[])[] = [
      ['--dir', pair.replica, '--state', join(pair.base, 'state-1')],
      ['--dir', inside, '--state', join(pair.base, 'state-2')],
      ['--dir', pair.base, '--state', join(pair.base, 'state-3')],
      ['--dir', pair.source, '--state', join(pair.source, 'state')],
      ['--dir', pair.source, '--state', join(inside, 'state')],
    ];
    for (const attempt of attempts) {
      const { code, stderr } = await pair.command(...attempt, '--server', pair.address, '--once');
      expect(code, `${attempt.join(' ')}: ${stderr}`).to.equal(2);
      expect(stderr.trim().split('\n'), stderr).to.have.lengthOf(1);
    }
    expect(existsSync(join(pair.source, 'state'))).to.equal(false);
  });

  it('are followed when the path to the root is a symbolic link (E10)', async () => {
    const pair = pairs.prepare();
    const link = join(pair.base, 'link-to-source');
    symlinkSync(pair.source, link);
    await pair.startServer();
    put(pair.source, 'through-a-link.txt');
    const { code, stderr } = await pair.command(
      '--dir',
      link,
      '--state',
      pair.watcherState,
      '--server',
      pair.address,
      '--once',
    );
    expect(code, stderr).to.equal(0);
    expect(pair.differences()).to.deep.equal([]);
  });
});
