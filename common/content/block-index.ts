/**
 * Finds blocks of a signature by fingerprint. Open addressing in one array of numbers: 8 to 16 bytes a block. Pure.
 */
import { equalFingerprints, FINGERPRINT_WORDS } from './fingerprint.ts';
import type { Signature } from './signature.ts';

/**
 * So many places are looked at for a fingerprint, no more. By chance that is never reached; a signature made to collide
 * loses some of its blocks, instead of costing time that grows with the square of its length (S13).
 */
const MAX_PROBES = 32;
const EMPTY = -1;

export class BlockIndex {
  /** Fingerprints looked at so far: what all of it has cost. */
  comparisons = 0;
  readonly #fingerprints: Int32Array;
  readonly #slots: Int32Array;
  readonly #shift: number;

  /** Of equal blocks the first is kept: any of them is as good, and their number costs nothing (E71). */
  constructor({ fingerprints, blockCount }: Signature) {
    const bits = Math.max(4, 33 - Math.clz32(blockCount));
    this.#fingerprints = fingerprints;
    this.#shift = 32 - bits;
    this.#slots = new Int32Array(2 ** bits).fill(EMPTY);
    for (let block = 0; block < blockCount; block++) {
      const slot = this.#slotOf(fingerprints, block);
      if (slot >= 0 && this.#slots[slot] === EMPTY) this.#slots[slot] = block;
    }
  }

  /** The number of the first block with this fingerprint, -1 if there is none. */
  find(fingerprint: Int32Array): number {
    const slot = this.#slotOf(fingerprint, 0);
    return slot < 0 ? EMPTY : (this.#slots[slot] ?? EMPTY);
  }

  /** Where this fingerprint is or would be put; -1 when too many others are in the way. */
  #slotOf(words: Int32Array, index: number): number {
    const slots = this.#slots;
    const at = index * FINGERPRINT_WORDS;
    // Fingerprints are uniform already; the multiplication only keeps crafted ones from being consecutive for free.
    let slot = Math.imul((words[at] ?? 0) ^ (words[at + 1] ?? 0), 0x9e3779b1) >>> this.#shift;
    for (let probe = 0; probe < MAX_PROBES; probe++) {
      this.comparisons++;
      const block = slots[slot] ?? EMPTY;
      if (block === EMPTY || equalFingerprints(words, index, this.#fingerprints, block)) return slot;
      slot = (slot + 1) & (slots.length - 1);
    }
    return EMPTY;
  }
}
