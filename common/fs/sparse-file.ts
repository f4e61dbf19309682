/**
 * Contents written so that zeros take no room: they are left out, and read as zeros because nothing was ever there (E20). Node
 * can neither ask where a file's holes are nor make one, so that zeros are found by looking at them. Knows no paths.
 */
import { constants, fstatSync, ftruncateSync } from 'node:fs';
import { zeroRuns } from '../content/zero-runs.ts';
import { errnoOf } from '../ops/errors.ts';
import { readFully, writeFully } from './full-io.ts';
import { copyByKernel } from './kernel-copy.ts';

const CHUNK_BYTES = 1024 * 1024;
/** The unit of `st_blocks`, whatever the file system's own is (POSIX, sys/stat.h). */
const STAT_BLOCK_BYTES = 512;

/**
 * Writes the data at `position`, where and beyond which the file must never have had any. True when they end with zeros that were
 * left out: unless more data follow, the file's length is to be set by `ftruncate`.
 */
export function writeSparsely(fd: number, data: Uint8Array, position: number): boolean {
  let from = 0;
  for (const { start, end } of zeroRuns(data, position)) {
    if (from < start) writeFully(fd, data, from, start - from, position + from);
    from = end;
  }
  if (from === data.length) return from > 0;
  writeFully(fd, data, from, data.length - from, position + from);
  return false;
}

/** What the file takes on the disk. On some file systems less than its data: compressed, or not written out yet. */
export function allocatedBytes(fd: number): number {
  return fstatSync(fd).blocks * STAT_BLOCK_BYTES;
}

/** Whether the file seems to have holes. */
export function isSparse(fd: number): boolean {
  const { blocks, size } = fstatSync(fd);
  return blocks * STAT_BLOCK_BYTES < size;
}

/** Copies all of `source` into `target`, which is empty: as a reflink where the file system can, else without the zeros. */
export function copySparsely(source: number, target: number): void {
  if (isCloned(source, target)) return;
  const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  let position = 0;
  for (let count = CHUNK_BYTES; count === CHUNK_BYTES; position += count) {
    count = readFully(source, chunk, 0, CHUNK_BYTES, position);
    writeSparsely(target, chunk.subarray(0, count), position);
  }
  ftruncateSync(target, position);
}

/**
 * Makes `target`, which is empty, a reflink of all of `source`: it has the same data at once, and takes no room of its own until either
 * is written. False where the file system cannot, and between two of them.
 */
export function isCloned(source: number, target: number): boolean {
  try {
    copyByKernel(source, target, constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch (error) {
    // Mostly a file system without reflinks. Whatever else it is, copying meets it again.
    if (errnoOf(error) === undefined) throw error;
    return false;
  }
}
