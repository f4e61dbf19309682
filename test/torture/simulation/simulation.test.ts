/**
 * The deterministic simulation, over many seeds. `make torture SEEDS=20000` for more; a failure names its seed and the
 * actions that are left of it when all others are taken away.
 */
import { join } from 'node:path';
import { expect } from 'chai';
import { describeError } from '../../../common/ops/errors.ts';
import { removeDirectory, temporaryDirectory } from '../../support/pair.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
import { Random } from '../../support/workloads.ts';
import { seedsOf } from '../budget.ts';
import { shrink } from './shrink.ts';
import type { PlantedFault } from './simulated-server.ts';
import { type Action, runOf, simulate, type SimulationOptions } from './simulation.ts';

const { first: FIRST_SEED, count: SEEDS } = seedsOf(600);
const ACTIONS_PER_PHASE = 150;
/** So many runs for one that keeps hard links (E19). */
const RUNS_PER_LINKED_ONE = 3;
/** Runs within which a planted fault must be found. */
const RUNS_TO_FIND = 150;

const FAULTS: readonly PlantedFault[] = [
  'a hint is lost and nobody looks',
  'an answer comes before the log is synced',
  'the changes of a batch are applied in another order',
  'what cannot be read counts as deleted',
  'an answer is believed that belongs to another session',
  'a sync that failed is believed at its second try',
];

describe('the simulation', function () {
  this.timeout(0);
  let base: string;
  before(() => {
    base = temporaryDirectory();
  });
  after(() => removeDirectory(base));

  const failureOf = async (
    actions: readonly Action[],
    options: Omit<SimulationOptions, 'directory'> = {},
  ): Promise<unknown> => {
    try {
      await simulate(actions, { directory: join(base, 'run'), ...options });
      return undefined;
    } catch (error) {
      return error;
    }
  };

  it('ends with equal owners, too, where both sides keep them (E79, E19)', async function () {
    if (process.geteuid?.() !== 0) skipBecause(this, 'only root may give files to others');
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS / 6; seed++) {
      const actions = runOf(seed, ACTIONS_PER_PHASE);
      const options = { owners: true, hardLinks: seed % RUNS_PER_LINKED_ONE === 0 };
      const failure = await failureOf(actions, options);
      if (failure === undefined) continue;
      const left = await shrink(actions, async (fewer) => (await failureOf(fewer, options)) !== undefined);
      const what = `LOCKSTEP_TEST_SEED=${seed}: ${describeError(failure)}`;
      throw new Error(`${what}\n  what is left of it: ${JSON.stringify(left)}`, { cause: failure });
    }
  });

  it(`ends equal for ${SEEDS} seeds, whatever is cut, lost, late or killed (E19, F01 to F12)`, async () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
      const actions = runOf(seed, ACTIONS_PER_PHASE);
      const options = { hardLinks: seed % RUNS_PER_LINKED_ONE === 0 };
      const failure = await failureOf(actions, options);
      if (failure === undefined) continue;
      const left = await shrink(actions, async (fewer) => (await failureOf(fewer, options)) !== undefined);
      throw new Error(
        `LOCKSTEP_TEST_SEED=${seed}: ${describeError(failure)}\n  what is left of it: ${JSON.stringify(left)}`,
        {
          cause: failure,
        },
      );
    }
  });

  it('does the same again for the same seed', async () => {
    const actions = runOf(FIRST_SEED, ACTIONS_PER_PHASE);
    const directory = join(base, 'run');
    expect(await simulate(actions, { directory })).to.equal(await simulate(actions, { directory }));
  });

  for (const fault of FAULTS) {
    it(`finds it when ${fault}`, async () => {
      const random = new Random(FIRST_SEED);
      for (let run = 0; run < RUNS_TO_FIND; run++) {
        if ((await failureOf(runOf(random.below(2 ** 31), ACTIONS_PER_PHASE), { fault })) !== undefined) return;
      }
      throw new Error(`not found in ${RUNS_TO_FIND} runs`);
    });
  }
});
