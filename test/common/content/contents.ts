/** Contents for the tests of chunking and deltas, large enough to have many blocks, and what is done to them. */
import fc from 'fast-check';
import { type DeltaSink, MAX_COPY_BYTES } from '../../../common/content/delta-output.ts';

/** How to make a part of a content. Small to shrink and to print, however long the part is. */
export type Recipe =
  | { readonly kind: 'random'; readonly seed: number; readonly bytes: number }
  | { readonly kind: 'run'; readonly value: number; readonly bytes: number }
  | { readonly kind: 'periodic'; readonly seed: number; readonly period: number; readonly bytes: number };

/** Made once: most tests use the same few seeds. */
const known = new Map<number, Uint8Array>();

/** Pseudo-random bytes, the same for the same seed (xorshift32); not to be written to. */
export function randomBytes(seed: number, bytes: number): Uint8Array {
  const made = known.get(seed);
  if (made !== undefined && made.length >= bytes) return made.subarray(0, bytes);
  const data = new Uint8Array(Math.max(bytes, 150_000));
  let state = (Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995) | 1;
  for (let at = 0; at < data.length; at++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    data[at] = state >>> 24;
  }
  if (seed < 10) known.set(seed, data);
  return data.subarray(0, bytes);
}

export function periodicBytes(seed: number, period: number, bytes: number): Uint8Array {
  const unit = randomBytes(seed, period);
  return new Uint8Array(bytes).map((_, at) => unit[at % period]!);
}

export function contentOf(recipes: readonly Recipe[]): Uint8Array {
  return joined(
    recipes.map((recipe) => {
      switch (recipe.kind) {
        case 'random':
          return randomBytes(recipe.seed, recipe.bytes);
        case 'run':
          return new Uint8Array(recipe.bytes).fill(recipe.value);
        case 'periodic':
          return periodicBytes(recipe.seed, recipe.period, recipe.bytes);
      }
    }),
  );
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const data = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  return data;
}

// Few seeds: equal parts in different places, and in the old and the new content, are what matters.
const seed = fc.nat(5);
const bytes = fc.oneof(fc.nat(600), fc.nat(20_000), fc.nat(150_000));

export const recipe: fc.Arbitrary<Recipe> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('random' as const), seed, bytes }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('run' as const), value: fc.constantFrom(0, 7, 32, 255), bytes }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('periodic' as const),
      seed,
      period: fc.integer({ min: 1, max: 5000 }),
      bytes,
    }),
  },
);

export const recipes = fc.array(recipe, { maxLength: 6, size: 'max' });

/** Replaces `removed` bytes at a place by what a recipe gives. */
export interface Edit {
  readonly at: number;
  readonly removed: number;
  readonly inserted: Recipe;
}

export const edits: fc.Arbitrary<readonly Edit[]> = fc.array(
  fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    removed: fc.oneof(fc.nat(3), fc.nat(2000), fc.nat(50_000)),
    inserted: recipe,
  }),
  { maxLength: 4, size: 'max' },
);

export function edited(content: Uint8Array, all: readonly Edit[]): Uint8Array {
  return all.reduce((data, { at, removed, inserted }) => {
    const from = Math.floor(at * data.length);
    return joined([data.subarray(0, from), contentOf([inserted]), data.subarray(from + removed)]);
  }, content);
}

/** Lengths of the slices in which a content is given out, over and over again. */
export const slicing = fc.oneof(
  fc.constant([2 ** 30]),
  fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 5 }),
  fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 1, maxLength: 5 }),
);

/**
 * Gives the content out in slices. Each is a view of one buffer that is used again for the next, as readers do it: whoever keeps a
 * slice reads the wrong bytes.
 */
export function inSlices(content: Uint8Array, lengths: readonly number[], take: (slice: Uint8Array) => void): void {
  const buffer = new Uint8Array(Math.min(Math.max(...lengths), content.length) + 1);
  for (let at = 0, turn = 0; at < content.length; turn++) {
    const part = content.subarray(at, at + lengths[turn % lengths.length]!);
    buffer.fill(0xee);
    buffer.set(part, turn % 2);
    take(buffer.subarray(turn % 2, (turn % 2) + part.length));
    at += part.length;
  }
}

/** Makes the new content of a delta, as a server does. */
export class Patcher implements DeltaSink {
  copies = 0;
  literalBytes = 0;
  readonly #basis: Uint8Array;
  readonly #parts: Uint8Array[] = [];
  #copyEnd = -1;
  #copyBytes = 0;

  constructor(basis: Uint8Array) {
    this.#basis = basis;
  }

  copy(basisOffset: number, lengthBytes: number): void {
    if (lengthBytes <= 0 || basisOffset < 0 || basisOffset + lengthBytes > this.#basis.length) {
      throw new Error(`a copy of ${lengthBytes} bytes at ${basisOffset} is not in the basis`);
    }
    if (basisOffset === this.#copyEnd && this.#copyBytes < MAX_COPY_BYTES)
      throw new Error('two copies in a row are of ranges that touch');
    this.#copyEnd = basisOffset + lengthBytes;
    this.#copyBytes = lengthBytes;
    this.copies++;
    this.#parts.push(this.#basis.subarray(basisOffset, basisOffset + lengthBytes));
  }

  literal(data: Uint8Array): void {
    if (data.length === 0) throw new Error('a literal is empty');
    this.#copyEnd = -1;
    this.literalBytes += data.length;
    this.#parts.push(data.slice());
  }

  result(): Uint8Array {
    return joined(this.#parts);
  }
}
