/**
 * One pass over one file: opened safely, checked against what was expected before and after, hashed while it is read,
 * cut into chunks. Runs inside the content worker; knows no threads and no wire.
 */
import { closeSync } from 'node:fs';
import { ContentHasher } from '../../../common/content/digest.ts';
import { readFully } from '../../../common/fs/full-io.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { type Stat, statOf } from '../../../common/fs/stat.ts';
import { errnoError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { displayPath, nameOf, parentOf } from '../../../common/tree/tree-path.ts';
import { CHUNK_BYTES, type ExpectedFile, type TransferOptions } from './content-messages.ts';
import { compressedLiteral } from './literal-compression.ts';

/** What was already sent is hashed again in steps of this length, so that other transfers get their turns. */
const REHASH_BYTES = 1024 * 1024;

/** Errors of a path that is no longer there, or no longer leads to a regular file: look at it again. */
const GONE_ERRNOS: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ESTALE']);

export interface TransferChunk {
  readonly offsetBytes: number;
  readonly data: Uint8Array<ArrayBuffer>;
  readonly contentBytes: number;
  readonly compressed: boolean;
  readonly digest: Uint8Array | undefined;
}

/** What a step did: read what needs no sending, made a chunk, or found that the file is another one now. */
export type TransferStep = 'rehashed' | TransferChunk | 'changed';

export class ContentTransfer {
  readonly #root: SafeRoot;
  readonly #file: ExpectedFile;
  readonly #options: TransferOptions;
  readonly #hasher: ContentHasher;
  readonly #fd: number;
  #positionBytes = 0;

  private constructor(root: SafeRoot, file: ExpectedFile, options: TransferOptions, fd: number) {
    this.#root = root;
    this.#file = file;
    this.#options = options;
    this.#fd = fd;
    this.#hasher = new ContentHasher(options.digestFunction);
  }

  /**
   * Undefined when the file is not what was expected.
   * @throws LockstepError PERMISSION_DENIED, IO when it cannot be read.
   */
  static open(root: SafeRoot, file: ExpectedFile, options: TransferOptions): ContentTransfer | undefined {
    const fd = opened(root, file);
    if (fd === undefined) return undefined;
    try {
      if (looksAsExpected(statOf(fd), file)) return new ContentTransfer(root, file, options, fd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    closeSync(fd);
    return undefined;
  }

  /** True while the next step only reads again what the server has. */
  get isRehashing(): boolean {
    return this.#positionBytes < this.#options.fromBytes;
  }

  /**
   * One step. `buffer` has CHUNK_BYTES and becomes the chunk's own, unless the chunk is a compressed copy.
   * @throws LockstepError IO and its relatives.
   */
  step(buffer: ArrayBuffer): TransferStep {
    try {
      return this.isRehashing ? this.#rehash() : this.#read(buffer);
    } catch (error) {
      if (errnoOf(error) === 'ESTALE') return 'changed';
      throw readError(this.#file, error);
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  #rehash(): TransferStep {
    const length = Math.min(REHASH_BYTES, this.#options.fromBytes - this.#positionBytes);
    scratch ??= Buffer.allocUnsafeSlow(REHASH_BYTES);
    if (readFully(this.#fd, scratch, 0, length, this.#positionBytes) < length) return 'changed';
    this.#hasher.update(scratch.subarray(0, length));
    this.#positionBytes += length;
    return 'rehashed';
  }

  #read(buffer: ArrayBuffer): TransferStep {
    const offsetBytes = this.#positionBytes;
    const length = Math.min(CHUNK_BYTES, this.#file.sizeBytes - offsetBytes);
    const raw = new Uint8Array(buffer, 0, length);
    if (readFully(this.#fd, raw, 0, length, offsetBytes) < length) return 'changed';
    this.#hasher.update(raw);
    this.#positionBytes += length;
    const isLast = this.#positionBytes === this.#file.sizeBytes;
    if (isLast && !this.#isUnchanged()) return 'changed';
    const frame = this.#options.zstd && length > 0 ? compressedLiteral(raw) : undefined;
    return {
      offsetBytes,
      data: frame ?? raw,
      contentBytes: length,
      compressed: frame !== undefined,
      // A copy: cloning a slice of Node's buffer pool would clone the pool.
      digest: isLast ? new Uint8Array(this.#hasher.digest()) : undefined,
    };
  }

  /** E37: neither the open file nor what its path leads to may have changed while it was read. */
  #isUnchanged(): boolean {
    if (!looksAsExpected(statOf(this.#fd), this.#file)) return false;
    const now = statAt(this.#root, this.#file);
    return now !== undefined && looksAsExpected(now, this.#file);
  }
}

/** Shared by all transfers: it is used within one step only. */
let scratch: Buffer | undefined;

function opened(root: SafeRoot, file: ExpectedFile): number | undefined {
  try {
    // Others move directories in a watched tree: cached handles may be somewhere else by now.
    root.forgetAll();
    return root.directory(parentOf(file.path)).openFile(nameOf(file.path));
  } catch (error) {
    if (isGone(error)) return undefined;
    throw readError(file, error);
  }
}

function statAt(root: SafeRoot, file: ExpectedFile): Stat | undefined {
  try {
    root.forgetAll();
    return root.directory(parentOf(file.path)).lstat(nameOf(file.path));
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function looksAsExpected(stat: Stat, file: ExpectedFile): boolean {
  return (
    stat.kind === 'file' &&
    stat.ino === file.ino &&
    stat.sizeBytes === file.sizeBytes &&
    stat.mtimeNs === file.mtimeNs &&
    stat.ctimeNs === file.ctimeNs
  );
}

function isGone(error: unknown): boolean {
  if (error instanceof LockstepError) return error.reason === 'NOT_REGULAR';
  return GONE_ERRNOS.has(errnoOf(error));
}

function readError(file: ExpectedFile, error: unknown): LockstepError {
  if (error instanceof LockstepError) return error;
  return errnoError(`read ${displayPath(file.path)}`, error, file.path);
}
