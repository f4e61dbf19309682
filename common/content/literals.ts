/**
 * Compression of literal data: whether it pays, and both directions. Pure; knows nothing of messages.
 * The format is one Zstandard frame (RFC 8878).
 */
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { LockstepError } from '../ops/errors.ts';

/** A good ratio at 300 MB/s and more; level 6 saves another eighth of it at a third of the speed. */
export const DEFAULT_COMPRESSION_LEVEL = 3;

const PROBE_BYTES = 16 * 1024;
const PROBE_LEVEL = 1;
/** What is left must be less than this part of the whole. */
const WORTH_IT = 0.95;
/**
 * Logarithm of the window, 8 MiB: the largest that every decoder should support (RFC 8878, 3.1.1.1.2). A frame that asks for more
 * is refused, because its reader would have to allocate it before the first byte is out.
 */
const MAX_WINDOW_LOG = 23;
const MIN_WINDOW_LOG = 17;

/** Whether 16 KiB of the data, or all if it is shorter, become at least 5 % shorter. Takes 0.1 ms. */
export function compressionPays(data: Uint8Array): boolean {
  // From the middle: beginnings are often headers, which compress better than what follows.
  const start = Math.max(0, data.length - PROBE_BYTES) >>> 1;
  const probe = data.subarray(start, start + PROBE_BYTES);
  return compress(probe, PROBE_LEVEL).length < probe.length * WORTH_IT;
}

/**
 * One frame, or undefined where that saves less than 5 %: then send the data as they are.
 *
 * @param level 1 to 19
 */
export function compressLiterals(data: Uint8Array, level: number = DEFAULT_COMPRESSION_LEVEL): Buffer | undefined {
  if (data.length > PROBE_BYTES * 2 && !compressionPays(data)) return undefined;
  const frame = compress(data, level);
  return frame.length < data.length * WORTH_IT ? frame : undefined;
}

function compress(data: Uint8Array, level: number): Buffer {
  // The window reaches over everything: repetitions between the files of one batch are the rule in upgrades.
  const windowLog = Math.min(Math.max(32 - Math.clz32(data.length), MIN_WINDOW_LOG), MAX_WINDOW_LOG);
  return zstdCompressSync(data, {
    pledgedSrcSize: data.length,
    params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_windowLog]: windowLog },
  });
}

/**
 * What `frame` was made of. Never allocates more than `maxBytes` and a window of 8 MiB, whatever the frame claims (S22). Bytes
 * behind the frame are ignored.
 *
 * @throws LockstepError INVALID_ARGUMENT when it is no whole frame, or stands for more than `maxBytes`
 */
export function decompressLiterals(frame: Uint8Array, maxBytes: number): Buffer {
  let data: Buffer;
  try {
    data = zstdDecompressSync(frame, {
      maxOutputLength: Math.max(1, maxBytes),
      params: { [constants.ZSTD_d_windowLogMax]: MAX_WINDOW_LOG },
    });
  } catch (cause) {
    throw new LockstepError('INVALID_ARGUMENT', `literal data are not one zstd frame of at most ${maxBytes} bytes`, {
      cause,
    });
  }
  if (data.length > maxBytes) {
    throw new LockstepError('INVALID_ARGUMENT', `literal data of ${data.length} bytes exceed ${maxBytes}`);
  }
  return data;
}
