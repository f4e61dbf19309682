/**
 * How much torture a run is to be: the default fits into CI. SEEDS=… multiplies the cases of the enumerations by a tenth of
 * it, MINUTES=… says how long random faults go on, LOCKSTEP_TEST_SEED=… repeats a failure.
 */

const DEFAULT_SEEDS = 10;

const seeds = Number(process.env['SEEDS'] ?? DEFAULT_SEEDS);
const minutes = Number(process.env['MINUTES'] ?? 0);

/** Of an enumeration that has `byDefault` cases in CI. */
export function casesOf(byDefault: number): number {
  return Math.max(1, Math.round((byDefault * seeds) / DEFAULT_SEEDS));
}

/** How long random faults go on. */
export function durationMs(byDefaultMs: number): number {
  return minutes > 0 ? minutes * 60_000 : byDefaultMs;
}

/** Enough for `count` cases, and for what a busy machine does to them. */
export function patienceMs(count: number, eachMs = 10_000): number {
  return 60_000 + count * eachMs;
}
