import { expect } from 'chai';
import { chmodSync, lstatSync, readFileSync, rmSync, statSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LockstepError } from '../../../common/ops/errors.ts';
import { Checkpointer } from '../../../services/sync-server/replica/checkpoint.ts';
import { contentName } from '../../../services/sync-server/replica/layout.ts';
import { runInTurns } from '../../../services/sync-server/replica/steps.ts';
import { SyncDoubt } from '../../../services/sync-server/replica/sync-doubt.ts';
import { syncTouched } from '../../../services/sync-server/replica/sync-touched.ts';
import { DirtyPages } from '../../support/dirty-pages.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import {
  fileEntry,
  linesOf,
  link,
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

class Crash extends Error {}

const BIG = Buffer.alloc(70_000, 'big');

describe("a sync of the replica's file system that failed (E86)", () => {
  let directory: string;
  let pages: DirtyPages;
  let replica: TestReplica;

  beforeEach(() => {
    directory = temporaryDirectory('/dev/shm');
    pages = new DirtyPages(directory);
    replica = TestReplica.open(directory);
  });
  afterEach(() => {
    replica.close();
    pages.close();
    removeDirectory(directory);
  });

  const checkpoint = (): Promise<void> => new Checkpointer(replica.core, pages.syncFileSystem).run();
  const failingCheckpoint = async (): Promise<void> => {
    pages.failures = 1;
    const outcome = await checkpoint().then(
      () => 'made',
      (error: unknown) => String(error),
    );
    expect(outcome).to.include('simulated');
    expect(replica.core.log.sizeBytes, 'the log stays').to.be.above(0);
  };
  const reopen = (crashPoint?: (step: string) => void): void => {
    replica.close();
    replica = TestReplica.open(directory, { crashPoint });
  };
  /** Everything that was acknowledged, whatever the disk lost; nothing has to be asked for again. */
  const expectWholeAfterPowerCut = (): void => {
    const expected = treeOf(directory);
    replica.close();
    pages.cutPower();
    replica = TestReplica.open(directory);
    expect(treeOf(directory)).to.deep.equal(expected);
    expect(linesOf(replica.indexEntries())).to.deep.equal(expected);
    expect(replica.drifted).to.deep.equal([]);
    expect(replica.recovery.isLossy).to.equal(false);
  };

  /** One of each way in which a content comes to its place. */
  const fill = (): void => {
    replica.applyAll(put('a', '1'), mkdir('d'), put('d/b', '2'), put('d/gone', '3'), symlink('link', 'a'));
    replica.applyAll(put('a', 'another'), move('d/b', 'moved'), remove('d/gone'), put('twin', 'another'));
    replica.applyAll(mkdir('e'), put('e/below', 'it'), put('e/strict', 'read by nobody', 0o000));
    replica.applyAll(move('e', 'd/e'), mkdir('empty'));
    const staged = join(directory, '.lockstep/staging', contentName(fileEntry('big', BIG).digest));
    writeFileSync(staged, BIG, { flush: true });
    replica.applyAll(putStored(fileEntry('d/big', BIG)));
    replica.applyAll(putStored(fileEntry('copy', BIG)));
  };

  it('is nothing to have where files are synced one by one, for want of such a call', async () => {
    fill();
    const byFile = new Checkpointer(replica.core, async () => {
      expect(await runInTurns(syncTouched(replica.core))).to.be.above(0);
    });
    await byFile.run();
    expect(replica.core.log.sizeBytes).to.equal(0);
    expectWholeAfterPowerCut();
  });

  it('leaves alone, file by file, what somebody else has put in the place of one', async () => {
    replica.applyAll(put('a', '1'), put('b', '2'), mkdir('d'), put('d/c', '3'));
    unlinkSync(join(directory, 'a'));
    symlinkSync('b', join(directory, 'a'));
    rmSync(join(directory, 'd'), { recursive: true });
    expect(await runInTurns(syncTouched(replica.core))).to.equal(1);
  });

  it('is not believed at its second try: what it was for is written anew', async () => {
    fill();
    await failingCheckpoint();
    await checkpoint();
    expect(replica.core.log.sizeBytes).to.equal(0);
    expectWholeAfterPowerCut();
  });

  it('writes anew also what looks changed because the clock of the file system is ahead (E117)', async () => {
    replica.applyAll(put('a', '1'), symlink('link', 'a'), symlink('other', 'a'));
    const { index } = replica.core;
    for (const path of ['a', 'link', 'other'].map(p)) {
      const identity = index.get(path)?.identity;
      index.setIdentity(path, identity && { ...identity, ctimeNs: 1n });
    }
    // This one somebody has changed.
    rmSync(join(directory, 'other'));
    symlinkSync('elsewhere', join(directory, 'other'));
    const inodes = (): readonly number[] => ['a', 'link', 'other'].map((name) => lstatSync(join(directory, name)).ino);
    const before = inodes();
    await failingCheckpoint();
    await checkpoint();
    expect(inodes().map((ino, at) => ino === before[at])).to.deep.equal([false, false, true]);
  });

  it('leaves names of one file what they are (E19)', async () => {
    const record = fileEntry('a', 'one');
    replica.applyAll(put('a', 'one'), mkdir('d'), link('d/b', 'a', record));
    replica.applyAll(link('c', 'd/b', record), put('own', 'one'), move('a', 'd/moved'));
    await failingCheckpoint();
    await checkpoint();
    expect(sharedNamesOf(directory)).to.deep.equal([['c', 'd/b', 'd/moved']]);
    expectWholeAfterPowerCut();
    expect(sharedNamesOf(directory)).to.deep.equal([['c', 'd/b', 'd/moved']]);
  });

  it('is not forgotten by a restart in between', async () => {
    fill();
    await failingCheckpoint();
    reopen();
    expect(replica.core.doubt.isRaised).to.equal(true);
    await checkpoint();
    expectWholeAfterPowerCut();
  });

  it('counts as failed when the server died before it heard the answer', async () => {
    fill();
    void new Checkpointer(replica.core, () => new Promise(() => pages.drop())).run();
    reopen();
    await checkpoint();
    expect(replica.core.log.sizeBytes).to.equal(0);
    expectWholeAfterPowerCut();
  });

  it('may fail again and again, with changes in between', async () => {
    fill();
    await failingCheckpoint();
    replica.applyAll(put('later', 'x'), put('moved', 'new'), move('d', 'elsewhere'));
    await failingCheckpoint();
    replica.applyAll(put('later', 'y'));
    await failingCheckpoint();
    await checkpoint();
    expectWholeAfterPowerCut();
  });

  it('is made good whatever step of that a crash falls behind', async function () {
    this.timeout(30_000);
    fill();
    await failingCheckpoint();
    let isThrough = false;
    for (let steps = 1; !isThrough; steps++) {
      let left = steps;
      let isOn = false;
      reopen(() => {
        if (isOn && --left === 0) throw new Crash('here');
      });
      isOn = true;
      // Each sync but the last: what is dropped then is what this round wrote.
      isThrough = await checkpoint().then(
        () => true,
        (error: unknown) => {
          if (error instanceof Crash) return false;
          throw error;
        },
      );
      if (!isThrough && replica.core.doubt.isRaised) pages.drop();
      expect(steps).to.be.below(60);
      isOn = false;
    }
    expectWholeAfterPowerCut();
  });

  it('leaves inodes, times and modes as the index knows them, so that nothing looks changed', async () => {
    fill();
    const before = treeOf(directory);
    const { ino } = statSync(join(directory, 'a'));
    await failingCheckpoint();
    await checkpoint();
    expect(statSync(join(directory, 'a')).ino).to.not.equal(ino);
    expect(treeOf(directory)).to.deep.equal(before);
    expect(replica.lookThrough()).to.deep.equal([]);
    expect(replica.stagedNames()).to.deep.equal([]);
    replica.applyAll(put('a', 'goes on'), remove('moved'));
  });

  it('does not overwrite what somebody else wrote meanwhile: that is drift', async () => {
    replica.applyAll(put('a', '1'), put('b', '2'));
    await failingCheckpoint();
    writeFileSync(join(directory, 'a'), 'foreign');
    chmodSync(join(directory, 'a'), 0o600);
    await checkpoint();
    expect(replica.lookThrough()).to.deep.equal([p('a')]);
    expect(replica.core.index.get(p('b'))).to.include({ mtimeNs: T0 });
  });

  it('goes on where a directory is gone meanwhile, and whatever else the log tells of', async () => {
    replica.applyAll(put('a', '1'), mkdir('d'), put('d/b', '2'), mkdir('e'));
    writeFileSync(join(directory, 'a'), 'foreign');
    expect(replica.lookThrough()).to.deep.equal([p('a')]);
    await failingCheckpoint();
    rmSync(join(directory, 'd'), { recursive: true });
    await checkpoint();
    expect(replica.core.log.sizeBytes).to.equal(0);
    expect(replica.lookThrough()).to.include(p('d'));
    expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
  });

  it('makes names of one file by themselves where another one was replaced meanwhile (E19)', async () => {
    const record = fileEntry('a', 'one');
    replica.applyAll(put('a', 'one'), put('between', 'one'), link('z', 'a', record));
    await failingCheckpoint();
    let repaired = 0;
    reopen((step) => {
      if (step !== 'repaired' || ++repaired !== 2) return;
      unlinkSync(join(directory, 'z'));
      writeFileSync(join(directory, 'z'), 'foreign');
    });
    await checkpoint();
    expect(repaired).to.equal(3);
    expect(sharedNamesOf(directory)).to.deep.equal([]);
    const contents = ['a', 'between', 'z'].map((name) => readFileSync(join(directory, name), 'utf8'));
    expect(contents).to.deep.equal(['one', 'one', 'foreign']);
    replica.lookThrough();
    expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
  });

  it('is over where nothing is left that it could have been for', async () => {
    replica.core.doubt.raise();
    reopen();
    expect(replica.core.doubt.isRaised).to.equal(true);
    await checkpoint();
    reopen();
    expect(replica.core.doubt.isRaised).to.equal(false);
  });

  it('is noted before it happens, or it does not happen', () => {
    const path = join(directory, '.lockstep/sync-doubt');
    {
      using _ = failingCalls('fsyncSync', 'EIO');
      using _data = failingCalls('fdatasyncSync', 'EIO');
      expect(() => replica.core.doubt.raise()).to.throw(LockstepError, 'note whether a sync is in doubt');
      expect(replica.core.doubt.isRaised).to.equal(false);
    }
    {
      using _ = failingCalls('readSync', 'EIO');
      expect(() => SyncDoubt.open(path)).to.throw('EIO');
    }
    const doubt = SyncDoubt.open(path);
    // It was written all the same: better one doubt too many.
    expect(doubt.isRaised).to.equal(true);
    doubt.close();
  });

  it('costs nothing when it succeeds: files stay what they are', async () => {
    fill();
    const { ino } = statSync(join(directory, 'a'));
    await checkpoint();
    await checkpoint();
    expect(statSync(join(directory, 'a')).ino).to.equal(ino);
    expect(replica.core.doubt.isRaised).to.equal(false);
    expectWholeAfterPowerCut();
  });
});
