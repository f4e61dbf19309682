/**
 * What the RPCs know of a replica: this interface and nothing else. A second kind of replica (metadata in a
 * database, contents in an object store) implements the same; nothing here says "file system" or "SQLite".
 *
 * All methods are asynchronous and may be called concurrently; batches are applied in the order of the calls.
 * Errors are LockstepErrors with the reasons that the protocol documents.
 */
import type { Digest, DigestFunction } from '../../../common/content/digest.ts';
import type { SignaturePart } from '../../../common/content/signature-parts.ts';
import type { Entry, EntryRecord } from '../../../common/tree/entry.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';

export interface Replica {
  readonly folder: string;
  /** The function of every digest in this folder. */
  readonly digestFunction: DigestFunction;

  /** Where the folder stands. Cheap: answered from memory. */
  info(): ReplicaInfo;
  /** The root's tree digest; recomputes what changed since it was last asked for. */
  rootTreeDigest(): Promise<Digest>;

  /** Makes `lease` the folder's newest and persists it: batches and uploads of lower ones are refused from now on. */
  nextLease(): Promise<bigint>;

  /**
   * Applies a batch. `encoded` is the serialized `Batch` or `CompressedBatch` message, exactly as it came; its memory is given away.
   * Resolves when applied, or when durable.
   * @throws LEASE_STALE, LIMIT_EXCEEDED, INVALID_ARGUMENT (not decodable), NO_SPACE (log), DRAINING
   */
  applyBatch(batch: IncomingBatch): Promise<AppliedBatch>;
  /** Resolves once this revision is durable. */
  whenDurable(revision: bigint): Promise<void>;

  /** Begins, or resumes, an upload into staging. */
  beginUpload(begin: UploadBegin): Promise<Upload>;

  /** Undefined where there is nothing. Of directories with `treeDigest`. */
  getEntry(path: TreePath): Promise<RecordWithDigest | undefined>;
  /** Children of one directory in byte order, with tree digests; undefined when it is no directory. Paged by `after` (a name). */
  compareDirectory(
    path: TreePath,
    believed: Digest | undefined,
    after: string,
    limit: number,
  ): Promise<DirectoryComparison>;
  /** Entries in tree order after `after` (undefined: from the start), at most `limit`; the starting path itself is not among them. */
  listEntries(
    path: TreePath,
    recursive: boolean,
    after: TreePath | undefined,
    limit: number,
  ): Promise<readonly Entry[]>;
  /** For each of these entries a number that names of one file share; 0 for what has one name. */
  linkIds(paths: readonly TreePath[]): Promise<readonly bigint[]>;
  /** Reads one version of a file, from `offset` on. @throws ENTRY_NOT_FOUND, OFFSET_MISMATCH */
  readContent(path: TreePath, offset: number, length: number | undefined): AsyncIterable<ContentPart>;

  /** The signature of a content that some file has. @throws CONTENT_NOT_FOUND */
  readSignature(digest: Digest, signal: AbortSignal): AsyncIterable<SignaturePart>;

  /**
   * The change feed after a revision, then live, until `signal` is aborted. The first item says where it begins.
   * @throws COMPACTED
   */
  watchChanges(from: FeedPosition | undefined, signal: AbortSignal): AsyncIterable<RevisionChanges>;
  /** Holds disk against index. */
  verify(options: VerifyOptions, signal: AbortSignal): AsyncIterable<VerifyItem>;
  /** Called with directories found drifted (by the background pass or while applying). Returns a function that ends it. */
  onDrift(listener: (paths: readonly TreePath[], headRevision: bigint) => void): () => void;

  /** Finishes what was begun, makes a checkpoint, lets go of the directory. */
  close(): Promise<void>;
}

export interface ReplicaInfo {
  readonly epoch: string;
  readonly headRevision: bigint;
  readonly headBatchId: Buffer;
  readonly durableRevision: bigint;
  readonly entries: number;
  readonly contentBytes: number;
  readonly state: 'ready' | 'degraded' | 'recovering';
  /** Why it is not ready, one sentence; else empty. */
  readonly stateReason: string;
  /** Entries are given to the owners that they come with. */
  readonly keepsOwners: boolean;
  /** How often an entry was left to another owner since the start; undefined where owners are not kept. */
  readonly ownerRefusals?: number | undefined;
  /** Undefined where there is none. */
  readonly scrub?: ScrubCounts | undefined;
  /** Of the write-ahead log: what a recovery would read, and what shortened it. Undefined where there is none. */
  readonly log?: LogInfo | undefined;
  /** Nothing more will come of this folder until the server is started again. */
  readonly hasFailed?: boolean | undefined;
}

export interface LogInfo {
  readonly sizeBytes: number;
  readonly checkpoints: { readonly count: number; readonly lastMs: number };
  /** From a sync of the replica's file system that failed until one that can be believed succeeded (E86). */
  readonly isSyncInDoubt: boolean;
  /** Files that were written anew because of that, since the start. */
  readonly rewrittenFiles: number;
}

export interface IncomingBatch {
  readonly lease: bigint;
  readonly encoded: Uint8Array;
  readonly form: 'batch' | 'compressed';
  readonly acknowledgement: 'durable' | 'applied';
  /** Changes in it, as far as that is known before it is decoded. */
  readonly changeCount?: number | undefined;
}

export interface AppliedBatch {
  readonly batchId: Buffer;
  readonly revision: bigint;
  readonly durable: boolean;
  readonly problems: readonly AppliedProblem[];
}

export interface AppliedProblem {
  readonly index: number;
  readonly kind: 'content-needed' | 'drifted' | 'basis-mismatch' | 'invalid' | 'failed';
  readonly path: TreePath;
  readonly reason: string;
  readonly message: string;
}

export interface UploadBegin {
  readonly lease: bigint;
  /** 16 bytes, the client's. */
  readonly uploadId: Buffer;
  readonly sizeBytes: number;
  /** Known only at the end when undefined. */
  readonly digest: Digest | undefined;
  readonly resume: boolean;
  readonly basis: { readonly digest: Digest; readonly path: TreePath } | undefined;
  /** A file to copy from in place of a basis. Whoever asks may read it. */
  readonly localFile?: LocalFile | undefined;
}

/** A file of this machine, outside of the replica. */
export interface LocalFile {
  /** Absolute, as bytes for the system. */
  readonly path: Buffer;
  readonly device: bigint;
  readonly inode: bigint;
  /** If that is what it has, nothing of it is kept. */
  readonly knownDigest?: Digest | undefined;
}

export interface Upload {
  /** Bytes already there; the whole size with `complete` when the content is known to the folder: nothing has to end it then. */
  readonly committedSizeBytes: number;
  readonly complete: boolean;
  /** Memory of `data` is given away. Resolves when the part was written (not durable). @throws OFFSET_MISMATCH, BASIS_MISMATCH, NO_SPACE */
  write(part: UploadPart): Promise<number>;
  /**
   * Checks size and digest, makes the content durable and known by its digest, which it tells; undefined where it was complete at the
   * beginning. @throws DIGEST_MISMATCH
   */
  finish(digest: Digest | undefined): Promise<Digest | undefined>;
  /** The stream ended before `finish`: what is staged stays for resumption until its time is over. */
  suspend(): Promise<void>;
}

export interface UploadPart {
  readonly offsetBytes: number;
  /** Undefined: all of the data is appended. Their `dataBytes` add up to the length of the data, decompressed. */
  readonly steps: readonly UploadStep[] | undefined;
  readonly data: Uint8Array;
  /** Set when `data` is one zstd frame: the length it must have when decompressed. */
  readonly decompressedSizeBytes: number | undefined;
}

/** Copies a range of the basis, then appends zeros, then the next bytes of the part's data. */
export interface UploadStep {
  readonly copyOffsetBytes: number;
  readonly copyLengthBytes: number;
  readonly zeroBytes: number;
  readonly dataBytes: number;
}

export type RecordWithDigest = EntryRecord & { readonly treeDigest?: Digest };

export interface DirectoryComparison {
  readonly outcome: 'equal' | 'missing' | 'differs';
  readonly children: readonly (RecordWithDigest & { readonly name: string })[];
  /** No children after these. */
  readonly last: boolean;
}

export interface ContentPart {
  /** In the first part. */
  readonly entry: Entry | undefined;
  readonly offsetBytes: number;
  readonly data: Buffer;
}

export interface FeedPosition {
  readonly epoch: string;
  readonly revision: bigint;
}

export interface RevisionChanges {
  readonly epoch: string;
  readonly revision: bigint;
  readonly timeNs: bigint;
  readonly changes: readonly FeedChange[];
}

export type FeedChange =
  | { readonly operation: 'put' | 'metadata'; readonly entry: Entry }
  | { readonly operation: 'move'; readonly entry: Entry; readonly from: TreePath }
  | { readonly operation: 'delete' | 'drift'; readonly path: TreePath };

export interface VerifyOptions {
  readonly path: TreePath;
  /** Correct the index to the disk; contents that went bad are moved aside first. */
  readonly repair: boolean;
  /** Contents are read no faster, on average. Default: as fast as it goes. */
  readonly bytesPerSecond?: number | undefined;
}

/** What the background scrub did since the start. */
export interface ScrubCounts {
  readonly passes: number;
  readonly entries: number;
  readonly contentBytes: number;
  readonly mismatches: number;
  /** How far the pass is that runs; undefined between two. */
  readonly reading?: { readonly entries: number; readonly contentBytes: number } | undefined;
}

export interface VerifyCounts {
  readonly entries: number;
  readonly contentBytes: number;
  readonly mismatches: number;
  readonly revision: bigint;
}

export type VerifyItem =
  | {
      readonly type: 'mismatch';
      readonly kind: 'missing' | 'extra' | 'kind' | 'content' | 'metadata' | 'links' | 'unreadable';
      readonly path: TreePath;
      readonly message: string;
    }
  | { readonly type: 'progress' | 'summary'; readonly counts: VerifyCounts };
