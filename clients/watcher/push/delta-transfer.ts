/**
 * One pass over one file that the server has an older version of: what it has is copied there, and only the rest is
 * sent. Runs inside the content worker; knows no threads and no wire.
 */
import { closeSync } from 'node:fs';
import { DeltaEncoder } from '../../../common/content/delta.ts';
import type { DeltaSink } from '../../../common/content/delta-output.ts';
import { decodeSignature, encodeSignature } from '../../../common/content/signature-codec.ts';
import { compressLiterals } from '../../../common/content/literals.ts';
import { longZeroRuns } from '../../../common/content/zero-runs.ts';
import { readFully } from '../../../common/fs/full-io.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { errnoOf } from '../../../common/ops/errors.ts';
import type { ExpectedFile, TransferOptions } from './content-messages.ts';
import type { Transfer, TransferChunk, TransferStep } from './content-transfer.ts';
import { isStillExpected, openExpected, readError } from './expected-file.ts';
import { StepList } from './step-list.ts';

/** Read at a time; what is copied costs no message, so that this may be more than a chunk. */
const READ_BYTES = 1024 * 1024;
/** A message goes out when it stands for this much: the server copies meanwhile, and answers after it. */
const MAX_CONTENT_BYTES = 8 * 1024 * 1024;
/** Literal data of one message, compressed together: the more, the better it shrinks. What the protocol allows. */
const MAX_LITERAL_BYTES = 1024 * 1024;
const MAX_STEPS = 16_384;

export interface DeltaOptions extends TransferOptions {
  readonly basis: Uint8Array;
}

/** What becomes one message. */
class Part {
  readonly list = new StepList();
  readonly literals: Buffer[] = [];
  literalBytes = 0;

  get isFull(): boolean {
    const { contentBytes, steps } = this.list;
    return contentBytes >= MAX_CONTENT_BYTES || this.literalBytes >= MAX_LITERAL_BYTES || steps.length >= MAX_STEPS;
  }

  append(literal: Uint8Array): void {
    this.literals.push(Buffer.from(literal));
    this.literalBytes += literal.length;
    this.list.data(literal.length);
  }
}

export class DeltaTransfer implements Transfer, DeltaSink {
  readonly #root: SafeRoot;
  readonly #file: ExpectedFile;
  readonly #fd: number;
  readonly #zstd: boolean;
  readonly #tellsZeros: boolean;
  readonly #encoder: DeltaEncoder;
  readonly #ready: Part[] = [];
  #part = new Part();
  #readBytes = 0;
  /** Of the content, in all parts. */
  #toldBytes = 0;
  #sentBytes = 0;
  #end: { readonly digest: Uint8Array; readonly signature: Uint8Array | undefined } | undefined;

  private constructor(root: SafeRoot, file: ExpectedFile, options: DeltaOptions, fd: number) {
    this.#root = root;
    this.#file = file;
    this.#fd = fd;
    this.#zstd = options.zstd;
    this.#tellsZeros = options.maxZeroBytes > 0;
    this.#encoder = new DeltaEncoder(options.digestFunction, decodeSignature(options.basis), this);
  }

  /**
   * Undefined when the file is not what was expected.
   * @throws LockstepError PERMISSION_DENIED, IO when it cannot be read; INVALID_ARGUMENT for a damaged signature.
   */
  static open(root: SafeRoot, file: ExpectedFile, options: DeltaOptions): DeltaTransfer | undefined {
    const fd = openExpected(root, file);
    if (fd === undefined) return undefined;
    try {
      return new DeltaTransfer(root, file, options, fd);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  get isRehashing(): boolean {
    return this.#ready.length === 0 && this.#end === undefined;
  }

  step(): TransferStep {
    try {
      // A part is told by the next step: that one needs a grant.
      if (this.isRehashing) return this.#read() ? 'rehashed' : 'changed';
    } catch (error) {
      if (errnoOf(error) === 'ESTALE') return 'changed';
      throw readError(this.#file, error);
    }
    const part = this.#ready.shift();
    return part === undefined ? 'rehashed' : this.#chunkOf(part);
  }

  close(): void {
    closeSync(this.#fd);
  }

  copy(basisOffset: number, lengthBytes: number): void {
    this.#startNextIfFull();
    this.#part.list.copy(basisOffset, lengthBytes);
    this.#toldBytes += lengthBytes;
  }

  literal(data: Uint8Array): void {
    let from = 0;
    for (const { start, end } of this.#tellsZeros ? longZeroRuns(data, this.#toldBytes) : []) {
      this.#append(data.subarray(from, start));
      this.#startNextIfFull();
      this.#part.list.zeros(end - start);
      from = end;
    }
    this.#append(data.subarray(from));
    this.#toldBytes += data.length;
  }

  #append(data: Uint8Array): void {
    for (let done = 0; done < data.length; ) {
      this.#startNextIfFull();
      const taken = data.subarray(done, done + MAX_LITERAL_BYTES - this.#part.literalBytes);
      this.#part.append(taken);
      done += taken.length;
    }
  }

  #startNextIfFull(): void {
    if (!this.#part.isFull) return;
    this.#ready.push(this.#part);
    this.#part = new Part();
  }

  /** False when the file is another one now. */
  #read(): boolean {
    scratch ??= Buffer.allocUnsafeSlow(READ_BYTES);
    const length = Math.min(READ_BYTES, this.#file.sizeBytes - this.#readBytes);
    if (readFully(this.#fd, scratch, 0, length, this.#readBytes) < length) return false;
    this.#encoder.push(scratch.subarray(0, length));
    this.#readBytes += length;
    if (this.#readBytes < this.#file.sizeBytes) return true;
    if (!isStillExpected(this.#root, this.#fd, this.#file)) return false;
    const { digest, signature } = this.#encoder.finish();
    // Copies: cloning a slice of Node's buffer pool would clone the pool.
    const packed = signature === undefined ? undefined : Uint8Array.from(encodeSignature(signature));
    this.#end = { digest: Uint8Array.from(digest), signature: packed };
    this.#ready.push(this.#part);
    return true;
  }

  #chunkOf({ list: { steps, contentBytes }, literals, literalBytes }: Part): TransferChunk {
    const raw = new Uint8Array(literalBytes);
    let filled = 0;
    for (const literal of literals) {
      raw.set(literal, filled);
      filled += literal.length;
    }
    const frame = this.#zstd && literalBytes > 0 ? compressLiterals(raw) : undefined;
    const offsetBytes = this.#sentBytes;
    this.#sentBytes += contentBytes;
    const end = this.#ready.length === 0 ? this.#end : undefined;
    return {
      offsetBytes,
      data: frame === undefined ? raw : new Uint8Array(frame),
      contentBytes,
      literalBytes: frame === undefined ? undefined : literalBytes,
      steps,
      digest: end?.digest,
      signature: end?.signature,
    };
  }
}

/** Shared by all transfers: it is used within one step only. */
let scratch: Buffer | undefined;
