/**
 * Directories by their paths, for systems that show no handles (macOS, Windows). Before and after each operation every component
 * from the root down is held, without following links, against the inode that it was when it was opened.
 *
 * **Weaker than handles.** Who swaps a parent for a link *between* the look before and the call, and has swapped it back before the look
 * after, goes unnoticed; who has not, is noticed when the call is done: it then throws although it had its effect, perhaps
 * elsewhere. Every call costs two looks at each component, a path ends at the system's PATH_MAX, and one open
 * directory that somebody moves is lost, where a handle would go along.
 */
import { chmodSync, closeSync, constants, lchownSync, lstatSync, openSync, realpathSync } from 'node:fs';
import { errnoOf, LockstepError } from '../ops/errors.ts';
import { displayPath, type TreePath } from '../tree/tree-path.ts';
import { assertComponent } from './component.ts';
import { fchmod } from './descriptor.ts';
import { syncFd } from './full-io.ts';
import { isOneInode } from './inode.ts';
import type { Reach } from './reach.ts';
import { copySparsely } from './sparse-file.ts';
import { type InodeKind, type Stat, statOf, toStat } from './stat.ts';
import { SYSTEM } from './system.ts';
import { toSystemName } from './system-name.ts';

// Windows has not all of them; there they are undefined, which is 0 in what follows, and `open` looks at what it got.
const { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants;

const SLASH = Buffer.from('/');
const STAT_OPTIONS = { bigint: true, throwIfNoEntry: false } as const;

/** The bytes that stand for a component in a directory with this path. Tests have others. */
export type SystemNames = (name: string, directory: Buffer) => Buffer;

/** One component on the way from the root, as it was when it was opened. */
interface Link {
  readonly path: Buffer;
  readonly dev: bigint;
  readonly ino: bigint;
  readonly above: Link | undefined;
}

interface OpenedLink {
  readonly link: Link;
  readonly fd: number | undefined;
}

export class PathReach implements Reach {
  readonly #treePath: TreePath;
  readonly #link: Link;
  /** Keeps the inode's number from being given to another one; undefined where the directory may not be read. */
  readonly #fd: number | undefined;
  readonly #names: SystemNames;
  #isOpen = true;

  private constructor(link: Link, treePath: TreePath, names: SystemNames, fd: number | undefined) {
    this.#link = link;
    this.#treePath = treePath;
    this.#names = names;
    this.#fd = fd;
  }

  /** The root of a tree. Links in `path` are followed, once. @throws errno errors */
  static openRoot(
    path: string,
    treePath: TreePath,
    names: SystemNames = (name) => toSystemName(name, SYSTEM),
  ): { readonly reach: PathReach; readonly resolvedPath: string } {
    const resolved = realpathSync.native(path, { encoding: 'buffer' });
    const { link, fd } = openLink(resolved, undefined);
    return { reach: new PathReach(link, treePath, names, fd), resolvedPath: resolved.toString() };
  }

  get own(): Buffer {
    this.#assertOpen();
    return this.#link.path;
  }

  stat(): Stat {
    this.#assertOpen();
    return this.#prove();
  }

  within<T>(operation: () => T): T {
    this.#assertOpen();
    this.#prove();
    try {
      return operation();
    } finally {
      // Also behind an error: "there is no such file" may be an answer about another directory.
      this.#prove();
    }
  }

  pathOf(name: string): Buffer {
    this.#assertOpen();
    assertComponent(name, this.#treePath);
    return below(this.#link.path, this.#names(name, this.#link.path));
  }

  assertNotRemoved(): void {
    this.#prove();
  }

  open(name: string, flags: number, mode?: number): number {
    const path = this.pathOf(name);
    let opened = undefined as number | undefined;
    try {
      return this.within(() => {
        opened = openSync(path, flags, mode);
        const stat = statOf(opened);
        const there = lstatSync(path, STAT_OPTIONS);
        if (there === undefined || !isOneInode(there, stat)) throw stale(this.#treePath);
        return opened;
      });
    } catch (error) {
      if (opened !== undefined) closeSync(opened);
      throw error;
    }
  }

  setMode(name: string, mode: number): InodeKind {
    const path = this.pathOf(name);
    return this.within(() => {
      const { kind } = toStat(lstatSync(path, { bigint: true }));
      if (kind !== 'file' && kind !== 'directory') return kind;
      let fd: number;
      try {
        fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      } catch (error) {
        // Entries without any permission are to be given some, too (E76): by name, in the window that the file's comment tells of.
        if (errnoOf(error) !== 'EACCES') throw error;
        chmodSync(path, mode);
        return kind;
      }
      try {
        fchmod(fd, mode);
      } finally {
        closeSync(fd);
      }
      return kind;
    });
  }

  setOwner(name: string, uid: number, gid: number, expected: Pick<Stat, 'dev' | 'ino'>): boolean {
    const path = this.pathOf(name);
    return this.within(() => {
      if (!isOneInode(lstatSync(path, { bigint: true }), expected)) return false;
      // By name, in the window that the file's comment tells of.
      lchownSync(path, uid, gid);
      return true;
    });
  }

  copyContent(source: number, target: number): void {
    copySparsely(source, target);
  }

  sync(): void {
    // Windows has no such call for directories.
    if (SYSTEM === 'win32') return;
    this.within(() => {
      const fd = this.#fd ?? openSync(this.#link.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      try {
        syncFd(fd);
      } finally {
        if (fd !== this.#fd) closeSync(fd);
      }
    });
  }

  child(name: string, path: TreePath): PathReach {
    const systemPath = this.pathOf(name);
    return this.#opened(path, () => openLink(systemPath, this.#link));
  }

  again(): PathReach {
    this.#assertOpen();
    return this.#opened(this.#treePath, () => {
      const again = openLink(this.#link.path, this.#link.above);
      if (isOneInode(again.link, this.#link)) return again;
      if (again.fd !== undefined) closeSync(again.fd);
      throw stale(this.#treePath);
    });
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    if (this.#fd !== undefined) closeSync(this.#fd);
  }

  #opened(treePath: TreePath, open: () => OpenedLink): PathReach {
    let opened = undefined as OpenedLink | undefined;
    try {
      return this.within(() => {
        opened = open();
        return new PathReach(opened.link, treePath, this.#names, opened.fd);
      });
    } catch (error) {
      if (opened?.fd !== undefined) closeSync(opened.fd);
      throw error;
    }
  }

  /** Holds every component against what it was. @throws ENOENT where none is there any more, ESTALE where another one is */
  #prove(): Stat {
    let own: Stat | undefined;
    let wrong: Error | undefined;
    for (let link: Link | undefined = this.#link; link !== undefined; link = link.above) {
      const stats = lstatSync(link.path, STAT_OPTIONS);
      // The outermost one tells: below what has gone nothing is there either.
      if (stats === undefined && link.above !== undefined) wrong = gone(this.#treePath);
      else if (stats === undefined || !isOneInode(stats, link)) wrong = stale(this.#treePath);
      else own ??= toStat(stats);
    }
    if (wrong !== undefined || own === undefined) throw wrong ?? stale(this.#treePath);
    return own;
  }

  #assertOpen(): void {
    if (this.#isOpen) return;
    throw new LockstepError(
      'INTERNAL',
      `the handle of directory "${displayPath(this.#treePath)}" was used after its end`,
    );
  }
}

function below(directory: Buffer, name: Buffer): Buffer {
  return directory.at(-1) === SLASH[0] ? Buffer.concat([directory, name]) : Buffer.concat([directory, SLASH, name]);
}

/** Opens a directory, where it may be read, and tells which it is. ENOTDIR for anything else, links included. */
function openLink(path: Buffer, above: Link | undefined): OpenedLink {
  const stats = lstatSync(path, { bigint: true });
  if (!stats.isDirectory()) throw errnoLike('ENOTDIR', 'not a directory', 'lstat');
  const { dev, ino } = stats;
  const link = { path, dev, ino, above };
  // There an open directory keeps everything above it from being moved.
  if (SYSTEM === 'win32') return { link, fd: undefined };
  let fd: number;
  try {
    fd = openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  } catch (error) {
    if (errnoOf(error) !== 'EACCES') throw error;
    return { link, fd: undefined };
  }
  try {
    if (isOneInode(statOf(fd), link)) return { link, fd };
    throw errnoLike('ESTALE', 'a directory changed while it was opened', 'open');
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function gone(path: TreePath): Error {
  return errnoLike('ENOENT', `the directory "${displayPath(path)}" was removed or moved`, 'lstat');
}

function stale(path: TreePath): Error {
  return errnoLike('ESTALE', `something else stands where the directory "${displayPath(path)}" was`, 'lstat');
}

function errnoLike(code: string, message: string, syscall: string): Error {
  return Object.assign(new Error(`${code}: ${message}`), { code, syscall });
}
