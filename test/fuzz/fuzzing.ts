/**
 * Seeded hostile input with a budget of time. A failure names the seed; FUZZ_SEED=… repeats it, SECONDS_PER_TARGET=… says
 * how long each target is tried (default 5). With the same seed the inputs are the same, one after the other.
 */
import { randomInt } from 'node:crypto';
import { givenNumber } from '../support/given-number.ts';

const SECONDS_PER_TARGET = givenNumber('SECONDS_PER_TARGET', { least: 0 }) ?? 5;
const SEED = givenNumber('FUZZ_SEED', { least: 0, isWhole: true }) ?? randomInt(2 ** 32);

/** What a round of a target may still take after its budget, in milliseconds. */
export const PATIENCE_MS = 30_000;
export const BUDGET_MS = SECONDS_PER_TARGET * 1000;

/** mulberry32 (https://github.com/cprosche/mulberry32): small, good enough, and the same everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 <= n < bound */
  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  }

  pick<T>(choices: readonly T[]): T {
    const choice = choices[this.below(choices.length)];
    if (choice === undefined) throw new Error('nothing to pick from');
    return choice;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  /** The bytes with one to eight changes: flips, cuts, insertions, repetitions, and numbers at their limits. */
  mutated(original: Buffer): Buffer {
    let bytes = Buffer.from(original);
    for (let changes = 1 + this.below(8); changes > 0; changes--) bytes = this.#changed(bytes);
    return bytes;
  }

  #changed(bytes: Buffer): Buffer<ArrayBuffer> {
    const at = this.below(bytes.length + 1);
    const length = this.below(Math.min(64, bytes.length - at) + 1);
    const [before, part, after] = [bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at + length)];
    switch (this.below(7)) {
      case 0:
        return Buffer.concat([before, part.map((byte) => byte ^ (1 << this.below(8))), after]);
      case 1:
        return Buffer.concat([before, after]);
      case 2:
        return Buffer.concat([before, this.bytes(this.below(16)), part, after]);
      case 3:
        return Buffer.concat([before, part, part, after]);
      case 4:
        return Buffer.concat([before]);
      case 5:
        return Buffer.concat([before, this.pick(NASTY), after]);
      default:
        return Buffer.concat([before, this.bytes(length), after]);
    }
  }
}

const NASTY: readonly Buffer[] = [
  // Varints and fixed numbers at their limits.
  Buffer.from('ffffffffffffffffff01', 'hex'),
  Buffer.from('ffffffff07', 'hex'),
  Buffer.from('80808080808080808080', 'hex'),
  Buffer.alloc(8),
  Buffer.alloc(4, 0xff),
  Buffer.from('0000008000000080', 'hex'),
  // Names that mean something elsewhere.
  Buffer.from('../'),
  Buffer.from('%2E%2E%2F'),
  Buffer.from('.lockstep'),
  Buffer.from('\0'),
  Buffer.from('__proto__'),
  Buffer.from('\u001b[2J\u202e'),
];

/** Runs rounds until the budget is spent. A failing round is told with its seed. */
export async function fuzz(round: (random: Random) => Promise<void> | void): Promise<void> {
  const endMs = performance.now() + BUDGET_MS;
  let rounds = 0;
  for (; rounds === 0 || performance.now() < endMs; rounds++) {
    const seed = (SEED + Math.imul(rounds, 0x9e3779b1)) >>> 0;
    try {
      await round(new Random(seed));
    } catch (error) {
      throw new Error(`round ${rounds} failed; FUZZ_SEED=${seed} repeats it as the first: ${String(error)}`, {
        cause: error,
      });
    }
  }
  process.stdout.write(`      ${rounds} rounds from FUZZ_SEED=${SEED}\n`);
}
