/**
 * One directory of a tree, held open, and every operation on the names in it. Together with safe-root.ts and the two ways of
 * reaching a directory (reach.ts) the only place that gives tree paths to the operating system (S01). `name` is a
 * single component (component.ts), and nothing here follows a link in it.
 */
import {
  chmodSync,
  closeSync,
  constants,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
} from 'node:fs';
import { errnoOf, LockstepError } from '../ops/errors.ts';
import { MODE_MASK } from '../tree/entry.ts';
import { displayPath, joinPath, type TreePath } from '../tree/tree-path.ts';
import { fchmod } from './descriptor.ts';
import { holdsPermissionBits, modeToCreateWith } from './permission-bits.ts';
import type { Reach, SystemPath } from './reach.ts';
import { copySparsely, isSparse } from './sparse-file.ts';
import { type Stat, statOf, toStat } from './stat.ts';
import { SYSTEM } from './system.ts';
import { fromSystemTarget, toSystemTarget } from './system-name.ts';
import { accessTime, assertHeld, mayBeClamped, utimesArgument } from './times.ts';
import { retryWhileBusy } from './while-busy.ts';

const { O_CREAT, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;

const STAT_OPTIONS = { bigint: true, throwIfNoEntry: false } as const;
const LIST_OPTIONS = { encoding: 'latin1' } as const;
/** As buffers, because with another encoding Node would look up the wrong path where the kernel gives no kinds. */
const KIND_OPTIONS = { withFileTypes: true, encoding: 'buffer' } as const;
const LINK_OPTIONS = { encoding: 'buffer' } as const;

/** Names that `openSync` refuses because of what stands there: a link, a socket, a device without a driver. */
const NOT_REGULAR_ERRNOS: ReadonlySet<string | undefined> = new Set(['ELOOP', 'ENXIO', 'ENODEV']);

/** Who else holds descriptors of this process, and can do without some of them. */
export interface DescriptorOwner {
  /** Closes handles other than `inUse`. Whether there were any to close. */
  giveWay(inUse: Directory): boolean;
}

/** A regular file to copy from: an open one, or a name in a directory. */
export type CopySource = number | { readonly directory: Directory; readonly name: string };

/** A regular file, just opened. */
export interface OpenedFile {
  /** The caller closes it. */
  readonly fd: number;
  /** What it was right after it was opened. */
  readonly stat: Stat;
}

/** A name, and whether it is that of a directory. */
export interface NamedKind {
  readonly name: string;
  readonly isDirectory: boolean;
}

/**
 * Made by SafeRoot, which also says how long it stays open. Once closed, every operation throws LockstepError INTERNAL
 * and none can hit another directory.
 *
 * All calls are synchronous. They throw errno errors of `node:fs` (their messages name host paths; wrap them
 * with `errnoError`) and, for a `name` that is not one component, LockstepError INVALID_PATH. Names are latin1 strings,
 * one char per byte.
 */
export class Directory {
  /** Where the directory was when it was opened; for messages. */
  readonly path: TreePath;
  readonly #reach: Reach;
  readonly #owner: DescriptorOwner;

  /** Takes over `reach`. `owner` is asked for room where no descriptor is left (E50). */
  constructor(reach: Reach, path: TreePath, owner: DescriptorOwner) {
    this.#reach = reach;
    this.path = path;
    this.#owner = owner;
  }

  /** Leads to the directory itself, for one call now: for watching it. */
  get systemPath(): SystemPath {
    return this.#reach.own;
  }

  /** @throws LockstepError as every operation would: INVALID_PATH; NAME_UNSUPPORTED where the system cannot hold the name */
  assertName(name: string): void {
    this.#reach.pathOf(name);
  }

  /** The names in the directory, in no order. ENOENT when the directory itself was removed: that is not "empty". */
  list(): string[] {
    const names = this.#withRoom(() => this.#reach.within(() => readdirSync(this.#reach.own, LIST_OPTIONS)));
    // The C library reports a removed directory as an empty one; each of its entries would count as deleted.
    if (names.length === 0) this.#reach.assertNotRemoved();
    return names;
  }

  /** Like `list`, with what the file system tells of kinds without a look at each. */
  listKinds(): NamedKind[] {
    const entries = this.#withRoom(() => this.#reach.within(() => readdirSync(this.#reach.own, KIND_OPTIONS)));
    if (entries.length === 0) this.#reach.assertNotRemoved();
    return entries.map((entry) => ({ name: entry.name.toString('latin1'), isDirectory: entry.isDirectory() }));
  }

  /** The entry itself, links not followed. Undefined when there is none; ENOENT when the directory was removed. */
  lstat(name: string): Stat | undefined {
    const stats = this.#reach.within(() => lstatSync(this.#reach.pathOf(name), STAT_OPTIONS));
    if (stats === undefined) {
      this.#reach.assertNotRemoved();
      return undefined;
    }
    return toStat(stats);
  }

  /** The directory itself. */
  stat(): Stat {
    return this.#reach.stat();
  }

  /**
   * Opens a regular file for reading; the caller closes it. Never blocks on a FIFO. Use lstat first: opening a device
   * can have effects, and this only notices it afterwards.
   * @throws LockstepError NOT_REGULAR for anything but a regular file.
   */
  openFile(name: string): number {
    return this.#openRegular(name, O_RDONLY).fd;
  }

  /** Like openFile, with what had to be asked of the file anyway to be sure of its kind. */
  openFileWithStat(name: string): OpenedFile {
    return this.#openRegular(name, O_RDONLY);
  }

  /** Like openFile, for reading and writing an existing file in place: staged files only, never the tree's. */
  openFileForWriting(name: string): number {
    return this.#openRegular(name, O_RDWR).fd;
  }

  /**
   * Creates a file for reading and writing; the caller closes it. `mode` is narrowed by the umask. EEXIST when anything
   * has this name.
   */
  createFile(name: string, mode = 0o600): number {
    return this.#open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, modeToCreateWith(mode));
  }

  /**
   * Creates a file with another one's content, as a reflink or inside the kernel where the file system can; mode 0600.
   * Returns it open for reading and writing; the caller closes it. While it is copied it has the source's mode and owner, so
   * the directory must be one that strangers cannot enter. Whether the content is the expected one is for the
   * caller to check: the source may change meanwhile. On an error nothing stays behind.
   */
  copyFileFrom(source: CopySource, name: string): number {
    const target = this.createFile(name);
    let sourceFd: number | undefined;
    try {
      sourceFd = typeof source === 'number' ? source : source.directory.openFile(source.name);
      const from = sourceFd;
      // What the kernel copies without a reflink has no holes any more.
      if (isSparse(from)) copySparsely(from, target);
      else this.#withRoom(() => this.#reach.copyContent(from, target));
      fchmod(target, 0o600);
      return target;
    } catch (error) {
      closeSync(target);
      this.#unlinkQuietly(name);
      throw error;
    } finally {
      if (typeof source !== 'number' && sourceFd !== undefined) closeSync(sourceFd);
    }
  }

  /** `mode` is narrowed by the process's umask, as ever: follow with setMode where the exact bits matter. */
  makeDirectory(name: string, mode: number): void {
    this.#reach.within(() => mkdirSync(this.#reach.pathOf(name), mode & MODE_MASK));
  }

  /** ENOTEMPTY unless it is empty, ENOTDIR for anything else. */
  removeDirectory(name: string): void {
    retryWhileBusy(() => this.#reach.within(() => rmdirSync(this.#reach.pathOf(name))));
  }

  /** Removes a file, link or special file; EISDIR for a directory. */
  unlink(name: string): void {
    retryWhileBusy(() => this.#reach.within(() => unlinkSync(this.#reach.pathOf(name))));
  }

  /** The exact bytes of a link's target, on Windows with slashes. EINVAL when it is not a link. */
  readLink(name: string): Buffer {
    const target = this.#reach.within(() => readlinkSync(this.#reach.pathOf(name), LINK_OPTIONS));
    return fromSystemTarget(target, SYSTEM);
  }

  /**
   * `target` is stored as it is and never looked at. On Windows, where Node would look whether a directory is there, each is made
   * as one to a file: a target such as `//host/share` would have this machine log in at a stranger's.
   */
  makeSymlink(name: string, target: Buffer): void {
    const systemTarget = toSystemTarget(target, SYSTEM);
    this.#reach.within(() => symlinkSync(systemTarget, this.#reach.pathOf(name), 'file'));
  }

  /**
   * Moves an entry, over an existing file or link, or over an empty directory if it is one itself: atomically.
   * For a directory, tell SafeRoot to `forget` both paths.
   */
  rename(name: string, toDirectory: Directory, toName: string): void {
    const from = this.#reach;
    const to = toDirectory.#reach;
    const move = () => from.within(() => to.within(() => renameSync(from.pathOf(name), to.pathOf(toName))));
    retryWhileBusy(move);
  }

  /**
   * Makes `toName` a further name of the file that `name` is. EEXIST when anything has the new name. Linux does not follow a
   * symbolic link here, other systems do: look first, and afterwards whether it became the same inode.
   */
  link(name: string, toDirectory: Directory, toName: string): void {
    const from = this.#reach;
    const to = toDirectory.#reach;
    from.within(() => to.within(() => linkSync(from.pathOf(name), to.pathOf(toName))));
  }

  /**
   * Sets the permission bits of a file or directory; bits outside of 0777 are dropped, and cleared on disk (E77). Nothing where the
   * system has none, as for all that sets them.
   * @throws LockstepError NOT_REGULAR for links and special files.
   */
  setMode(name: string, mode: number): void {
    if (!holdsPermissionBits()) return this.assertName(name);
    const kind = this.#withRoom(() => this.#reach.setMode(name, mode & MODE_MASK));
    if (kind !== 'file' && kind !== 'directory') throw this.#notRegular(name, 'file or directory');
  }

  /**
   * Sets the modification time of the entry itself, also of a link, and its access time to now.
   * @throws LockstepError INVALID_TIME when int64 or the file system cannot hold it; in the second case the kernel has
   *   set the nearest time that it can.
   */
  setMtime(name: string, mtimeNs: bigint): void {
    const mtime = utimesArgument(mtimeNs);
    this.#reach.within(() => lutimesSync(this.#reach.pathOf(name), accessTime(), mtime));
    if (!mayBeClamped(mtimeNs)) return;
    const after = this.lstat(name);
    if (after !== undefined) assertHeld(mtimeNs, after.mtimeNs);
  }

  /**
   * Gives the entry itself, also a link, to a user and a group; LEAVE_ID for what is to stay. False when it is no longer the inode
   * that `expected` describes: who may write in the directory could put a name of somebody else's file in its place.
   */
  setOwner(name: string, uid: number, gid: number, expected: Pick<Stat, 'dev' | 'ino'>): boolean {
    return this.#withRoom(() => this.#reach.setOwner(name, uid, gid, expected));
  }

  /** Gives the directory itself. */
  setOwnOwner(uid: number, gid: number): void {
    this.#reach.within(() => lchownSync(this.#reach.own, uid, gid));
  }

  /** Sets the directory's own permission bits, also the root's, which has no parent to go through. */
  setOwnMode(mode: number): void {
    if (!holdsPermissionBits()) return;
    this.#reach.within(() => chmodSync(this.#reach.own, mode & MODE_MASK));
  }

  /** Sets the directory's own modification time, and its access time to now; for errors see setMtime. */
  setOwnMtime(mtimeNs: bigint): void {
    this.setOwnMtimeNearest(mtimeNs);
    if (mayBeClamped(mtimeNs)) assertHeld(mtimeNs, this.stat().mtimeNs);
  }

  /** The same, content with the nearest time that the file system can hold. */
  setOwnMtimeNearest(mtimeNs: bigint): void {
    const mtime = utimesArgument(mtimeNs);
    this.#reach.within(() => utimesSync(this.#reach.own, accessTime(), mtime));
  }

  /** Makes the names in the directory durable; for errors see syncFd. Needs read permission on it. */
  sync(): void {
    this.#withRoom(() => this.#reach.sync());
  }

  /** For SafeRoot: opens a child directory. ENOENT, or ENOTDIR for anything else, links included. */
  openDirectory(name: string): Directory {
    const path = joinPath(this.path, name);
    return new Directory(
      this.#withRoom(() => this.#reach.child(name, path)),
      path,
      this.#owner,
    );
  }

  /** For SafeRoot: another handle of the same inode, with a life of its own. */
  reopen(): HeldDirectory {
    return new HeldDirectory(
      this.#withRoom(() => this.#reach.again()),
      this.path,
      this.#owner,
    );
  }

  /** For the owner of the handle. May be called again. */
  close(): void {
    this.#reach.close();
  }

  #openRegular(name: string, access: number): OpenedFile {
    let fd: number;
    try {
      fd = this.#open(name, access | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    } catch (error) {
      if (NOT_REGULAR_ERRNOS.has(errnoOf(error))) throw this.#notRegular(name, 'regular file', error);
      throw error;
    }
    try {
      const stat = statOf(fd);
      if (stat.kind !== 'file') throw this.#notRegular(name, 'regular file');
      return { fd, stat };
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  #open(name: string, flags: number, mode?: number): number {
    return this.#withRoom(() => this.#reach.open(name, flags, mode));
  }

  /** Does what needs a descriptor; where none is left, the owner's others give way, and it is done once more. */
  #withRoom<T>(operation: () => T): T {
    try {
      return operation();
    } catch (error) {
      const errno = errnoOf(error);
      if ((errno !== 'EMFILE' && errno !== 'ENFILE') || !this.#owner.giveWay(this)) throw error;
      return operation();
    }
  }

  #notRegular(name: string, expected: string, cause?: unknown): LockstepError {
    const path = joinPath(this.path, name);
    return new LockstepError('NOT_REGULAR', `${displayPath(path)} is not a ${expected}`, { path, cause });
  }

  #unlinkQuietly(name: string): void {
    try {
      this.unlink(name);
    } catch (error) {
      // The error that led here is the one to report.
      if (errnoOf(error) === undefined) throw error;
    }
  }
}

/** A handle that belongs to the caller: `using directory = root.hold(path)`. */
export class HeldDirectory extends Directory {
  [Symbol.dispose](): void {
    this.close();
  }
}
