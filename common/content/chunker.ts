/**
 * Content-defined chunking: where a content is cut into blocks depends on the bytes around each cut only, so an
 * insertion moves the cuts next to it and no others. Pure; knows nothing of fingerprints or files.
 *
 * The algorithm is FastCDC (Xia et al., USENIX ATC 2016, https://www.usenix.org/conference/atc16/technical-sessions/presentation/xia)
 * with its normalisation level 1, on a 32-bit gear hash.
 */
import { GEAR } from './gear.ts';
import { compressionPays } from './literals.ts';

/** All three in bytes; 0 < minBytes <= averageBytes <= maxBytes. */
export interface ChunkingParameters {
  readonly minBytes: number;
  /** A power of two. It determines the two others. */
  readonly averageBytes: number;
  readonly maxBytes: number;
}

export const MIN_AVERAGE_BYTES = 256;
export const MAX_AVERAGE_BYTES = 2 ** 20;

/** Average length for what does not compress: there, small blocks cost as much to keep and save next to nothing. */
const DENSE_AVERAGE_BYTES = 4096;
/** From this size on, looking whether a content compresses is cheaper than keeping small blocks for nothing. */
const DENSE_CONTENT_BYTES = 64 * 1024;
/** A signature has about so many blocks at most, however large the content. */
const TARGET_BLOCKS = 2 ** 20;
/** An average this many times from what the size asks for is still good enough. */
const TOLERANCE = 4;

/** @throws RangeError when `averageBytes` is not a power of two in MIN_AVERAGE_BYTES..MAX_AVERAGE_BYTES; ask `isAverage` first. */
export function chunkingParameters(averageBytes: number): ChunkingParameters {
  if (!isAverage(averageBytes)) throw new RangeError(`${averageBytes} is no average block length`);
  return { minBytes: averageBytes / 4, averageBytes, maxBytes: averageBytes * 4 };
}

/** Whether blocks may have this average length. */
export function isAverage(averageBytes: number): boolean {
  return (
    averageBytes >= MIN_AVERAGE_BYTES && averageBytes <= MAX_AVERAGE_BYTES && Number.isInteger(Math.log2(averageBytes))
  );
}

/**
 * The block lengths for a content of this size: on average an eighth of the square root of the size, as a power of two from 256 B
 * on, coarser where there would be more than about a million blocks (docs/decisions/0010-delta-parameters.md has the measurements).
 *
 * @param sample Some of the content, if at hand: large contents that do not compress (media, archives) get blocks of 4 KiB or more.
 */
export function parametersFor(contentSizeBytes: number, sample?: Uint8Array): ChunkingParameters {
  const natural = naturalAverage(contentSizeBytes);
  const isDense = contentSizeBytes >= DENSE_CONTENT_BYTES && sample !== undefined && !compressionPays(sample);
  return chunkingParameters(isDense ? Math.max(natural, DENSE_AVERAGE_BYTES) : natural);
}

/**
 * False when a content has grown or shrunk so much since these parameters were chosen that its signature should be made anew: with
 * far too small blocks it is too long, with far too large ones a small edit costs too much.
 */
export function parametersSuit(parameters: ChunkingParameters, contentSizeBytes: number): boolean {
  const natural = naturalAverage(contentSizeBytes);
  const { averageBytes } = parameters;
  const coarsest = Math.max(natural, DENSE_AVERAGE_BYTES);
  return averageBytes > natural / TOLERANCE && averageBytes < coarsest * TOLERANCE;
}

function naturalAverage(contentSizeBytes: number): number {
  const wanted = Math.max(Math.sqrt(contentSizeBytes) / 8, contentSizeBytes / TARGET_BLOCKS);
  return Math.min(Math.max(2 ** Math.floor(Math.log2(wanted)), MIN_AVERAGE_BYTES), MAX_AVERAGE_BYTES);
}

/**
 * Length in bytes of the block that begins at `start`: from minBytes to maxBytes, shorter only at the content's end.
 *
 * The bytes from `start` to `end` must hold the longest block, or all that is left of the content; otherwise the
 * answer would depend on how the content was sliced. It is 0 for start === end.
 */
export function blockLength(data: Uint8Array, start: number, end: number, parameters: ChunkingParameters): number {
  const averageBits = 31 - Math.clz32(parameters.averageBytes);
  const stop = Math.min(end, start + parameters.maxBytes);
  let at = start + parameters.minBytes - 1;
  if (at >= stop) return stop - start;
  // Normalisation: before the average length a boundary is four times as rare as after it, so that lengths crowd around it.
  let mask = -1 << (31 - averageBits);
  let phaseEnd = Math.min(stop, start + parameters.averageBytes);
  let hash = 0;
  for (;;) {
    // Eight bytes a turn: 1.3 to 1.5 GB/s, twice the speed of the plain loop. Boundaries are rare, so computing up to
    // seven hashes too many costs less than branching between them.
    for (const unrolledEnd = phaseEnd - 7; at < unrolledEnd; at += 8) {
      const h1 = ((hash << 1) + (GEAR[data[at] ?? 0] ?? 0)) | 0;
      const h2 = ((h1 << 1) + (GEAR[data[at + 1] ?? 0] ?? 0)) | 0;
      const h3 = ((h2 << 1) + (GEAR[data[at + 2] ?? 0] ?? 0)) | 0;
      const h4 = ((h3 << 1) + (GEAR[data[at + 3] ?? 0] ?? 0)) | 0;
      const h5 = ((h4 << 1) + (GEAR[data[at + 4] ?? 0] ?? 0)) | 0;
      const h6 = ((h5 << 1) + (GEAR[data[at + 5] ?? 0] ?? 0)) | 0;
      const h7 = ((h6 << 1) + (GEAR[data[at + 6] ?? 0] ?? 0)) | 0;
      hash = ((h7 << 1) + (GEAR[data[at + 7] ?? 0] ?? 0)) | 0;
      if ((h1 & mask) === 0) return at + 1 - start;
      if ((h2 & mask) === 0) return at + 2 - start;
      if ((h3 & mask) === 0) return at + 3 - start;
      if ((h4 & mask) === 0) return at + 4 - start;
      if ((h5 & mask) === 0) return at + 5 - start;
      if ((h6 & mask) === 0) return at + 6 - start;
      if ((h7 & mask) === 0) return at + 7 - start;
      if ((hash & mask) === 0) return at + 8 - start;
    }
    for (; at < phaseEnd; at++) {
      hash = ((hash << 1) + (GEAR[data[at] ?? 0] ?? 0)) | 0;
      if ((hash & mask) === 0) return at + 1 - start;
    }
    if (phaseEnd === stop) return stop - start;
    phaseEnd = stop;
    mask = -1 << (33 - averageBits);
  }
}
