/**
 * How much torture a run is to be: the default fits into CI. SEEDS=… says how many seeds the simulation runs, ROUNDS=…
 * multiplies the cases of the enumerations, which start real processes for each, MINUTES=… says how long random faults go on,
 * LOCKSTEP_TEST_SEED=… repeats a failure, and is the first seed of the simulation. `make torture` loads this first, by itself,
 * so that a slip is told once.
 */
import { givenNumber } from '../support/given-number.ts';
import { seedGiven } from '../support/workloads.ts';

const seeds = givenNumber('SEEDS', { least: 1, isWhole: true });
const rounds = givenNumber('ROUNDS', { least: 0 }) ?? 1;
const minutes = givenNumber('MINUTES', { least: 0 }) ?? 0;

/** Of the simulation, one after the other: the same each time, unless the first one is given. */
export function seedsOf(byDefault: number): { readonly first: number; readonly count: number } {
  return { first: seedGiven() ?? 1, count: seeds ?? byDefault };
}

/** Of an enumeration that has `byDefault` cases in CI. */
export function casesOf(byDefault: number): number {
  return Math.max(1, Math.round(byDefault * rounds));
}

/** How long random faults go on. */
export function durationMs(byDefaultMs: number): number {
  return minutes > 0 ? minutes * 60_000 : byDefaultMs;
}

/** Enough for `count` cases, and for what a busy machine does to them. */
export function patienceMs(count: number, eachMs = 10_000): number {
  return 60_000 + count * eachMs;
}
