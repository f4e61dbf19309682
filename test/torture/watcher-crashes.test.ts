/**
 * The watcher is killed before each of its steps in turn (sampled; ROUNDS= for more): what it reads of the tree, and what it
 * writes into its state. Whatever it was about to know, it finds out again, and nothing that it did not see counts as gone.
 */
import { expect } from 'chai';
import { join } from 'node:path';
import type { Pair } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { seedOfRun } from '../support/workloads.ts';
import { noise, put } from '../support/writing.ts';
import { casesOf, patienceMs } from './budget.ts';
import { ALL_STEPS, DURABLE_STEPS, Faults, faultsUnavailable } from './faults.ts';
import { fillForRounds, playRound, sampled } from './rounds.ts';
import { Witness } from './witness.ts';

const CASES = casesOf(4);

describe('a watcher that is killed', function () {
  this.timeout(patienceMs(2 * CASES));
  const pairs = usePairs();
  let faults: Faults;

  before(function () {
    const reason = faultsUnavailable();
    if (reason !== undefined) skipBecause(this, reason);
  });
  afterEach(() => faults.close());

  function startedPair(): Promise<Pair> {
    return pairs.start({
      counting: true,
      watcherFlags: ['--max-delete', '100%'],
      watcherEnvironment: () => faults.environment,
      prepare: (pair) => {
        faults = new Faults(join(pair.base, 'watcher-faults'), [pair.watcherState, pair.source]);
        fillForRounds(pair);
      },
    });
  }

  for (const [what, steps] of [
    ['before any step on its own disk', DURABLE_STEPS],
    ['while it looks and reads', ALL_STEPS],
  ] as const) {
    it(`${what} is in step again as soon as it is back, and has deleted nothing (E55, E56, F03)`, async () => {
      const pair = await startedPair();
      faults.countSteps(steps);
      const witness = new Witness(pair.source);
      let round = 0;
      const before = faults.steps;
      expect(await playRound(pair, witness, round++, () => false)).to.equal(true);
      const stepsOfARound = faults.steps - before;
      let killed = 0;
      for (const step of sampled(stepsOfARound, CASES, seedOfRun())) {
        try {
          faults.stopAfter(step);
          await playRound(pair, witness, round++, () => !pair.watcher.isRunning);
          killed += pair.watcher.isRunning ? 0 : 1;
          await pair.watcher.end('SIGKILL');
          expect(witness.wrongIn(pair.replica)).to.deep.equal([]);
          // And once more while it begins.
          faults.stopAfter(step);
          await pair.startWatcher().catch(() => undefined);
          await pair.watcher.end('SIGKILL');
          expect(witness.wrongIn(pair.replica)).to.deep.equal([]);
          faults.goOn();
          await pair.startWatcher();
          expect(pair.differences()).to.deep.equal([]);
          witness.durable(witness.version);
        } catch (error) {
          const where = `before step ${step} of about ${stepsOfARound} in round ${round - 1}`;
          throw new Error(`${where}: ${String(error)}`, { cause: error });
        }
      }
      expect(killed).to.be.above(CASES / 2);
    });
  }

  it('again and again in the middle of a large content sends it about once (F03)', async () => {
    const sizeBytes = 30_000_000;
    const pair = await startedPair();
    const { proxy } = pair;
    const before = proxy.sentBytes;
    put(pair.source, 'huge.bin', noise(sizeBytes, 'huge'));
    for (const share of [0.2, 0.5, 0.8]) {
      await pair.watcher.reaches(`${share} of it are sent`, () => proxy.sentBytes - before > share * sizeBytes);
      await pair.watcher.end('SIGKILL');
      pair.launchWatcher();
    }
    await pair.follows({}, 30_000);
    expect(proxy.sentBytes - before).to.be.below(sizeBytes * 1.7);
  });
});
