/**
 * One pass over one file: opened safely, checked against what was expected before and after, hashed while it is read,
 * cut into chunks. Runs inside the content worker; knows no threads and no wire.
 */
import { closeSync } from 'node:fs';
import { ContentHasher } from '../../../common/content/digest.ts';
import { compressLiterals } from '../../../common/content/literals.ts';
import { readFully } from '../../../common/fs/full-io.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { errnoOf } from '../../../common/ops/errors.ts';
import { UPLOAD_HEAD_ROOM_BYTES } from '../../../common/rpc/head-room.ts';
import {
  CHUNK_BYTES,
  CHUNK_COMPRESSION_LEVEL,
  type DeltaStep,
  type ExpectedFile,
  type TransferOptions,
} from './content-messages.ts';
import { isStillExpected, openExpected, readError } from './expected-file.ts';

/** What was already sent is hashed again in steps of this length, so that other transfers get their turns. */
const REHASH_BYTES = 1024 * 1024;

export interface TransferChunk {
  readonly offsetBytes: number;
  readonly data: Uint8Array<ArrayBuffer>;
  readonly contentBytes: number;
  /** When `data` is a frame: the length of what it stands for. */
  readonly literalBytes: number | undefined;
  readonly steps: readonly DeltaStep[];
  readonly digest: Uint8Array | undefined;
  /** In the last chunk of a delta: the packed signature of the content. */
  readonly signature: Uint8Array | undefined;
}

/** What a step did: read what needs no sending, made a chunk, or found that the file is another one now. */
export type TransferStep = 'rehashed' | TransferChunk | 'changed';

/** One pass over one file, in steps that leave room for others. */
export interface Transfer {
  /** True while the next step makes no chunk. */
  readonly isRehashing: boolean;
  /**
   * One step. `buffer` has CHUNK_BUFFER_BYTES and becomes the chunk's own, unless the chunk says otherwise.
   * @throws LockstepError IO and its relatives.
   */
  step(buffer: ArrayBuffer): TransferStep;
  close(): void;
}

export class ContentTransfer implements Transfer {
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
    const fd = openExpected(root, file);
    return fd === undefined ? undefined : new ContentTransfer(root, file, options, fd);
  }

  /** True while the next step only reads again what the server has. */
  get isRehashing(): boolean {
    return this.#positionBytes < this.#options.fromBytes;
  }

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
    const raw = new Uint8Array(buffer, UPLOAD_HEAD_ROOM_BYTES, length);
    if (readFully(this.#fd, raw, 0, length, offsetBytes) < length) return 'changed';
    this.#hasher.update(raw);
    this.#positionBytes += length;
    const isLast = this.#positionBytes === this.#file.sizeBytes;
    if (isLast && !isStillExpected(this.#root, this.#fd, this.#file)) return 'changed';
    const frame = this.#options.zstd && length > 0 ? compressLiterals(raw, CHUNK_COMPRESSION_LEVEL) : undefined;
    return {
      offsetBytes,
      data: frame === undefined ? raw : new Uint8Array(frame),
      contentBytes: length,
      literalBytes: frame === undefined ? undefined : length,
      steps: [],
      signature: undefined,
      // A copy: cloning a slice of Node's buffer pool would clone the pool.
      digest: isLast ? new Uint8Array(this.#hasher.digest()) : undefined,
    };
  }
}

/** Shared by all transfers: it is used within one step only. */
let scratch: Buffer | undefined;
