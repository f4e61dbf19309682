/**
 * One pass over one file that the server has an older version of: what it has is copied there, and only the rest is
 * sent. Runs inside the content worker; knows no threads and no wire.
 */
import { closeSync } from 'node:fs';
import { DeltaEncoder } from '../../../common/content/delta.ts';
import type { DeltaSink } from '../../../common/content/delta-output.ts';
import { decodeSignature, encodeSignature } from '../../../common/content/signature-codec.ts';
import { compressLiterals } from '../../../common/content/literals.ts';
import { readFully } from '../../../common/fs/full-io.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { errnoOf } from '../../../common/ops/errors.ts';
import { CHUNK_BYTES, CHUNK_COMPRESSION_LEVEL, type ExpectedFile, type TransferOptions } from './content-messages.ts';
import type { Transfer, TransferChunk, TransferStep } from './content-transfer.ts';
import { isStillExpected, openExpected, readError } from './expected-file.ts';

/** Read at a time; what is copied costs no message, so that this may be more than a chunk. */
const READ_BYTES = 1024 * 1024;
/** Longest range in one message: the server copies and hashes it before it answers. */
const MAX_COPY_BYTES = 32 * 1024 * 1024;

export interface DeltaOptions extends TransferOptions {
  readonly basis: Uint8Array;
}

/** A range of the basis and the literal data behind it, until it is large enough or something else follows. */
interface Part {
  readonly copy: { readonly offsetBytes: number; readonly lengthBytes: number } | undefined;
  readonly literals: Buffer[];
  literalBytes: number;
}

export class DeltaTransfer implements Transfer, DeltaSink {
  readonly #root: SafeRoot;
  readonly #file: ExpectedFile;
  readonly #fd: number;
  readonly #zstd: boolean;
  readonly #encoder: DeltaEncoder;
  readonly #ready: Part[] = [];
  #part: Part = { copy: undefined, literals: [], literalBytes: 0 };
  #readBytes = 0;
  #sentBytes = 0;
  #end: { readonly digest: Uint8Array; readonly signature: Uint8Array | undefined } | undefined;

  private constructor(root: SafeRoot, file: ExpectedFile, options: DeltaOptions, fd: number) {
    this.#root = root;
    this.#file = file;
    this.#fd = fd;
    this.#zstd = options.zstd;
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
      if (this.isRehashing && !this.#read()) return 'changed';
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
    for (let done = 0; done < lengthBytes; done += MAX_COPY_BYTES) {
      const copied = Math.min(MAX_COPY_BYTES, lengthBytes - done);
      this.#begin({ offsetBytes: basisOffset + done, lengthBytes: copied });
    }
  }

  literal(data: Uint8Array): void {
    for (let done = 0; done < data.length; ) {
      if (this.#part.literalBytes === CHUNK_BYTES) this.#begin(undefined);
      const taken = data.subarray(done, done + CHUNK_BYTES - this.#part.literalBytes);
      this.#part.literals.push(Buffer.from(taken));
      this.#part.literalBytes += taken.length;
      done += taken.length;
    }
  }

  #begin(copy: Part['copy']): void {
    if (this.#part.copy !== undefined || this.#part.literalBytes > 0) this.#ready.push(this.#part);
    this.#part = { copy, literals: [], literalBytes: 0 };
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

  #chunkOf({ copy, literals, literalBytes }: Part): TransferChunk {
    const raw = new Uint8Array(literalBytes);
    let filled = 0;
    for (const literal of literals) {
      raw.set(literal, filled);
      filled += literal.length;
    }
    const frame = this.#zstd && literalBytes > 0 ? compressLiterals(raw, CHUNK_COMPRESSION_LEVEL) : undefined;
    const offsetBytes = this.#sentBytes;
    const contentBytes = (copy?.lengthBytes ?? 0) + literalBytes;
    this.#sentBytes += contentBytes;
    const end = this.#ready.length === 0 ? this.#end : undefined;
    return {
      offsetBytes,
      data: frame === undefined ? raw : new Uint8Array(frame),
      contentBytes,
      compressed: frame !== undefined,
      copy,
      digest: end?.digest,
      signature: end?.signature,
    };
  }
}

/** Shared by all transfers: it is used within one step only. */
let scratch: Buffer | undefined;
