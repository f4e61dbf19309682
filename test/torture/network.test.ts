/**
 * What a network does to the pair: cut after every n-th byte (sampled; ROUNDS= for more), long and narrow lines.
 */
import { expect } from 'chai';
import { FaultProxy } from '../support/fault-proxy.ts';
import type { Pair } from '../support/pair.ts';
import { usePairs } from '../support/pair-hooks.ts';
import { noise, put, putMany } from '../support/writing.ts';
import { seedOfRun } from '../support/workloads.ts';
import { casesOf, patienceMs } from './budget.ts';
import { fillForRounds, playRound, sampled } from './rounds.ts';
import { Witness } from './witness.ts';

const CASES = casesOf(5);

describe('a connection', function () {
  this.timeout(patienceMs(CASES));
  const pairs = usePairs();
  let proxy: FaultProxy;

  function startedPair(prepare?: (pair: Pair) => void): Promise<Pair> {
    return pairs.start({
      watcherFlags: ['--max-delete', '100%'],
      proxy: async (port) => {
        proxy = await FaultProxy.start(port);
        return proxy;
      },
      ...(prepare === undefined ? {} : { prepare }),
    });
  }

  for (const [direction, what] of [
    ['toServer', 'of what the watcher sends'],
    ['toClient', 'of what the server answers'],
  ] as const) {
    it(`cut after any byte ${what}: nothing torn, nothing lost, nothing applied twice (E109, F17, F18)`, async () => {
      const pair = await startedPair(fillForRounds);
      const witness = new Witness(pair.source);
      let round = 0;
      const before = proxy.bytes[direction];
      await playRound(pair, witness, round++, () => false);
      const bytesOfARound = proxy.bytes[direction] - before;
      for (const [number, afterBytes] of sampled(bytesOfARound, CASES, seedOfRun()).entries()) {
        try {
          proxy.cutAfter({ direction, afterBytes, how: number % 3 === 2 ? 'end' : 'reset' });
          await playRound(pair, witness, round++, () => false);
          expect(witness.wrongIn(pair.replica)).to.deep.equal([]);
          const { version } = witness;
          await pair.inStep();
          witness.durable(version);
        } catch (error) {
          throw new Error(
            `cut after ${afterBytes} of about ${bytesOfARound} bytes in round ${round - 1}: ${String(error)}`,
            {
              cause: error,
            },
          );
        }
      }
      const { problem_count, in_step } = await pair.status();
      expect({ problem_count, in_step }).to.deep.equal({ problem_count: 0, in_step: true });
    });
  }

  it('of 40 ms per round trip is used to the full, by many files and by a large one (F15)', async () => {
    const pair = await startedPair();
    proxy.delayMs = 20;
    const startMs = performance.now();
    putMany(pair.source, 'many', 1000, 1000);
    put(pair.source, 'large.bin', noise(24_000_000, 'large'));
    await pair.inStep();
    // One file, or 64 KiB, for each round trip would take 40 s, or 15 s.
    expect(performance.now() - startMs).to.be.below(12_000);
  });

  it('of 1 Mbit/s lets small changes overtake a large content, and shows how far it is (F16)', async () => {
    const sizeBytes = 900_000;
    const pair = await startedPair();
    proxy.bytesPerSecond = 125_000;
    const before = proxy.bytes.toServer;
    put(pair.source, 'large.bin', noise(sizeBytes, 'large'));
    await pair.watcher.reaches('it is on its way', () => proxy.bytes.toServer - before > 50_000);
    const startMs = performance.now();
    for (let number = 0; number < 3; number++) {
      put(pair.source, `small-${number}`, `small ${number}`);
      await pair.follows({ except: (path) => path === 'large.bin' }, 4000);
    }
    expect(proxy.bytes.toServer - before, 'the large one was still on its way').to.be.below(sizeBytes);
    expect(performance.now() - startMs).to.be.below(7000);
    expect((await pair.status())['in_step']).to.equal(false);
    proxy.bytesPerSecond = undefined;
    await pair.inStep();
  });
});
