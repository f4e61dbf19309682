/**
 * What is to be done on the disk for one accepted change. The planner makes operations against the index, before
 * the log is written; the performer carries them out afterwards, in the same order.
 */
import type { EntryKind, FileRecord, IndexedEntry, Metadata } from '../../../common/tree/entry.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { CheckedDelta, DirectoryEntry, FileEntry, SymlinkEntry } from './change.ts';

/** Which change of which revision: names its staged entry, and the progress marker's place. */
export interface Position {
  readonly revision: bigint;
  readonly changeIndex: number;
}

export type Operation = InstallOperation | MetadataOperation | MoveOperation | DeleteOperation;

/** Makes a new entry visible at its path. */
export interface InstallOperation {
  readonly type: 'install';
  readonly position: Position;
  readonly entry: FileEntry | DirectoryEntry | SymlinkEntry;
  readonly source: InstallSource;
  /** What the index had there. */
  readonly before: IndexedEntry | undefined;
  /** Where a replaced directory's children are in the index; undefined when it had none. */
  readonly grave: TreePath | undefined;
}

export type InstallSource =
  /** Ready in staging. `isOnlyCopy`: the log does not have it, so the marker must tell that it was taken. */
  | { readonly type: 'staged'; readonly name: string; readonly isOnlyCopy: boolean; readonly filling?: Filling }
  /** Comes to its path with its directory, which was filled in staging. */
  | { readonly type: 'inside'; readonly filling: Filling }
  /** To become a further name of this file. */
  | { readonly type: 'link'; readonly from: IndexedEntry & FileRecord }
  /** To be copied from a file with the same content. */
  | { readonly type: 'copy'; readonly from: IndexedEntry & FileRecord }
  /** To be built from a basis. */
  | { readonly type: 'delta'; readonly delta: CheckedDelta; readonly basis: IndexedEntry & FileRecord };

/** What becomes of a directory that is filled in staging: shared by its operation and those of what it holds. */
export interface Filling {
  /** Entries that come with it. */
  count: number;
  isInstalled: boolean;
}

export interface MetadataOperation extends Metadata {
  readonly type: 'metadata';
  readonly position: Position;
  readonly path: TreePath;
  readonly kind: EntryKind;
  readonly before: IndexedEntry;
}

export interface MoveOperation {
  readonly type: 'move';
  readonly position: Position;
  readonly from: TreePath;
  readonly to: TreePath;
  readonly before: IndexedEntry;
  /** The file or link that the index had at `to`. */
  readonly replaced: IndexedEntry | undefined;
}

export interface DeleteOperation {
  readonly type: 'delete';
  readonly position: Position;
  readonly path: TreePath;
  readonly before: IndexedEntry | undefined;
  readonly grave: TreePath | undefined;
}

/** All paths whose rows an operation set: what must be looked at again when it failed. */
export function pathsOf(operation: Operation): readonly TreePath[] {
  switch (operation.type) {
    case 'install':
      return [operation.entry.path];
    case 'metadata':
    case 'delete':
      return [operation.path];
    case 'move':
      return [operation.from, operation.to];
  }
}
