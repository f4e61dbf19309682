/**
 * Digests of blocks, which are short and many. Pure; the same digests as digest.ts gives.
 */
import { createBLAKE3 } from 'hash-wasm';
import { type DigestFunction, digestOf } from './digest.ts';

/**
 * Up to this length WebAssembly is faster. It hashes at a tenth of the native speed, but a native call takes 2 us to begin with, and
 * leaves memory behind that the garbage collector has to give back piece by piece.
 */
const SHORT_BYTES = 1024;

const short = await createBLAKE3();

/** The 32 bytes that `digestOf` gives, though not as a Buffer: making one takes as long as hashing a short block. */
export function digestOfBlock(digestFunction: DigestFunction, block: Uint8Array): Uint8Array {
  return digestFunction === 'blake3' && block.length <= SHORT_BYTES
    ? short.init().update(block).digest('binary')
    : digestOf(digestFunction, block);
}
