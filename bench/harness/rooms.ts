/**
 * Temporary directories of one benchmark, all below one that is removed at the end, whatever the end is.
 */
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Skipped } from './bench.ts';

const MEMORY_FILE_SYSTEM = '/dev/shm';
/** statfs(2): the kinds of file system that live in memory. */
const MEMORY_FILE_SYSTEM_TYPES: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);
/** A small file takes a page, and an inode with its directory entry. */
const BYTES_PER_FILE = 5_200;
const SHARE_TO_LEAVE = 0.1;
/** More than any timed run takes anew. */
const WARM_BYTES = 2 * 1024 ** 3;
const CHUNK = Buffer.alloc(1024 * 1024, 1);

export class Rooms {
  readonly #base: string;
  #next = 1;

  /** Makes the common directory below `parent`. */
  constructor(parent: string) {
    this.#base = mkdtempSync(join(parent, 'lockstep-bench-'));
  }

  get isInMemory(): boolean {
    return isMemoryFileSystem(this.#base);
  }

  /** A new empty directory. */
  make(name: string): string {
    const path = join(this.#base, `${String(this.#next++)}-${name}`);
    mkdirSync(path);
    return path;
  }

  /** Gives the space back early. */
  async remove(path: string): Promise<void> {
    await rm(path, { recursive: true, force: true });
  }

  /**
   * Takes memory and gives it back, before each timed run. The host of a virtual machine may take away what is free there, and the first
   * touch of such a page costs ten times what writing one does (2.5 s a GiB for 0.3): a contender would pay for how long
   * ago the one before it ended. Nothing happens on a disk, and where memory is short.
   */
  warmMemory(): void {
    const space = statfsSync(this.#base);
    if (!this.isInMemory || space.bavail * space.bsize < 3 * WARM_BYTES) return;
    const path = join(this.#base, 'warm');
    const descriptor = openSync(path, 'w');
    try {
      for (let written = 0; written < WARM_BYTES; written += CHUNK.length) writeSync(descriptor, CHUNK);
    } finally {
      closeSync(descriptor);
      rmSync(path);
    }
  }

  /** Throws Skipped when so much does not fit, with a tenth left free. */
  requireSpace(sizeBytes: number, files: number): void {
    const space = statfsSync(this.#base);
    const neededBytes = sizeBytes + files * BYTES_PER_FILE;
    const share = 1 - SHARE_TO_LEAVE;
    if (neededBytes > space.bavail * space.bsize * share) {
      throw new Skipped(`needs ${(neededBytes / 1e9).toFixed(1)} GB for its data; set DIR to a place that has them`);
    }
    if (space.files > 0 && files > space.ffree * share) {
      throw new Skipped(`needs ${files} inodes for its data; set DIR to a place that has them`);
    }
  }

  /** Synchronous, so that it also works while this process exits. */
  removeAll(): void {
    rmSync(this.#base, { recursive: true, force: true, maxRetries: 3 });
  }
}

export function isMemoryFileSystem(directory: string): boolean {
  return MEMORY_FILE_SYSTEM_TYPES.has(statfsSync(directory).type);
}

/** Where data goes unless told otherwise: memory, so that the disk is no part of the comparison. */
export function defaultDataDirectory(): string {
  return existsSync(MEMORY_FILE_SYSTEM) && isMemoryFileSystem(MEMORY_FILE_SYSTEM) ? MEMORY_FILE_SYSTEM : tmpdir();
}
