/**
 * Whether a chunk is worth compressing, and its compressed form. Pure.
 */
import { constants, zstdCompressSync } from 'node:zlib';

/** A probe of this length tells whether the rest is worth the time (platform-facts 6). */
const PROBE_BYTES = 16 * 1024;
const WORTH_IT = 0.95;
/** Level 1 is the fastest; the link, not the ratio, is what uploads wait for. */
const OPTIONS = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };

/** One zstd frame of the data in a buffer of its own, or undefined when that saves less than 5 %. */
export function compressedLiteral(data: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  if (data.length > PROBE_BYTES) {
    // The middle: beginnings are often headers, which compress better than what follows.
    const start = (data.length - PROBE_BYTES) >>> 1;
    const probe = zstdCompressSync(data.subarray(start, start + PROBE_BYTES), OPTIONS);
    if (probe.length > PROBE_BYTES * WORTH_IT) return undefined;
  }
  const frame = zstdCompressSync(data, OPTIONS);
  return frame.length > data.length * WORTH_IT ? undefined : new Uint8Array(frame);
}
