/**
 * The power of a disk is cut before each step of a program on it in turn (sampled; ROUNDS= for more): ext4 in a file, shut
 * down by its own ioctl, without what it had not written yet. What was told to be durable is there when it is mounted again.
 */
import { expect } from 'chai';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Pair } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { seedOfRun } from '../support/workloads.ts';
import { casesOf, patienceMs } from './budget.ts';
import { Disk, disksUnavailable } from './disks.ts';
import { Faults, faultsUnavailable } from './faults.ts';
import { fillForRounds, playRound, sampled } from './rounds.ts';
import { Witness } from './witness.ts';

const CASES = casesOf(6);
/** Of a round, on the server's disk. */
const STEPS = 200;

describe('a power loss', function () {
  this.timeout(patienceMs(CASES));
  const pairs = usePairs();
  let faults: Faults;
  let disk: Disk;

  before(function () {
    const reason = faultsUnavailable() ?? disksUnavailable('ext4');
    if (reason !== undefined) skipBecause(this, reason);
  });
  beforeEach(() => {
    disk = Disk.ext4();
    faults = new Faults(join(disk.path, '..', 'faults'), [disk.path]);
  });
  afterEach(function () {
    faults.close();
  });
  // The pairs are removed by a hook that was registered before.
  afterEach(() => disk.remove());

  function replicaOnDisk(): Promise<Pair> {
    const replica = join(disk.path, 'replica');
    mkdirSync(replica);
    return pairs.start({
      replica,
      watcherFlags: ['--max-delete', '100%'],
      serverEnvironment: () => faults.environment,
      prepare: fillForRounds,
    });
  }

  /** Cuts the power, if that has not happened yet, and starts the machine again. */
  async function powerCycle(pair: Pair): Promise<void> {
    faults.stopAfter(0, 'cut-power');
    pair.watcher.signal('SIGSTOP');
    await pair.server.end('SIGKILL');
    faults.goOn();
    disk.unmount();
    disk.mount();
  }

  it('of the server at any step keeps what was durable, tears nothing, and heals (E85, E90, F02)', async () => {
    const pair = await replicaOnDisk();
    const witness = new Witness(pair.source);
    let round = 0;
    for (const step of sampled(STEPS, CASES, seedOfRun())) {
      try {
        faults.stopAfter(step, 'cut-power');
        await playRound(pair, witness, round++, () => !pair.server.isRunning);
        await powerCycle(pair);
        await pair.startServer();
        expect(witness.wrongIn(pair.replica), 'after the recovery').to.deep.equal([]);
        pair.watcher.signal('SIGCONT');
        const { version } = witness;
        await pair.inStep();
        witness.durable(version);
      } catch (error) {
        throw new Error(`cut before step ${step} of round ${round - 1}: ${String(error)}`, { cause: error });
      }
    }
  });

  it('is noticed by this test when a disk lies about its syncs: it can find what it looks for', async () => {
    const pair = await replicaOnDisk();
    const witness = new Witness(pair.source);
    faults.fail({ operations: ['sync'], errno: 'half' });
    await playRound(pair, witness, 0, () => false);
    expect(faults.failed).to.be.above(3);
    faults.heal();
    faults.stopAfter(1, 'cut-power');
    await playRound(pair, witness, 1, () => !pair.server.isRunning);
    await powerCycle(pair);
    await pair.startServer();
    expect(witness.wrongIn(pair.replica)).to.not.deep.equal([]);
    pair.watcher.signal('SIGCONT');
    // The watcher believes what it was told, and the server's history does not reach so far: they compare, and it heals.
    await pair.inStep();
  });

  it('of the watcher leaves it with older knowledge, from which it never concludes deletions (E55, F04)', async () => {
    const watcherState = join(disk.path, 'watcher-state');
    const pair = await pairs.start({
      watcherState,
      watcherFlags: ['--max-delete', '100%'],
      watcherEnvironment: () => faults.environment,
      prepare: fillForRounds,
    });
    const witness = new Witness(pair.source);
    for (let round = 0; round < casesOf(2); round++) {
      faults.stopAfter(3 + 11 * round, 'cut-power');
      await playRound(pair, witness, round, () => !pair.watcher.isRunning);
      faults.stopAfter(0, 'cut-power');
      await pair.watcher.end('SIGKILL');
      faults.goOn();
      disk.unmount();
      disk.mount();
      expect(witness.wrongIn(pair.replica), `in round ${round}`).to.deep.equal([]);
      await pair.startWatcher();
      expect(pair.differences(), `in round ${round}`).to.deep.equal([]);
      witness.durable(witness.version);
    }
  });
});
