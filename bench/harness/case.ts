/**
 * What a file in cases/ is.
 */
import type { Bench } from './bench.ts';
import type { CaseOutcome } from './outcome.ts';

export interface BenchCase {
  readonly name: string;
  /** What is measured, as in the table of targets. */
  readonly summary: string;
  /** Throws Skipped when it cannot be measured here. */
  run(bench: Bench): Promise<CaseOutcome>;
}
