/**
 * How an open directory is reached by a system that has no openat(2): either through the handles that the kernel shows
 * (handle-reach.ts), or by its path, which is held against what it was (path-reach.ts). Directory is written against this.
 */
import type { TreePath } from '../tree/tree-path.ts';
import type { InodeKind, Stat } from './stat.ts';

/** What a system call takes for a path: text where all is ASCII, else bytes. */
export type SystemPath = string | Buffer;

/** One directory, open. Closed, everything but `close` throws LockstepError INTERNAL. */
export interface Reach {
  /** Leads to the directory, for as long as it is where it was; good for one call. */
  readonly own: SystemPath;
  /** What it is now. ENOENT where that is known to be nothing. */
  stat(): Stat;
  /** Runs calls on `own` and on paths of `pathOf`, in the directory that was opened or not at all. */
  within<T>(operation: () => T): T;
  /** Leads to a name in it. @throws LockstepError INVALID_PATH; NAME_UNSUPPORTED where the system cannot hold it */
  pathOf(name: string): SystemPath;
  /** ENOENT when the directory was removed: then "there is no such name" would be no answer. */
  assertNotRemoved(): void;
  /** `openSync` of a name; what is opened is what the name stood for, and no link was followed. */
  open(name: string, flags: number, mode?: number): number;
  /** Sets the permission bits of a file or directory, and of nothing else; tells what is there. */
  setMode(name: string, mode: number): InodeKind;
  /** Gives what has this name, also a link, to a user and a group; false when it is not the inode that is expected. */
  setOwner(name: string, uid: number, gid: number, expected: Pick<Stat, 'dev' | 'ino'>): boolean;
  /** The content of one open file into another, empty one; as a reflink or in the kernel where that is possible. */
  copyContent(source: number, target: number): void;
  /** Makes the names in it durable. */
  sync(): void;
  /** A child directory. ENOENT, or ENOTDIR for anything else, links included. */
  child(name: string, path: TreePath): Reach;
  /** The same directory once more, with a life of its own. */
  again(): Reach;
  /** May be called again. */
  close(): void;
}
