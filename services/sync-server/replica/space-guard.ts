/**
 * Keeps a reserve of free space and inodes (E87, E88): below it nothing new is taken in, while deletes, moves and
 * metadata still run, and the log can still record them.
 */
import { type FreeSpace, freeSpace } from '../../../common/fs/free-space.ts';

const MAX_RESERVE_BYTES = 64 * 2 ** 20;
const RESERVE_SHARE = 0.05;
const RESERVE_INODES = 1_000;
/** Others use the file system too: what was read is believed for so long, and for so many bytes. */
const MAX_AGE_MS = 250;
const MAX_UNCHECKED_SHARE = 0.25;

export class SpaceGuard {
  readonly #path: string;
  readonly #read: (path: string) => FreeSpace;
  #readAtMs = Number.NEGATIVE_INFINITY;
  #allowanceBytes = 0;
  #allowanceInodes = 0;

  /** `path`: any directory on the file system. `read` can be replaced by tests. */
  constructor(path: string, read: (path: string) => FreeSpace = freeSpace) {
    this.#path = path;
    this.#read = read;
  }

  /** Whether an entry with a content of this length may be created now. Counts it as created. */
  allows(sizeBytes: number): boolean {
    const needed = sizeBytes + 4096;
    const isOld = performance.now() - this.#readAtMs > MAX_AGE_MS;
    if (isOld || needed > this.#allowanceBytes || this.#allowanceInodes < 1) this.#measure(needed);
    if (needed > this.#allowanceBytes || this.#allowanceInodes < 1) return false;
    this.#allowanceBytes -= needed;
    this.#allowanceInodes--;
    return true;
  }

  #measure(needed: number): void {
    const { freeBytes, totalBytes, freeInodes } = this.#read(this.#path);
    // A tmpfs without a limit says that it has no bytes at all.
    const isUnlimited = totalBytes === 0;
    const reserve = Math.min(MAX_RESERVE_BYTES, totalBytes * RESERVE_SHARE);
    const aboveReserve = isUnlimited ? Number.MAX_SAFE_INTEGER : freeBytes - reserve;
    this.#allowanceBytes = Math.max(needed <= aboveReserve ? needed : 0, aboveReserve * MAX_UNCHECKED_SHARE);
    this.#allowanceInodes =
      freeInodes === undefined ? 1_000_000 : freeInodes - Math.min(RESERVE_INODES, freeInodes / 10);
    this.#readAtMs = performance.now();
  }
}
