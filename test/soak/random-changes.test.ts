/**
 * Whatever a tree goes through, after a flush the replica is the same, byte for byte. Random from a seed; repeat a failure
 * with LOCKSTEP_TEST_SEED.
 */
import { CHANGE_SOURCES } from '../support/pair.ts';
import { usePairs } from '../support/pair-hooks.ts';
import { RandomTree, seedOfRun } from '../support/workloads.ts';

const SEEDS = 2;
const ROUNDS = 12;
const CHANGES_PER_ROUND = 60;

for (const changeSource of CHANGE_SOURCES) {
  describe(`random changes (${changeSource})`, () => {
    const pairs = usePairs();

    for (let run = 0; run < SEEDS; run++) {
      const seed = seedOfRun() + run;
      it(`end equal after each flush (LOCKSTEP_TEST_SEED=${seed})`, async () => {
        const pair = await pairs.start({ changeSource, watcherFlags: ['--max-delete', '100%'] });
        const tree = new RandomTree(pair.source, seed);
        for (let round = 0; round < ROUNDS; round++) {
          // All at once, and a little at a time: what is seen together differs.
          if (round % 2 === 0) tree.mutate(CHANGES_PER_ROUND);
          else await tree.mutateOverTime(CHANGES_PER_ROUND * 3);
          try {
            await pair.inStep();
          } catch (error) {
            throw new Error(`in round ${round}: ${String(error)}`, { cause: error });
          }
        }
      });
    }
  });
}
