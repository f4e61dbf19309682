/**
 * A process that plays seeded runs, one at a time, in the directory that it is given. Ends with the process that started it.
 */
import { describeError } from '../../../common/ops/errors.ts';
import { play, type SeededRun } from './seeded-run.ts';

/** The hash of all that happened, or what was wrong. */
export type Outcome = SeededRun & ({ readonly traceHash: string } | { readonly failure: string });

const [, , directory = ''] = process.argv;

async function outcomeOf(run: SeededRun): Promise<Outcome> {
  try {
    return { ...run, traceHash: await play(run, directory) };
  } catch (error) {
    return { ...run, failure: describeError(error) };
  }
}

process.on('disconnect', () => process.exit());
process.on('message', (run: SeededRun) => {
  void outcomeOf(run).then((outcome) => process.send?.(outcome));
});
