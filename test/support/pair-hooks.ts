/**
 * Pairs for mocha: started and removed with the tests, and heard only when a test fails.
 */
import { Pair, type PairOptions } from './pair.ts';

/** One pair for all tests of a `describe`; each test works in a directory of its own, or leaves the tree in step. */
export function useSharedPair(options: PairOptions = {}): { readonly pair: Pair } {
  let pair: Pair | undefined;
  before(async () => {
    pair = await Pair.start(options);
  });
  afterEach(function () {
    if (this.currentTest?.state === 'failed' && pair !== undefined) process.stderr.write(`${pair.report()}\n`);
  });
  after(async () => {
    await pair?.remove();
  });
  return {
    get pair() {
      if (pair === undefined) throw new Error('the pair was not started');
      return pair;
    },
  };
}

/** For tests that start their own: `start` runs both, `prepare` makes only the directories. */
export function usePairs(): {
  start(options?: PairOptions): Promise<Pair>;
  prepare(options?: PairOptions): Pair;
} {
  const pairs: Pair[] = [];
  afterEach(async function () {
    const current = pairs.splice(0);
    if (this.currentTest?.state === 'failed') for (const pair of current) process.stderr.write(`${pair.report()}\n`);
    await Promise.all(current.map((pair) => pair.remove()));
  });
  const keep = (pair: Pair) => {
    pairs.push(pair);
    return pair;
  };
  return {
    start: async (options) => keep(await Pair.start(options)),
    prepare: (options) => keep(Pair.prepare(options)),
  };
}

/** A test that cannot run here says why. */
export function skipBecause(context: Mocha.Context, reason: string): never {
  process.stderr.write(`      skipped: ${reason}\n`);
  return context.skip();
}
