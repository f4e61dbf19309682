/**
 * What the applier's thread can be asked, and what it tells without being asked. Structured-clone data only.
 */
import type { Digest } from '../../../common/content/digest.ts';
import type { DiskIdentity, Entry, FileRecord } from '../../../common/tree/entry.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { ChildRow } from '../../../common/tree/tree-index.ts';
import type { FeedRevision } from './feed-codec.ts';
import type { LinkFinding, LinkQuestion } from './link-check.ts';
import type { AppliedBatch, DirectoryComparison, IncomingBatch, RecordWithDigest, ReplicaInfo } from './replica.ts';

/** All of them wait until the replica is ready. */
export interface ApplierApi {
  nextLease(): Promise<bigint>;
  applyBatch(batch: IncomingBatch): Promise<AppliedBatch>;
  rootTreeDigest(): Promise<Digest>;
  getEntry(path: TreePath): Promise<RecordWithDigest | undefined>;
  compareDirectory(
    path: TreePath,
    believed: Digest | undefined,
    after: string,
    limit: number,
  ): Promise<DirectoryComparison>;
  /** Undefined when there is nothing at `path`. */
  listEntries(
    path: TreePath,
    recursive: boolean,
    after: TreePath | undefined,
    limit: number,
  ): Promise<readonly Entry[]>;
  linkIds(paths: readonly TreePath[]): Promise<readonly bigint[]>;
  /** A file, with how the disk showed it. Undefined when there is none. */
  locate(path: TreePath): Promise<LocatedFile | undefined>;
  /** Any file with this content. */
  findContent(digest: Digest): Promise<LocatedFile | undefined>;
  /** Newest revision first asked for: those after `after`, empty when there is none yet. @throws COMPACTED */
  readFeed(after: bigint): Promise<readonly FeedRevision[]>;
  verificationPage(directory: TreePath, after: string, limit: number): Promise<VerificationPage | undefined>;
  /** The same of these names only, those that are there. Undefined when `directory` is none. */
  verificationRows(directory: TreePath, names: readonly string[]): Promise<readonly VerificationRow[] | undefined>;
  /** Which of these files are not linked as the index has it. */
  brokenLinks(questions: readonly LinkQuestion[]): Promise<readonly LinkFinding[]>;
  /** Sets the index to what the disk has, contents read anew; a file whose content went bad is moved aside before. */
  repair(found: readonly RepairRequest[]): Promise<void>;
  /** Makes a checkpoint and lets go of everything. */
  close(): Promise<void>;
}

export interface RepairRequest {
  readonly path: TreePath;
  /**
   * What is wrong: a content that went bad, what a file is linked to, metadata (what is below a directory is looked at by itself), or
   * anything else, with all that is below.
   */
  readonly what: 'content' | 'links' | 'metadata' | 'entry';
}

export interface LocatedFile {
  readonly entry: FileRecord & { readonly path: TreePath };
  readonly identity: DiskIdentity | undefined;
}

/** A part of a directory, with all that is needed to hold it against the disk. */
export interface VerificationPage {
  /** In byte order; `digest` of files, `target` of links. */
  readonly rows: readonly VerificationRow[];
  readonly isLast: boolean;
}

export type VerificationRow = ChildRow & { readonly digest: Digest | undefined; readonly target: Buffer | undefined };

/** What the facade needs to know beyond what it tells. */
export type ApplierInfo = ReplicaInfo & { readonly lease: bigint };

export interface ApplierEvents {
  /** Always before the answers that it belongs to. */
  onInfo(info: ApplierInfo): void;
  onDrift(directories: readonly TreePath[], headRevision: bigint): void;
  /** There is something in the trash, or, at the start, anything in staging that is the content worker's. */
  onTrash(): void;
}
