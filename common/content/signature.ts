/**
 * A signature: a content cut into content-defined blocks, with a fingerprint of each. It stands for the content where that
 * is not at hand: what to copy from it is found by fingerprint. Pure; stored forms are in signature-codec.ts.
 */
import type { BlockGroups } from './block-groups.ts';
import type { ChunkingParameters } from './chunker.ts';
import type { Digest } from './digest.ts';

/** Takes about 25 bytes of memory a block. Never changed once it is made. */
export interface Signature {
  readonly parameters: ChunkingParameters;
  /** Of the whole content. A delta names its basis by it, so a signature can never be taken for another content's. */
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly blockCount: number;
  /** Where each block begins, and at last where the content ends: blockCount + 1 numbers of bytes. */
  readonly offsets: Float64Array;
  /** Four numbers a block (fingerprint.ts). */
  readonly fingerprints: Int32Array;
  /** Undefined where blocks are long or few, and in signatures from the wire. */
  readonly groups: BlockGroups | undefined;
}

/** More blocks than any content has that was cut with parameters that suit it. */
export const MAX_BLOCKS = 2 ** 22;

/** Length in bytes of the block with this number. */
export function lengthOfBlock(signature: Signature, block: number): number {
  return (signature.offsets[block + 1] ?? 0) - (signature.offsets[block] ?? 0);
}
