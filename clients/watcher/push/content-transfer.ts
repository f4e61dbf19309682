/**
 * One pass over one file: opened safely, checked against what was expected before and after, hashed while it is read,
 * cut into chunks. Runs inside the content worker; knows no threads and no wire.
 */
import { closeSync } from 'node:fs';
import { ContentHasher } from '../../../common/content/digest.ts';
import { compressLiterals } from '../../../common/content/literals.ts';
import { longZeroRuns } from '../../../common/content/zero-runs.ts';
import { readFully } from '../../../common/fs/full-io.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { errnoOf } from '../../../common/ops/errors.ts';
import { UPLOAD_HEAD_ROOM_BYTES } from '../../../common/rpc/head-room.ts';
import {
  CHUNK_BYTES,
  CHUNK_COMPRESSION_LEVEL,
  type ContentStep,
  type ExpectedFile,
  type TransferOptions,
} from './content-messages.ts';
import { isStillExpected, openExpected, readError } from './expected-file.ts';
import { StepList } from './step-list.ts';

/** What was already sent is hashed again in steps of this length, so that other transfers get their turns. */
const REHASH_BYTES = 1024 * 1024;
/** Zeros of one chunk: the server hashes them meanwhile, and answers after them. */
const MAX_TOLD_ZERO_BYTES = 64 * 1024 * 1024;

export interface TransferChunk {
  readonly offsetBytes: number;
  readonly data: Uint8Array<ArrayBuffer>;
  readonly contentBytes: number;
  /** When `data` is a frame: the length of what it stands for. */
  readonly literalBytes: number | undefined;
  readonly steps: readonly ContentStep[];
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
  readonly #maxZeroBytes: number;
  #positionBytes = 0;
  /** Zeros before the position that no chunk has told yet. */
  #untoldZeroBytes = 0;

  private constructor(root: SafeRoot, file: ExpectedFile, options: TransferOptions, fd: number) {
    this.#root = root;
    this.#file = file;
    this.#options = options;
    this.#fd = fd;
    this.#hasher = new ContentHasher(options.digestFunction);
    this.#maxZeroBytes = Math.min(options.maxZeroBytes, MAX_TOLD_ZERO_BYTES);
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
    const position = this.#positionBytes;
    const length = Math.min(CHUNK_BYTES, this.#file.sizeBytes - position);
    const raw = new Uint8Array(buffer, UPLOAD_HEAD_ROOM_BYTES, length);
    if (readFully(this.#fd, raw, 0, length, position) < length) return 'changed';
    this.#hasher.update(raw);
    this.#positionBytes += length;
    const isLast = this.#positionBytes === this.#file.sizeBytes;
    if (isLast && !isStillExpected(this.#root, this.#fd, this.#file)) return 'changed';
    const list = new StepList();
    if (this.#untoldZeroBytes > 0) list.zeros(this.#untoldZeroBytes);
    const kept = this.#maxZeroBytes > 0 ? withoutZeros(raw, position, list) : raw;
    if (kept.length === 0 && !isLast && list.contentBytes + CHUNK_BYTES <= this.#maxZeroBytes) {
      this.#untoldZeroBytes = list.contentBytes;
      return 'rehashed';
    }
    const offsetBytes = position - this.#untoldZeroBytes;
    this.#untoldZeroBytes = 0;
    const frame = this.#options.zstd && kept.length > 0 ? compressLiterals(kept, CHUNK_COMPRESSION_LEVEL) : undefined;
    return {
      offsetBytes,
      data: frame === undefined ? kept : new Uint8Array(frame),
      contentBytes: this.#positionBytes - offsetBytes,
      literalBytes: frame === undefined ? undefined : kept.length,
      steps: kept.length < this.#positionBytes - offsetBytes ? list.steps : [],
      signature: undefined,
      // A copy: cloning a slice of Node's buffer pool would clone the pool.
      digest: isLast ? new Uint8Array(this.#hasher.digest()) : undefined,
    };
  }
}

/** Moves what is not zero together, to the beginning of `raw`, which stands at `position` of its file, and tells the steps. */
function withoutZeros(raw: Uint8Array<ArrayBuffer>, position: number, list: StepList): Uint8Array<ArrayBuffer> {
  let kept = 0;
  let from = 0;
  const keepUpTo = (end: number): void => {
    if (end === from) return;
    if (kept < from) raw.copyWithin(kept, from, end);
    kept += end - from;
    list.data(end - from);
  };
  for (const { start, end } of longZeroRuns(raw, position)) {
    keepUpTo(start);
    list.zeros(end - start);
    from = end;
  }
  keepUpTo(raw.length);
  return raw.subarray(0, kept);
}

/** Shared by all transfers: it is used within one step only. */
let scratch: Buffer | undefined;
