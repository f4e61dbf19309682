/**
 * What the engine worker and the main thread say to each other. The engine (observe, index, plan) decides what is
 * sent; the main thread (push) owns the connection and knows nothing of the tree. Structured-clone data only;
 * buffers are transferred, never shared.
 */
import type { DigestFunction } from '../../../common/content/digest.ts';
import type { Reason } from '../../../common/ops/errors.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { OwnerMode } from '../observe/local-owners.ts';
import type { MassDeleteLimit } from '../observe/mass-delete-guard.ts';
import type { PackedChanges } from './packed-changes.ts';
import type { RescanCount } from './rescans.ts';

/** To the engine. */
export type EngineCommand =
  /** A lease is held and the change stream is open. The engine compares or goes on, and may send from now on. */
  | { readonly type: 'connected'; readonly session: SessionFacts }
  /** The session is gone: whatever was not acknowledged counts as not sent. */
  | { readonly type: 'disconnected' }
  | { readonly type: 'compared'; readonly answer: CompareAnswer }
  | { readonly type: 'applied'; readonly result: BatchResult }
  /** All revisions up to this one are durable. */
  | { readonly type: 'durable'; readonly revision: bigint }
  | { readonly type: 'drifted'; readonly paths: readonly TreePath[]; readonly headRevision: bigint }
  | { readonly type: 'uploaded'; readonly result: UploadResult }
  /** Look again. Answered by `flushed` with the same id when all that was on disk at the command is durable. */
  | { readonly type: 'flush'; readonly id: number }
  | { readonly type: 'pause' }
  /** Goes on, and confirms what a guard held back. */
  | { readonly type: 'resume' }
  | { readonly type: 'rescan' }
  /** Leave these out from now on, instead of those that were said before. */
  | { readonly type: 'exclude'; readonly excludes: readonly string[] }
  /** Finish: close the index, answer `closed`. */
  | { readonly type: 'close' };

/** Whether a command carries what a peer said: each such is answered with `taken`, in their order. */
export function isCounted(command: EngineCommand): boolean {
  return command.type === 'compared' || command.type === 'applied' || command.type === 'drifted';
}

/** Said behind each counted command that was taken in, so that what waits for the engine stays bounded (engine-backlog.ts). */
export interface TakenMessage {
  readonly type: 'taken';
}

/**
 * From the engine. A request with a `lease` is meant for that session and dropped by any other: it may have been on its
 * way while the session was replaced.
 */
export type EngineEvent =
  /** Ask CompareTree about one directory; answers must come in the order of the questions. */
  | {
      readonly type: 'compare';
      readonly lease?: bigint | undefined;
      readonly path: TreePath;
      readonly treeDigest: Uint8Array;
    }
  /** A serialized `Batch` or `CompressedBatch`, ready to be sent in this order. */
  | {
      readonly type: 'batch';
      readonly lease?: bigint | undefined;
      readonly batchId: Uint8Array;
      readonly form: 'batch' | 'compressed';
      readonly encoded: Uint8Array;
      /** What it stands for, without compression and deltas. */
      readonly rawBytes: number;
      readonly changes: number;
    }
  /** Bring this file's content to the server, then answer `uploaded`. */
  | { readonly type: 'upload'; readonly lease?: bigint | undefined; readonly request: UploadRequest }
  /** The file changed or vanished: stop uploading it. No answer is needed. */
  | { readonly type: 'cancel-upload'; readonly lease?: bigint | undefined; readonly uploadId: string }
  /** With `--once`: behind these batches nothing more will come, unless an answer makes it necessary. */
  | { readonly type: 'all-sent'; readonly lease?: bigint | undefined }
  /** What the server says in this session makes no sense: end it, and begin another one after a pause. */
  | {
      readonly type: 'break-session';
      readonly lease?: bigint | undefined;
      readonly reason: Reason;
      readonly message: string;
    }
  /** Changes were acknowledged, in their order; for logs and the event stream. */
  | { readonly type: 'changes'; readonly changes: PackedChanges }
  /** In a dry run, instead: what would be sent, for people (dry-run-listing.ts). */
  | { readonly type: 'would-send'; readonly lines: readonly string[] }
  | { readonly type: 'status'; readonly status: EngineStatus }
  | { readonly type: 'flushed'; readonly id: number; readonly revision: bigint; readonly problemCount: number }
  /** A log line from inside the worker. */
  | {
      readonly type: 'log';
      readonly room: 'engine' | 'observe';
      readonly level: 'debug' | 'info' | 'warn' | 'error';
      readonly message: string;
      readonly fields: Readonly<Record<string, string | number>>;
    }
  /** The engine cannot go on: exit with the code of `reason` (root missing or replaced, index not writable …). */
  | { readonly type: 'failed'; readonly reason: string; readonly message: string }
  | { readonly type: 'closed' };

/** Those that are meant for one session. */
export type SessionEvent = Extract<EngineEvent, { readonly lease?: bigint | undefined }>;

export interface SessionFacts {
  readonly lease: bigint;
  readonly epoch: string;
  readonly headRevision: bigint;
  /** Empty when the head was made by no batch. */
  readonly headBatchId: Uint8Array;
  /** Empty when epoch and revision are the ones known: nothing to compare. */
  readonly rootTreeDigest: Uint8Array;
  readonly digestFunction: DigestFunction;
  readonly maxBatchBytes: number;
  readonly maxBatchChanges: number;
  readonly maxInlineBytes: number;
  readonly maxInFlightBytes: number;
  /** The server takes compressed batches. */
  readonly zstd: boolean;
  /** The wire is what is scarce: compress everything that shrinks, not only edits. */
  readonly compressAll: boolean;
  /** The server knows LinkFile. */
  readonly hardLinks?: boolean;
  /** The server reads contents that do not fit into batches from this machine's files: no edit of one is told as a delta. */
  readonly readsFiles?: boolean;
}

export interface CompareAnswer {
  readonly path: TreePath;
  readonly outcome: 'equal' | 'missing' | 'differs';
  /** A serialized CompareTreeResponse, whose `children` (and `root`) the engine decodes. */
  readonly encoded: Uint8Array;
  readonly last: boolean;
}

export interface BatchResult {
  readonly batchId: Uint8Array;
  readonly revision: bigint;
  readonly durable: boolean;
  readonly problems: readonly {
    readonly index: number;
    readonly kind: 'content-needed' | 'drifted' | 'basis-mismatch' | 'invalid' | 'failed';
    readonly path: TreePath;
    readonly reason: string;
    readonly message: string;
  }[];
}

export interface UploadRequest {
  /** 32 hex digits; the same file in the same state gets the same id again, also after a restart, so that a broken upload resumes. */
  readonly uploadId: string;
  readonly path: TreePath;
  readonly sizeBytes: number;
  readonly dev: bigint;
  /** How the file looked when it was chosen; what is read must still look like this at the end. */
  readonly ino: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  /** The server has a content of this size and digest at the path: hash first, and send nothing when it is still that one. */
  readonly knownDigest?: Uint8Array;
  /** A content that the server has, and its packed signature: what differs from it is all that has to be sent. */
  readonly basis?: { readonly digest: Uint8Array; readonly path: TreePath; readonly signature: Uint8Array };
  /** Without `basis`: what the server has at the path, whose signature it may be asked for. */
  readonly before?: { readonly digest: Uint8Array; readonly sizeBytes: number };
}

export interface UploadResult {
  readonly uploadId: string;
  readonly path: TreePath;
  readonly outcome:
    | {
        readonly type: 'done';
        readonly digest: Uint8Array;
        readonly sentBytes: number;
        /** Packed, when one was made on the way. */
        readonly signature?: Uint8Array;
      }
    /** The file is no longer what it was: look at it again. */
    | { readonly type: 'changed' }
    /** Not to be read, or refused by the server: a problem of this entry. */
    | { readonly type: 'failed'; readonly reason: string; readonly message: string }
    /** The session broke; ask again when connected. */
    | { readonly type: 'interrupted' };
}

export interface AcknowledgedChange {
  readonly operation: 'put' | 'link' | 'mkdir' | 'symlink' | 'metadata' | 'move' | 'delete';
  readonly path: TreePath;
  /** Where a moved entry was; of a hard link, another name of the file. */
  readonly from?: TreePath;
  readonly revision: bigint;
  readonly contentBytes: number;
  /** From the moment the change was seen to its acknowledgement. */
  readonly milliseconds: number;
}

export interface EngineProblem {
  readonly path: TreePath;
  readonly reason: string;
  readonly message: string;
}

export interface EngineStatus {
  /** `idle` with nothing pending means in step. */
  readonly phase: 'starting' | 'scanning' | 'comparing' | 'sending' | 'idle' | 'paused' | 'stopped';
  /** True once a whole scan has been sent and acknowledged in this session. */
  readonly inStep: boolean;
  /** The first whole scan, counted from the start, is done and acknowledged as durable. */
  readonly firstSyncDone: boolean;
  readonly revision: bigint;
  readonly durableRevision: bigint;
  readonly entries: number;
  readonly scannedEntries: number;
  readonly pendingChanges: number;
  readonly pendingBytes: number;
  /** Paths to look at, as far as they are counted one by one. */
  readonly dirtyPaths: number;
  /** When the oldest change that is not acknowledged was seen, on the clock of `monotonicMs`; undefined when there is none. */
  readonly pendingSinceMs: number | undefined;
  readonly sentChanges: number;
  readonly sentContentBytes: number;
  readonly changeSource: string;
  /** How often the tree, or a part of it, was looked through since the start. */
  readonly rescans: readonly RescanCount[];
  /** Why events cannot be relied on, else empty. */
  readonly degraded: string;
  /** At most 100. */
  readonly problems: readonly EngineProblem[];
  readonly problemCount: number;
  readonly heldDeletes: number;
  /** While some are held: how many may be deleted within a minute. */
  readonly deleteLimit: number;
  /** Why it is paused or stopped, else empty. */
  readonly reason: string;
}

/** What the engine worker is started with. */
export interface EngineOptions {
  readonly directory: string;
  readonly stateDirectory: string;
  readonly folder: string;
  /** Watch, or look once. */
  readonly mode: 'watch' | 'once' | 'dry-run';
  readonly changeSource: 'auto' | 'chokidar' | 'native' | 'poll';
  readonly scanIntervalMs: number;
  readonly excludes: readonly string[];
  /** Whether owners are carried, and by what. Default off. */
  readonly owner?: OwnerMode | undefined;
  readonly maxDelete: MassDeleteLimit;
  readonly acknowledgement: 'durable' | 'applied';
  /** Names of one inode are to be names of one file on the server, too. Default: false. */
  readonly hardLinks?: boolean;
}

/** The first message to the engine's thread. */
export interface BeginEngine {
  readonly type: 'begin';
  readonly options: EngineOptions;
}
