/**
 * Bytes that look like source text to a compressor: words of a vocabulary, the frequent ones often, in lines. Pure.
 */
import { SeededRandom } from './seeded-random.ts';

const VOCABULARY_WORDS = 4_096;
const SPACE = 0x20;
const NEWLINE = 0x0a;
const MEAN_WORDS_PER_LINE = 9;

export class TextSource {
  readonly #random: SeededRandom;
  /** All words one after the other; word i is at #ends[i - 1] .. #ends[i]. */
  readonly #words: Buffer;
  readonly #ends: Uint32Array;

  constructor(seed: string) {
    this.#random = new SeededRandom(seed);
    // The same vocabulary for every seed: the trees of one project share their words.
    const random = new SeededRandom('vocabulary');
    const ends: number[] = [];
    let letters = '';
    for (let word = 0; word < VOCABULARY_WORDS; word++) {
      const length = 2 + random.below(4) + random.below(6);
      for (let i = 0; i < length; i++) letters += String.fromCharCode(0x61 + random.below(26));
      ends.push(letters.length);
    }
    this.#words = Buffer.from(letters, 'latin1');
    this.#ends = Uint32Array.from(ends);
  }

  /** Fills `target` wholly. */
  fill(target: Uint8Array): void {
    let at = 0;
    while (at < target.length) {
      // The cube favours the first words about as much as languages do.
      const word = Math.floor(VOCABULARY_WORDS * this.#random.fraction() ** 3);
      let from = word === 0 ? 0 : (this.#ends[word - 1] ?? 0);
      const end = this.#ends[word] ?? 0;
      while (from < end && at < target.length) target[at++] = this.#words[from++] ?? 0;
      if (at < target.length) target[at++] = this.#random.below(MEAN_WORDS_PER_LINE) === 0 ? NEWLINE : SPACE;
    }
  }
}
