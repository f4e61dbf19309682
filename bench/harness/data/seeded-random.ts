/**
 * Random numbers that are the same on every machine for the same seed. Pure.
 */
import { createCipheriv, createHash } from 'node:crypto';

/** sfc32, by Chris Doty-Humphrey (PractRand): small, fast, and good enough to make test data. */
export class SeededRandom {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: string) {
    const hash = createHash('sha256').update(seed).digest();
    this.#a = hash.readInt32LE(0);
    this.#b = hash.readInt32LE(4);
    this.#c = hash.readInt32LE(8);
    for (let round = 0; round < 12; round++) this.uint32();
  }

  /** 0 .. 2^32 - 1. */
  uint32(): number {
    const result = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + result;
    return result >>> 0;
  }

  /** 0 <= fraction < 1. */
  fraction(): number {
    return this.uint32() / 2 ** 32;
  }

  /** A whole number, 0 <= number < limit. */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  /** A whole number, min <= number <= max. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1);
  }
}

/**
 * An endless stream of bytes that no compressor shrinks and in which nothing occurs twice: AES-128 in counter mode,
 * at the processor's own speed.
 */
export class IncompressibleBytes {
  readonly #cipher;
  #zeros = Buffer.alloc(0);

  constructor(seed: string) {
    const hash = createHash('sha256').update(seed).digest();
    this.#cipher = createCipheriv('aes-128-ctr', hash.subarray(0, 16), hash.subarray(16, 32));
  }

  next(sizeBytes: number): Buffer {
    if (this.#zeros.length < sizeBytes) this.#zeros = Buffer.alloc(sizeBytes);
    return this.#cipher.update(this.#zeros.subarray(0, sizeBytes));
  }
}
