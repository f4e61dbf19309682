/**
 * What a kernel does with pages that are not on the disk yet, for files of a directory in this process: a file is on the disk
 * after a sync of its own or of the whole file system; a sync that fails leaves its pages clean, so that the next one
 * succeeds without them; a power cut takes the content of what is not on the disk. Names, times and modes are journaled
 * and stay. A file is taken as a whole: nothing that is seen here is written in place.
 *
 * For file systems in memory, which give no inode number twice.
 */
import fs, { fstatSync, lstatSync, readdirSync, truncateSync, utimesSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { LockstepError } from '../../common/ops/errors.ts';

export class DirtyPages {
  /** Syncs of the file system that are going to fail. */
  failures = 0;
  readonly #directory: string;
  readonly #onDisk = new Set<bigint>();
  /** Clean as far as the kernel knows. */
  readonly #dropped = new Set<bigint>();
  readonly #real = { fsyncSync: fs.fsyncSync, fdatasyncSync: fs.fdatasyncSync };

  /** `close` must be called: all syncs of this process are seen. */
  constructor(directory: string) {
    this.#directory = directory;
    const { fsyncSync, fdatasyncSync } = this.#real;
    fs.fsyncSync = (fd) => {
      fsyncSync(fd);
      this.#keep(fstatSync(fd, { bigint: true }).ino);
    };
    fs.fdatasyncSync = (fd) => {
      fdatasyncSync(fd);
      this.#keep(fstatSync(fd, { bigint: true }).ino);
    };
    syncBuiltinESMExports();
  }

  close(): void {
    Object.assign(fs, this.#real);
    syncBuiltinESMExports();
  }

  readonly syncFileSystem = async (): Promise<void> => {
    if (this.failures === 0) {
      for (const { ino } of this.#files()) this.#keep(ino);
      return;
    }
    this.failures--;
    this.drop();
    throw new LockstepError('IO', "syncing the replica's file system failed (simulated)");
  };

  /** The disk refused everything that is not on it. */
  drop(): void {
    for (const { ino } of this.#files()) if (!this.#onDisk.has(ino)) this.#dropped.add(ino);
  }

  /** Call while nothing is open. */
  cutPower(): void {
    for (const { path, ino } of this.#files()) {
      if (this.#onDisk.has(ino)) continue;
      const { atime, mtime } = lstatSync(path);
      truncateSync(path, 0);
      utimesSync(path, atime, mtime);
      this.#dropped.delete(ino);
      this.#onDisk.add(ino);
    }
  }

  /** Somebody else sees to it, in whatever way. */
  putOnDisk(path: string): void {
    const { ino } = lstatSync(path, { bigint: true });
    this.#dropped.delete(ino);
    this.#onDisk.add(ino);
  }

  #keep(ino: bigint): void {
    if (!this.#dropped.has(ino)) this.#onDisk.add(ino);
  }

  /** The replica's own state is left out: log and index have rules of their own. */
  *#files(directory = this.#directory): Generator<{ readonly path: string; readonly ino: bigint }, void, void> {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      const isOwn = directory === this.#directory && entry.name === '.lockstep';
      if (entry.isDirectory()) yield* this.#files(isOwn ? join(path, 'staging') : path);
      else if (entry.isFile()) yield { path, ino: lstatSync(path, { bigint: true }).ino };
    }
  }
}
