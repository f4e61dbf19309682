/**
 * Everything that this server bounds, in one place. GetServerInfo announces these numbers, and the RPCs and the replica
 * enforce them; nothing else in the server decides how much a peer may ask for.
 */
import { DEFAULT_CONNECTION_BOUNDS } from '../../../common/rpc/connection-guard.ts';
import type { Limits as WireLimits } from '../../../gen/lockstep/sync/v1/sync_service.ts';

export interface Limits {
  /** Any message, either direction. */
  readonly maxMessageBytes: number;
  /** A serialized Batch, before compression. */
  readonly maxBatchBytes: number;
  readonly maxBatchChanges: number;
  /** A content inside a batch. */
  readonly maxInlineBytes: number;
  /** A path, decoded. */
  readonly maxPathBytes: number;
  /** Components of a path. */
  readonly maxDepth: number;
  readonly maxContentBytes: number;
  /** Entries of a folder, 0 for no limit. */
  readonly maxEntries: number;
  /** Bytes of batches that may be unanswered on one ApplyChanges stream; the server stops reading beyond. */
  readonly maxInFlightBytes: number;
  /** UploadContent streams under one lease. */
  readonly maxUploadStreams: number;
  /** From AcquireLease to the ApplyChanges stream, in milliseconds. */
  readonly leaseGraceMs: number;
  /** How long a content that no change refers to is kept, in milliseconds. */
  readonly stagedContentTtlMs: number;
  /** How long a connection without open calls is kept, in milliseconds. */
  readonly idleConnectionMs: number;
  /** From a connection's start until a call on it is let in, in milliseconds. */
  readonly admissionMs: number;
  /** How long a streaming answer waits for a client that does not read it, in milliseconds. */
  readonly stalledAnswerMs: number;
  /** What one caller's messages may take while they are not whole, over all connections. */
  readonly maxUnfinishedBytes: number;
}

/**
 * A batch has half of a message, so that the answer to one whose every change is a problem (each with its path) still
 * fits into a message of the size that any gRPC client takes without being told. 256 KiB inline is what the server
 * takes; clients send less inline, because large contents belong into uploads. An hour for an answer that nobody reads,
 * because an honest client may hash terabytes between two messages of a list. Unfinished messages: what sixteen uploads of sixteen folders
 * have under way, 256 KiB each.
 */
export const DEFAULT_LIMITS: Limits = {
  maxMessageBytes: 4 * 2 ** 20,
  maxBatchBytes: 2 * 2 ** 20,
  maxBatchChanges: 16_384,
  maxInlineBytes: 256 * 2 ** 10,
  maxPathBytes: 65_536,
  maxDepth: 1_024,
  maxContentBytes: Number.MAX_SAFE_INTEGER,
  maxEntries: 0,
  maxInFlightBytes: 16 * 2 ** 20,
  maxUploadStreams: 16,
  leaseGraceMs: 10_000,
  stagedContentTtlMs: 3_600_000,
  idleConnectionMs: 300_000,
  admissionMs: DEFAULT_CONNECTION_BOUNDS.admissionMs,
  stalledAnswerMs: 3_600_000,
  maxUnfinishedBytes: 64 * 2 ** 20,
};

/** Literal data in one message of UploadContent, before compression: fixed by the protocol. */
export const MAX_UPLOAD_DATA_BYTES = 2 ** 20;
/** Steps of a delta in one message. */
export const MAX_UPLOAD_STEPS = 65_536;
/** Zeros that the steps of one message stand for: hashing them takes some 30 ms. */
export const MAX_UPLOAD_ZERO_BYTES = 64 * 2 ** 20;

/** What a message of a streaming answer is filled to: a good size for throughput, and small beside the windows. */
export const STREAM_MESSAGE_BYTES = 256 * 2 ** 10;

/** Bytes of one streaming answer that wait for its client; 16 messages would wait inside of grpc-js otherwise. */
export const MAX_ANSWER_AHEAD_BYTES = 2 ** 20;

/** A holder's self-description; it is shown to people. */
export const MAX_HOLDER_CHARS = 256;

/** A folder's name on the wire. */
export const MAX_FOLDER_CHARS = 255;

export function toWireLimits(limits: Limits): WireLimits {
  return {
    maxMessageBytes: BigInt(limits.maxMessageBytes),
    maxBatchBytes: BigInt(limits.maxBatchBytes),
    maxBatchChanges: limits.maxBatchChanges,
    maxInlineBytes: BigInt(limits.maxInlineBytes),
    maxPathBytes: limits.maxPathBytes,
    maxPathDepth: limits.maxDepth,
    maxContentBytes: BigInt(limits.maxContentBytes),
    maxEntries: BigInt(limits.maxEntries),
    maxInFlightBytes: BigInt(limits.maxInFlightBytes),
    maxUploadStreams: limits.maxUploadStreams,
    leaseGraceMs: limits.leaseGraceMs,
    stagedContentTtlMs: BigInt(limits.stagedContentTtlMs),
    idleConnectionMs: limits.idleConnectionMs,
    admissionMs: limits.admissionMs,
    stalledAnswerMs: limits.stalledAnswerMs,
    maxZeroBytes: BigInt(MAX_UPLOAD_ZERO_BYTES),
    maxUnfinishedBytes: BigInt(limits.maxUnfinishedBytes),
  };
}
