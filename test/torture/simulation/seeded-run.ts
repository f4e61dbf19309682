/**
 * What a seed means: the actions of its run, and what is kept in it. The same wherever it is played.
 */
import type { PlantedFault } from './simulated-server.ts';
import { type Action, runOf, simulate } from './simulation.ts';

/** Small enough to be sent to another process. */
export interface SeededRun {
  readonly seed: number;
  /** Both sides keep owners. */
  readonly owners?: boolean;
  readonly fault?: PlantedFault;
}

const ACTIONS_PER_PHASE = 150;
/** So many runs for one that keeps hard links (E19). */
const RUNS_PER_LINKED_ONE = 3;

export function actionsOfSeed(seed: number): readonly Action[] {
  return runOf(seed, ACTIONS_PER_PHASE);
}

/** Of the run's own actions, or of some of them. Returns the hash of all that happened. @throws what was wrong */
export async function play(
  { seed, ...options }: SeededRun,
  directory: string,
  actions: readonly Action[] = actionsOfSeed(seed),
): Promise<string> {
  return await simulate(actions, { directory, hardLinks: seed % RUNS_PER_LINKED_ONE === 0, ...options });
}
