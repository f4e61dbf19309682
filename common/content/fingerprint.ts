/**
 * Fingerprints of blocks: the first 16 bytes of the block's digest, by the folder's digest function. Kept as four 32-bit
 * numbers each, in one array for all blocks of a content. Pure.
 */
export const FINGERPRINT_BYTES = 16;
/** The bytes in little-endian order, whatever the machine's. */
export const FINGERPRINT_WORDS = 4;

const FIRST_CAPACITY = 16;

/** A growing list of fingerprints. */
export class FingerprintList {
  #words = new Int32Array(FIRST_CAPACITY * FINGERPRINT_WORDS);
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** The word that block groups are made by, of the fingerprint added last. */
  get lastWord(): number {
    return this.#words[this.#count * FINGERPRINT_WORDS - 1] ?? 0;
  }

  add(digest: Uint8Array): void {
    this.#reserve(1);
    setFingerprint(this.#words, this.#count, digest);
    this.#count++;
  }

  /** Adds the fingerprints number `from` to `to` of another list's words. */
  addRange(words: Int32Array, from: number, to: number): void {
    this.#reserve(to - from);
    this.#words.set(words.subarray(from * FINGERPRINT_WORDS, to * FINGERPRINT_WORDS), this.#count * FINGERPRINT_WORDS);
    this.#count += to - from;
  }

  /** Adds what `fingerprintBytes` wrote; a multiple of 16 bytes. */
  addBytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length / FINGERPRINT_BYTES);
    let at = this.#count * FINGERPRINT_WORDS;
    for (let offset = 0; offset < bytes.length; offset += 4) this.#words[at++] = wordAt(bytes, offset);
    this.#count += bytes.length / FINGERPRINT_BYTES;
  }

  removeLast(): void {
    this.#count--;
  }

  /** Exactly as long as needed, in memory of its own. */
  toWords(): Int32Array {
    return this.#words.slice(0, this.#count * FINGERPRINT_WORDS);
  }

  #reserve(count: number): void {
    const needed = (this.#count + count) * FINGERPRINT_WORDS;
    if (needed <= this.#words.length) return;
    const larger = new Int32Array(Math.max(needed, 2 * this.#words.length));
    larger.set(this.#words);
    this.#words = larger;
  }
}

/** Writes the fingerprint of what has this digest as number `index` into `words`. */
export function setFingerprint(words: Int32Array, index: number, digest: Uint8Array): void {
  const at = index * FINGERPRINT_WORDS;
  for (let word = 0; word < FINGERPRINT_WORDS; word++) words[at + word] = wordAt(digest, word * 4);
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) | ((bytes[at + 3] ?? 0) << 24);
}

/** Whether number `indexA` of `a` is number `indexB` of `b`. */
export function equalFingerprints(a: Int32Array, indexA: number, b: Int32Array, indexB: number): boolean {
  const atA = indexA * FINGERPRINT_WORDS;
  const atB = indexB * FINGERPRINT_WORDS;
  return a[atA] === b[atB] && a[atA + 1] === b[atB + 1] && a[atA + 2] === b[atB + 2] && a[atA + 3] === b[atB + 3];
}

/** The fingerprints number `from` to `to` as bytes, one after the other. */
export function fingerprintBytes(words: Int32Array, from: number, to: number): Buffer {
  const bytes = Buffer.allocUnsafe((to - from) * FINGERPRINT_BYTES);
  let at = from * FINGERPRINT_WORDS;
  for (let offset = 0; offset < bytes.length; offset += 4) bytes.writeInt32LE(words[at++] ?? 0, offset);
  return bytes;
}
