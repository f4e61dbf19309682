/**
 * What the content worker can be asked: everything that takes long and must not delay small batches. Structured-clone
 * data only.
 */
import type { Digest } from '../../../common/content/digest.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { LocatedFile, VerificationPage, VerificationRow } from './applier-api.ts';
import type { LocalFile, UploadPart, VerifyItem } from './replica.ts';

export interface ContentApi {
  beginUpload(begin: StagedUploadBegin): Promise<StagedUpload>;
  /** Bytes committed afterwards. @throws OFFSET_MISMATCH, BASIS_MISMATCH, NO_SPACE, CANCELLED when begun anew elsewhere */
  writeUpload(handle: number, part: UploadPart): Promise<number>;
  /** The digest of what was written. @throws DIGEST_MISMATCH, BASIS_MISMATCH */
  finishUpload(handle: number, digest: Digest | undefined): Promise<Digest>;
  suspendUpload(handle: number): Promise<void>;
  /** Opens one version of a file. Undefined when the disk has another by now. */
  openContent(file: LocatedFile): Promise<number | undefined>;
  /** Fewer bytes than asked for only at the end. */
  readContent(handle: number, offset: number, length: number): Promise<Buffer>;
  /** The packed signature of an open content; undefined when it has none, or was cut short. One after the other. */
  signContent(handle: number, sizeBytes: number): Promise<Buffer | undefined>;
  closeContent(handle: number): Promise<void>;
  /**
   * Holds a part of a directory against the disk; no faster than that, if given. `listing`: what the part before it gave; the first one
   * lists the directory. Names of the disk that no part had are told from the last one on, some at a time: while the findings have a
   * listing then, a last part without rows goes on with it.
   */
  verifyPage(
    directory: TreePath,
    page: VerificationPage,
    listing: number | undefined,
    bytesPerSecond?: number,
  ): Promise<PageFindings>;
  /** The same of some entries and no others, without listing the directory; `extra` are names that the index does not have. */
  verifyEntries(
    directory: TreePath,
    rows: readonly VerificationRow[],
    extra: readonly string[],
    bytesPerSecond?: number,
  ): Promise<Findings>;
  /** For who does not go on to its end. */
  closeListing(listing: number): Promise<void>;
  /** Removes what is in the trash, and staged contents whose time is over. */
  sweep(): Promise<void>;
  close(): Promise<void>;
}

export interface StagedUploadBegin {
  readonly uploadId: Buffer;
  readonly sizeBytes: number;
  readonly digest: Digest | undefined;
  readonly resume: boolean;
  /** The file to copy ranges from. */
  readonly basis: LocatedFile | undefined;
  /** The same, outside of the replica. */
  readonly localFile?: LocalFile | undefined;
  /** A file that should have the whole content already. */
  readonly known: LocatedFile | undefined;
}

export interface StagedUpload {
  /** Until it is finished or suspended. Means nothing when `complete`: there is nothing to write, to finish or to suspend. */
  readonly handle: number;
  readonly committedSizeBytes: number;
  readonly complete: boolean;
}

export type Mismatch = Extract<VerifyItem, { readonly type: 'mismatch' }>;

export interface Findings {
  readonly mismatches: readonly Mismatch[];
  readonly contentBytes: number;
  /** Files that are as they should be, and have several names, or another inode than the index knows. */
  readonly linked: readonly LinkedFile[];
}

export interface PageFindings extends Findings {
  /** Names that no part has had yet, for the next one. Undefined when there is nothing left, or the directory cannot be listed. */
  readonly listing: number | undefined;
}

export interface LinkedFile {
  readonly path: TreePath;
  /** The inode of one that has several names. */
  readonly sharedInode: string | undefined;
}
