/**
 * Makes signatures of what was synced, when there is nothing else to do, so that the first edit of a file can be told as a
 * delta. Never delays a change: it works in steps of a few milliseconds.
 */
import { closeSync } from 'node:fs';
import { parametersFor } from '../../../common/content/chunker.ts';
import type { DigestFunction } from '../../../common/content/digest.ts';
import { SignatureBuilder } from '../../../common/content/signature-builder.ts';
import { readFully } from '../../../common/fs/full-io.ts';
import { statOf } from '../../../common/fs/stat.ts';
import { errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import type { FileRecord, IndexedEntry } from '../../../common/tree/entry.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import { nameOf, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import type { SignatureStore } from '../index/signature-store.ts';
import { isUnchanged, type Scanner } from '../observe/scanner.ts';
import { MIN_SIGNED_BYTES } from './delta-maker.ts';

/** Files that wait. What does not fit is sent whole at its first edit, and signed then. */
const MAX_WAITING = 100_000;
const STEP_BYTES = 2 * 2 ** 20;

interface OpenFile {
  readonly entry: IndexedEntry & FileRecord;
  readonly fd: number;
  readonly builder: SignatureBuilder;
  position: number;
}

export class Signing {
  readonly #store: SignatureStore;
  readonly #digestFunction: DigestFunction;
  readonly #minFileBytes: number;
  readonly #waiting = new Set<TreePath>();
  readonly #buffer = Buffer.allocUnsafe(STEP_BYTES);
  #open: OpenFile | undefined;

  /** Files of less than `minFileBytes` are left out. */
  constructor(store: SignatureStore, digestFunction: DigestFunction, minFileBytes = MIN_SIGNED_BYTES) {
    this.#store = store;
    this.#digestFunction = digestFunction;
    this.#minFileBytes = minFileBytes;
  }

  get hasWork(): boolean {
    return this.#open !== undefined || this.#waiting.size > 0;
  }

  /** A file was synced. */
  add(path: TreePath, record: FileRecord): void {
    if (record.sizeBytes >= this.#minFileBytes && this.#waiting.size < MAX_WAITING) this.#waiting.add(path);
  }

  /** Reads at most STEP_BYTES. Files above `maxFileBytes` are left out. */
  step(scanner: Scanner, index: TreeIndex, maxFileBytes: number): void {
    this.#store.together(() => {
      let budget = STEP_BYTES;
      while (budget > 0 && this.hasWork) {
        this.#open ??= this.#next(scanner, index, maxFileBytes);
        if (this.#open === undefined) return;
        budget -= this.#read(this.#open, budget);
      }
    });
  }

  close(): void {
    if (this.#open !== undefined) closeSync(this.#open.fd);
    this.#open = undefined;
    this.#waiting.clear();
  }

  #next(scanner: Scanner, index: TreeIndex, maxFileBytes: number): OpenFile | undefined {
    for (const path of this.#waiting) {
      this.#waiting.delete(path);
      const entry = index.get(path);
      if (entry?.kind !== 'file' || entry.sizeBytes > maxFileBytes || this.#store.has(entry.digest)) continue;
      const fd = this.#openFile(entry, scanner);
      if (fd === undefined) continue;
      const builder = new SignatureBuilder(this.#digestFunction, parametersFor(entry.sizeBytes));
      return { entry, fd, builder, position: 0 };
    }
    return undefined;
  }

  /** Only while the disk still has what was synced. */
  #openFile({ path, identity }: IndexedEntry, scanner: Scanner): number | undefined {
    let fd: number | undefined;
    try {
      fd = scanner.directory(parentOf(path))?.openFile(nameOf(path));
    } catch (error) {
      // Gone, replaced or not to be read: whoever syncs it next reports that.
      if (errnoOf(error) === undefined && !(error instanceof LockstepError)) throw error;
    }
    if (fd === undefined) return undefined;
    if (identity !== undefined && isUnchanged(identity, statOf(fd))) return fd;
    closeSync(fd);
    return undefined;
  }

  /** Returns the bytes read, at least 1 to get on. */
  #read(file: OpenFile, budget: number): number {
    const length = readFully(file.fd, this.#buffer, 0, Math.min(budget, STEP_BYTES), file.position);
    file.builder.push(this.#buffer.subarray(0, length));
    file.position += length;
    if (length > 0 && file.position < file.entry.sizeBytes) return length;
    this.#open = undefined;
    closeSync(file.fd);
    const { digest, signature } = file.builder.finish();
    // A file that was written meanwhile has another digest: its signature would be of nothing that the server has.
    if (signature !== undefined && digest.equals(file.entry.digest)) this.#store.put(signature);
    return Math.max(1, length);
  }
}
