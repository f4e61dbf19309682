/**
 * One directory of a tree, held open, and every operation on the names in it. Together with safe-root.ts the only place
 * that gives tree paths to the operating system (S01).
 *
 * Node has no openat(2) (nodejs/node#31110). On Linux `/proc/self/fd/N/name` is one: it starts at the open directory,
 * wherever that is now, so nobody can redirect it by swapping a parent for a link. `name` is a single component
 * (component.ts), and nothing here follows a link in it.
 */
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  fchmodSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
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
import { systemPath } from './component.ts';
import { syncFd } from './full-io.ts';
import { copySparsely, handlePath, isSparse } from './sparse-file.ts';
import { type Stat, statOf, toStat } from './stat.ts';
import { accessTime, assertHeld, mayBeClamped, utimesArgument } from './times.ts';

/** A handle that only names an inode: needs no permission on it, and opening has no side effects. Not in fs.constants. */
const O_PATH = 0x200000;
const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = constants;

/**
 * Where the kernel shows the handles of this process. `/proc/self` is a link that each call would follow anew, at a
 * fifteenth of its cost; it is read once, because the process may have another number in there than it knows of itself.
 */
export const OWN_HANDLES = ownHandles();

const STAT_OPTIONS = { bigint: true, throwIfNoEntry: false } as const;
const LIST_OPTIONS = { encoding: 'latin1' } as const;
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

/**
 * Made by SafeRoot, which also says how long it stays open. Once closed, every operation throws LockstepError INTERNAL
 * and none can hit another directory.
 *
 * All calls are synchronous. They throw errno errors of `node:fs` (their messages name `/proc/self/fd` paths; wrap them
 * with `errnoError`) and, for a `name` that is not one component, LockstepError INVALID_PATH. Names are latin1 strings,
 * one char per byte.
 */
export class Directory {
  /** Where the directory was when it was opened; for messages. */
  readonly path: TreePath;
  #fd: number;
  /** `/proc/PID/fd/N/`, built once: most calls prepend it. Empty once closed. */
  #prefix: string;
  readonly #owner: DescriptorOwner;

  /** Takes over `fd`, an O_PATH handle of a directory. `owner` is asked for room where no descriptor is left (E50). */
  constructor(fd: number, path: TreePath, owner: DescriptorOwner) {
    this.#fd = fd;
    this.#prefix = `${OWN_HANDLES}${fd}/`;
    this.path = path;
    this.#owner = owner;
  }

  /** An O_PATH handle: good for fstat and as a starting point, not for reading or fsync. */
  get fd(): number {
    this.#openPrefix();
    return this.#fd;
  }

  /** The names in the directory, in no order. ENOENT when the directory itself was removed: that is not "empty". */
  list(): string[] {
    const prefix = this.#openPrefix();
    const names = this.#withRoom(() => readdirSync(prefix, LIST_OPTIONS));
    // The C library reports a removed directory as an empty one; each of its entries would count as deleted.
    if (names.length === 0) this.#assertNotRemoved();
    return names;
  }

  /** The entry itself, links not followed. Undefined when there is none; ENOENT when the directory was removed. */
  lstat(name: string): Stat | undefined {
    const stats = lstatSync(systemPath(this.#openPrefix(), name, this.path), STAT_OPTIONS);
    if (stats === undefined) {
      this.#assertNotRemoved();
      return undefined;
    }
    return toStat(stats);
  }

  /** The directory itself. */
  stat(): Stat {
    return statOf(this.fd);
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
    const path = systemPath(this.#openPrefix(), name, this.path);
    return this.#open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode & MODE_MASK);
  }

  /**
   * Creates a file with another one's content, as a reflink or inside the kernel where the file system can; mode 0600.
   * Returns it open for reading and writing; the caller closes it. While it is copied it has the source's mode, so
   * the directory must be one that strangers cannot enter. Whether the content is the expected one is for the
   * caller to check: the source may change meanwhile. On an error nothing stays behind.
   */
  copyFileFrom(source: CopySource, name: string): number {
    const target = this.createFile(name);
    let sourceFd: number | undefined;
    try {
      sourceFd = typeof source === 'number' ? source : source.directory.openFile(source.name);
      const [from, to] = [handlePath(sourceFd), handlePath(target)];
      // What the kernel copies without a reflink has no holes any more.
      if (isSparse(sourceFd)) copySparsely(sourceFd, target);
      else this.#withRoom(() => copyFileSync(from, to, constants.COPYFILE_FICLONE));
      fchmodSync(target, 0o600);
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
    mkdirSync(systemPath(this.#openPrefix(), name, this.path), mode & MODE_MASK);
  }

  /** ENOTEMPTY unless it is empty, ENOTDIR for anything else. */
  removeDirectory(name: string): void {
    rmdirSync(systemPath(this.#openPrefix(), name, this.path));
  }

  /** Removes a file, link or special file; EISDIR for a directory. */
  unlink(name: string): void {
    unlinkSync(systemPath(this.#openPrefix(), name, this.path));
  }

  /** The exact bytes of a link's target. EINVAL when it is not a link. */
  readLink(name: string): Buffer {
    return readlinkSync(systemPath(this.#openPrefix(), name, this.path), LINK_OPTIONS);
  }

  /** `target` is stored as it is and never looked at. */
  makeSymlink(name: string, target: Buffer): void {
    symlinkSync(target, systemPath(this.#openPrefix(), name, this.path));
  }

  /**
   * Moves an entry, over an existing file or link, or over an empty directory if it is one itself: atomically.
   * For a directory, tell SafeRoot to `forget` both paths.
   */
  rename(name: string, toDirectory: Directory, toName: string): void {
    renameSync(
      systemPath(this.#openPrefix(), name, this.path),
      systemPath(toDirectory.#openPrefix(), toName, toDirectory.path),
    );
  }

  /**
   * Sets the permission bits of a file or directory; bits outside of 0777 are dropped, and cleared on disk (E77).
   * @throws LockstepError NOT_REGULAR for links and special files.
   */
  setMode(name: string, mode: number): void {
    const fd = this.#open(systemPath(this.#openPrefix(), name, this.path), O_PATH | O_NOFOLLOW);
    try {
      const { kind } = statOf(fd);
      if (kind !== 'file' && kind !== 'directory') throw this.#notRegular(name, 'file or directory');
      chmodSync(`/proc/self/fd/${fd}`, mode & MODE_MASK); // fchmod refuses O_PATH handles
    } finally {
      closeSync(fd);
    }
  }

  /**
   * Sets the modification time of the entry itself, also of a link, and its access time to now.
   * @throws LockstepError INVALID_TIME when int64 or the file system cannot hold it; in the second case the kernel has
   *   set the nearest time that it can.
   */
  setMtime(name: string, mtimeNs: bigint): void {
    const path = systemPath(this.#openPrefix(), name, this.path);
    lutimesSync(path, accessTime(), utimesArgument(mtimeNs));
    if (!mayBeClamped(mtimeNs)) return;
    const after = this.lstat(name);
    if (after !== undefined) assertHeld(mtimeNs, after.mtimeNs);
  }

  /** Sets the directory's own permission bits, also the root's, which has no parent to go through. */
  setOwnMode(mode: number): void {
    chmodSync(this.#openPrefix(), mode & MODE_MASK);
  }

  /** Sets the directory's own modification time, and its access time to now; for errors see setMtime. */
  setOwnMtime(mtimeNs: bigint): void {
    utimesSync(this.#openPrefix(), accessTime(), utimesArgument(mtimeNs));
    if (mayBeClamped(mtimeNs)) assertHeld(mtimeNs, this.stat().mtimeNs);
  }

  /** Makes the names in the directory durable; for errors see syncFd. Needs read permission on it. */
  sync(): void {
    const fd = this.#open(this.#openPrefix(), O_RDONLY | O_DIRECTORY);
    try {
      syncFd(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** For SafeRoot: opens a child directory. ENOENT, or ENOTDIR for anything else, links included. */
  openDirectory(name: string): Directory {
    const path = systemPath(this.#openPrefix(), name, this.path);
    const fd = this.#open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    return new Directory(fd, joinPath(this.path, name), this.#owner);
  }

  /** For SafeRoot: another handle of the same inode, with a life of its own. */
  reopen(): HeldDirectory {
    return new HeldDirectory(this.#open(this.#openPrefix(), O_PATH | O_DIRECTORY), this.path, this.#owner);
  }

  /** For the owner of the handle. May be called again. */
  close(): void {
    if (this.#prefix === '') return;
    // First of all: the number may belong to another file at once.
    this.#prefix = '';
    closeSync(this.#fd);
  }

  #openRegular(name: string, access: number): OpenedFile {
    const path = systemPath(this.#openPrefix(), name, this.path);
    let fd: number;
    try {
      fd = this.#open(path, access | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
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

  #open(path: string | Buffer, flags: number, mode?: number): number {
    return this.#withRoom(() => openSync(path, flags, mode));
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

  /** The prefix of an open handle. A closed one has a number that is another file by now. */
  #openPrefix(): string {
    if (this.#prefix !== '') return this.#prefix;
    throw new LockstepError('INTERNAL', `the handle of directory "${displayPath(this.path)}" was used after its end`);
  }

  #assertNotRemoved(): void {
    if (this.stat().nlink !== 0) return;
    throw Object.assign(new Error('ENOENT: the directory was removed'), { code: 'ENOENT', syscall: 'fstat' });
  }
}

/** A handle that belongs to the caller: `using directory = root.hold(path)`. */
export class HeldDirectory extends Directory {
  [Symbol.dispose](): void {
    this.close();
  }
}

function ownHandles(): string {
  try {
    return `/proc/${readlinkSync('/proc/self')}/fd/`;
  } catch {
    return '/proc/self/fd/'; // Does not work either; SafeRoot says so when it opens a root.
  }
}
