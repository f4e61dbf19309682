/**
 * Strong digests of contents: what names a content, and what proves that it arrived whole.
 * Pure computation; knows neither files nor the wire. Loads the BLAKE3 implementation once, when first imported.
 */
import { createHash, type Hash, hash } from 'node:crypto';
import { type Blake3, loadBlake3 } from './blake3.ts';

declare const digestBrand: unique symbol;

/** 32 bytes. BLAKE3-256 or SHA-256, whichever the folder uses; never mixed inside a folder. */
export type Digest = Buffer & { readonly [digestBrand]: true };

export const DIGEST_FUNCTIONS = ['blake3', 'sha256'] as const;

/** `blake3` is BLAKE3 with 32 bytes of output, as `b3sum` prints it. */
export type DigestFunction = (typeof DIGEST_FUNCTIONS)[number];

export const DIGEST_BYTES = 32;

const blake3: Blake3 = await loadBlake3();

/** Which BLAKE3 is in use: the addon, or the WebAssembly one (about a sixth of the speed) where it cannot be loaded. */
export const blake3Implementation: 'native' | 'wasm' = blake3.implementation;

/** The digest of a content that is in memory as a whole. `data` may be any view; it is not kept. */
export function digestOf(digestFunction: DigestFunction, data: Uint8Array): Digest {
  switch (digestFunction) {
    case 'blake3':
      return blake3.digestOf(data) as Digest;
    case 'sha256':
      return hash('sha256', data, 'buffer') as Digest;
  }
}

/** The digest of a content that comes in pieces. Any number of them may be under way at once. */
export class ContentHasher {
  readonly #state: { update(data: Uint8Array): unknown; digest(): Buffer };

  constructor(digestFunction: DigestFunction) {
    switch (digestFunction) {
      case 'blake3':
        this.#state = blake3.createHasher();
        break;
      case 'sha256':
        this.#state = createHash('sha256') satisfies Hash;
        break;
    }
  }

  /** Takes the next piece, any view of any length. It is consumed during the call and not kept. */
  update(data: Uint8Array): this {
    this.#state.update(data);
    return this;
  }

  /** The digest of all pieces. Ends the hasher: any further call throws. */
  digest(): Digest {
    return this.#state.digest() as Digest;
  }
}

/**
 * The digest with these bytes, undefined unless there are exactly 32. It is a copy: a received digest is usually a
 * view of a whole message, which would stay in memory for as long as the digest does.
 */
export function digestFromBytes(bytes: Uint8Array): Digest | undefined {
  return bytes.length === DIGEST_BYTES ? (Buffer.from(bytes) as Digest) : undefined;
}

/** 64 lower-case hexadecimal digits, as `b3sum` and `sha256sum` print them. */
export function digestHex(digest: Digest): string {
  return digest.toString('hex');
}
