/**
 * A batch as the applier knows it: checked once, where it enters (batch-decoder.ts), and never again.
 */
import type { Digest } from '../../../common/content/digest.ts';
import type { DirectoryRecord, EntryKind, FileRecord, Metadata, SymlinkRecord } from '../../../common/tree/entry.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { ChangeFailure } from './change-failure.ts';
import type { AppliedProblem } from './replica.ts';

export type FileEntry = FileRecord & { readonly path: TreePath };
export type DirectoryEntry = DirectoryRecord & { readonly path: TreePath };
export type SymlinkEntry = SymlinkRecord & { readonly path: TreePath };

export type Change =
  | { readonly operation: 'put'; readonly entry: FileEntry; readonly content: ContentSource }
  /** `existing` is another path, not below `entry.path`. */
  | { readonly operation: 'link'; readonly entry: FileEntry; readonly existing: TreePath }
  | { readonly operation: 'mkdir'; readonly entry: DirectoryEntry }
  | { readonly operation: 'symlink'; readonly entry: SymlinkEntry }
  | (Metadata & { readonly operation: 'metadata'; readonly path: TreePath; readonly kind: EntryKind })
  | { readonly operation: 'move'; readonly from: TreePath; readonly to: TreePath }
  | { readonly operation: 'delete'; readonly path: TreePath };

export type ContentSource =
  /** A view of the received message. */
  | { readonly type: 'inline'; readonly data: Uint8Array }
  | { readonly type: 'stored' }
  | { readonly type: 'delta'; readonly delta: CheckedDelta };

/** Its segments make exactly the entry's size; ranges of the basis are safe integers. */
export interface CheckedDelta {
  readonly basisDigest: Digest;
  readonly basisPath: TreePath;
  readonly segments: readonly DeltaPart[];
}

export interface DeltaPart {
  readonly basisOffset: number;
  readonly copyLength: number;
  readonly literal: Uint8Array;
}

export interface DecodedBatch {
  /** 16 bytes. */
  readonly batchId: Buffer;
  /** In the batch's order; a failure stands where a change is not valid in itself. */
  readonly changes: readonly (Change | ChangeFailure)[];
}

/** The path that messages about a change name. */
export function pathOfChange(change: Change): TreePath {
  switch (change.operation) {
    case 'put':
    case 'link':
    case 'mkdir':
    case 'symlink':
      return change.entry.path;
    case 'metadata':
    case 'delete':
      return change.path;
    case 'move':
      return change.from;
  }
}

/** The changes of a batch that were meant to be applied. */
export function acceptedChanges(
  changes: readonly (Change | ChangeFailure)[],
  problems: readonly AppliedProblem[],
): readonly (readonly [number, Change])[] {
  const refused = new Set(problems.map(({ index }) => index));
  return [...changes.entries()].flatMap(([index, change]) =>
    change instanceof ChangeFailure || refused.has(index) ? [] : [[index, change] as const],
  );
}
