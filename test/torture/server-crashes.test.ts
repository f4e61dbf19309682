/**
 * The server is killed before each of its steps on the disk in turn (sampled; ROUNDS= for more): while it applies, and while
 * it recovers. What was told to be durable is there before the watcher has said a word.
 */
import { expect } from 'chai';
import { join } from 'node:path';
import type { Pair } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { seedOfRun } from '../support/workloads.ts';
import { casesOf, patienceMs } from './budget.ts';
import { Faults, faultsUnavailable } from './faults.ts';
import { fillForRounds, playRound, sampled } from './rounds.ts';
import { Witness } from './witness.ts';

const CASES = casesOf(8);

describe('a server that is killed', function () {
  this.timeout(patienceMs(CASES));
  const pairs = usePairs();
  let faults: Faults;

  before(function () {
    const reason = faultsUnavailable();
    if (reason !== undefined) skipBecause(this, reason);
  });
  afterEach(() => faults.close());

  function startedPair(): Promise<Pair> {
    return pairs.start({
      watcherFlags: ['--max-delete', '100%'],
      serverEnvironment: () => faults.environment,
      prepare: (pair) => {
        faults = new Faults(join(pair.base, 'server-faults'), [pair.replica]);
        fillForRounds(pair);
      },
    });
  }

  it('before any step on its disk has all that was durable, nothing torn, and goes on (E18, E84, E109, F01)', async () => {
    const pair = await startedPair();
    const witness = new Witness(pair.source);
    const seed = seedOfRun();
    let round = 0;
    const before = faults.steps;
    expect(await playRound(pair, witness, round++, () => false)).to.equal(true);
    const stepsOfARound = faults.steps - before;
    expect(stepsOfARound).to.be.above(30);
    let killed = 0;
    for (const step of sampled(stepsOfARound, CASES, seed)) {
      await inContext(`killed before step ${step} of about ${stepsOfARound} in round ${round}`, async () => {
        faults.stopAfter(step);
        await playRound(pair, witness, round++, () => !pair.server.isRunning);
        killed += pair.server.isRunning ? 0 : 1;
        await recovers(pair, witness, faults);
      });
    }
    // A group of batches is sometimes larger, and then its last steps are not reached.
    expect(killed).to.be.above(CASES / 2);
  });

  it('again and again while it recovers, converges all the same (E92, F11)', async () => {
    const pair = await startedPair();
    const witness = new Witness(pair.source);
    let round = 0;
    for (let number = 1; number <= casesOf(1); number++) {
      faults.stopAfter(17 * number);
      await playRound(pair, witness, round++, () => !pair.server.isRunning);
      await pair.server.end('SIGKILL');
      pair.watcher.signal('SIGSTOP');
      for (const step of [1, 3, 5 + 2 * number]) {
        await inContext(`in round ${round - 1}, killed again before step ${step} of the recovery`, async () => {
          faults.stopAfter(step);
          await pair.startServer().catch(() => undefined);
          await pair.server.end('SIGKILL');
          expect(witness.tornIn(pair.replica)).to.deep.equal([]);
        });
      }
      await recovers(pair, witness, faults);
    }
  });
});

/** The server alone first: the watcher must not be needed for what was durable. */
async function recovers(pair: Pair, witness: Witness, faults: Faults): Promise<void> {
  await pair.server.end('SIGKILL');
  faults.goOn();
  pair.watcher.signal('SIGSTOP');
  expect(witness.tornIn(pair.replica), 'before the recovery').to.deep.equal([]);
  await pair.startServer();
  expect(witness.wrongIn(pair.replica), 'after the recovery').to.deep.equal([]);
  pair.watcher.signal('SIGCONT');
  const { version } = witness;
  await pair.inStep();
  witness.durable(version);
}

async function inContext(what: string, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    throw new Error(`${what}: ${String(error)}`, { cause: error });
  }
}
