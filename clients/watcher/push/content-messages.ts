/**
 * What the content worker and its handle on the main thread say to each other. A transfer is one pass over one file;
 * the main thread grants it chunks one by one, so that what is in memory is bounded by the grants.
 * Structured-clone data only; chunk buffers are transferred back and forth, never shared.
 */
import type { DigestFunction } from '../../../common/content/digest.ts';
import type { Reason } from '../../../common/ops/errors.ts';
import { UPLOAD_HEAD_ROOM_BYTES } from '../../../common/rpc/head-room.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';

/** Literal data per message: measured best on grpc-js. */
export const CHUNK_BYTES = 256 * 1024;
/** A buffer for a chunk keeps room before it, so that the message around it is completed in place. */
export const CHUNK_BUFFER_BYTES = UPLOAD_HEAD_ROOM_BYTES + CHUNK_BYTES;
/** More zeros than any chunk can have beside what is copied: a server that takes less is sent all of them. */
export const LEAST_ZERO_BYTES = 16 * 2 ** 20;
/** The level for chunks: the link, not the ratio, is what uploads wait for. */
export const CHUNK_COMPRESSION_LEVEL = 1;

/** How a file must look, before and after it is read. */
export interface ExpectedFile {
  readonly path: TreePath;
  readonly sizeBytes: number;
  readonly ino: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

export interface TransferOptions {
  /** Where sending begins; what is before it is only hashed. 0..sizeBytes. */
  readonly fromBytes: number;
  readonly digestFunction: DigestFunction;
  /** Whether chunks may be compressed where that saves something. */
  readonly zstd: boolean;
  /** How many zeros a chunk may tell as a number, at least LEAST_ZERO_BYTES; 0: all are sent. */
  readonly maxZeroBytes: number;
  /** Packed signature of a content that the server has: tell the file in terms of it, from the beginning. */
  readonly basis?: Uint8Array | undefined;
}

/** Copies a range of the basis, then appends zeros, then the next bytes of the chunk's data. */
export interface ContentStep {
  readonly copyOffsetBytes: number;
  readonly copyLengthBytes: number;
  readonly zeroBytes: number;
  readonly dataBytes: number;
}

/** To the worker. */
export type ContentCommand =
  | {
      readonly type: 'open';
      readonly transfer: number;
      readonly file: ExpectedFile;
      readonly options: TransferOptions;
      /** Chunks that may be sent before any of them is released. */
      readonly grants: number;
    }
  /** One more chunk may be sent, in this buffer if there is one to reuse. */
  | { readonly type: 'grant'; readonly transfer: number; readonly buffer: ArrayBuffer | undefined }
  | { readonly type: 'cancel'; readonly transfer: number }
  /** The thread ends. */
  | { readonly type: 'close' };

/** From the worker. The last event of a transfer is a chunk with a digest, or `changed`, or `failed`. */
export type ContentEvent =
  | {
      readonly type: 'chunk';
      readonly transfer: number;
      readonly offsetBytes: number;
      /** The bytes, or one zstd frame of them. Empty when there are only steps, or in the chunk that ends an empty rest. */
      readonly data: Uint8Array<ArrayBuffer>;
      /** Length of the content that this chunk stands for. */
      readonly contentBytes: number;
      /** When `data` is a frame: the length of what it stands for. */
      readonly literalBytes: number | undefined;
      /** Which ranges of the basis, and how many zeros, come where between the data. Empty: there are only data. */
      readonly steps: readonly ContentStep[];
      /** In the last chunk of a delta: the packed signature of the content. */
      readonly signature: Uint8Array | undefined;
      /** In the last chunk: of the whole content, proved to be that of the file as it was expected. */
      readonly digest: Uint8Array | undefined;
    }
  /** The file is not, or no longer, what was expected. */
  | { readonly type: 'changed'; readonly transfer: number }
  | { readonly type: 'failed'; readonly transfer: number; readonly reason: Reason; readonly message: string };
