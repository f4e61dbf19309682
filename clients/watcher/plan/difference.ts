/**
 * Differences: where the disk is not what the server is known to have. The planner's input; pure data.
 */
import type { Digest } from '../../../common/content/digest.ts';
import type { DiskIdentity, IndexedEntry } from '../../../common/tree/entry.ts';
import type { MayHaveOwner } from '../../../common/tree/owner.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';

/** What the disk shows at a path. A file's content was not read yet. */
export type Observed = ObservedFile | ObservedDirectory | ObservedSymlink;

export interface ObservedFile extends MayHaveOwner {
  readonly kind: 'file';
  readonly mode: number;
  readonly mtimeNs: bigint;
  readonly sizeBytes: number;
  readonly identity: DiskIdentity;
  /** It has other names, and they are to be kept as such. */
  readonly isShared?: boolean;
  /** Set when the content is the one that the index has at the path, as far as can be told without reading it. */
  readonly digest?: Digest;
}

export interface ObservedDirectory extends MayHaveOwner {
  readonly kind: 'directory';
  readonly mode: number;
  readonly mtimeNs: bigint;
  readonly identity: DiskIdentity;
}

export interface ObservedSymlink extends MayHaveOwner {
  readonly kind: 'symlink';
  readonly mtimeNs: bigint;
  readonly target: Buffer;
  readonly identity: DiskIdentity;
}

export interface Difference {
  readonly path: TreePath;
  /** What the server is known to have at the path. */
  readonly before: IndexedEntry | undefined;
  /** What the disk has there; undefined for nothing. */
  readonly now: Observed | undefined;
  /**
   * Set when `now` is an entry that the server has elsewhere, under a path where the disk no longer has it:
   * same inode, and evidence beyond the inode that it is the same thing (E46).
   */
  readonly movedFrom?: IndexedEntry;
  /** Set when that is not made a rename: the server has the content already, as far as can be told without reading. */
  readonly copyOf?: IndexedEntry;
}
