/**
 * Finds the zeros of a content that can be holes in a file, or lengths on the wire (E20). Pure.
 */

/** The block of nearly every file system: a shorter hole would save nothing. */
export const HOLE_BYTES = 4096;
const ZEROS = Buffer.alloc(HOLE_BYTES);

/** From `start` up to, and without, `end`. */
export interface ZeroRun {
  readonly start: number;
  readonly end: number;
}

const NONE: readonly ZeroRun[] = [];

/** Those of `zeroRuns` that are at least a block long: to tell less as a number saves nothing. */
export function longZeroRuns(data: Uint8Array, position: number): readonly ZeroRun[] {
  const runs = zeroRuns(data, position);
  return runs.length === 0 ? runs : runs.filter(({ start, end }) => end - start >= HOLE_BYTES);
}

/**
 * The blocks of `data`, which stands at `position` of its file, that are nothing but zeros; neighbours in one run. Blocks begin at
 * multiples of HOLE_BYTES in the file, so that the first and the last one of the data may be shorter.
 *
 * Of a block with anything else in it hardly more than its first byte is looked at: 4 ms for a GiB of random data.
 */
export function zeroRuns(data: Uint8Array, position: number): readonly ZeroRun[] {
  let runs: { readonly start: number; end: number }[] | undefined;
  for (let start = 0; start < data.length; ) {
    const end = Math.min(data.length, start + HOLE_BYTES - ((position + start) % HOLE_BYTES));
    if (data[start] === 0 && data[end - 1] === 0 && ZEROS.compare(data, start, end, 0, end - start) === 0) {
      const last = runs?.at(-1);
      if (last?.end === start) last.end = end;
      else (runs ??= []).push({ start, end });
    }
    start = end;
  }
  return runs ?? NONE;
}
