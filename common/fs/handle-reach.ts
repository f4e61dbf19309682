/**
 * Directories through their handles. Node has no openat(2) (nodejs/node#31110). On Linux `/proc/self/fd/N/name` is one: it
 * starts at the open directory, wherever that is now, so nobody can redirect it by swapping a parent for a link.
 */
import { chmodSync, chownSync, closeSync, constants, openSync, readlinkSync, statSync } from 'node:fs';
import { LockstepError } from '../ops/errors.ts';
import { displayPath, type TreePath } from '../tree/tree-path.ts';
import { systemPath } from './component.ts';
import { syncFd } from './full-io.ts';
import { copyByKernel } from './kernel-copy.ts';
import type { Reach } from './reach.ts';
import { handlePath } from './own-handles.ts';
import { type InodeKind, type Stat, statOf } from './stat.ts';

/** A handle that only names an inode: needs no permission on it, and opening has no side effects. Not in fs.constants. */
const O_PATH = 0x200000;
const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = constants;

export class HandleReach implements Reach {
  readonly #path: TreePath;
  readonly #fd: number;
  /** The handle's path, built once: most calls prepend it. Empty once closed. */
  #prefix: string;

  /** Takes over `fd`, an O_PATH handle of a directory. */
  private constructor(fd: number, path: TreePath) {
    this.#fd = fd;
    this.#prefix = `${handlePath(fd)}/`;
    this.#path = path;
  }

  /**
   * The root of a tree. Links in `path` are followed.
   * @throws errno errors; LockstepError IO where handles lead nowhere. Without /proc every name would seem not to exist, and
   *   an entry that does not exist counts as deleted.
   */
  static openRoot(path: string, treePath: TreePath): { readonly reach: HandleReach; readonly resolvedPath: string } {
    const fd = openSync(path, O_PATH | O_DIRECTORY);
    try {
      assertHandlesWork(fd);
      return { reach: new HandleReach(fd, treePath), resolvedPath: readlinkSync(handlePath(fd)) };
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  get own(): string {
    return this.#openPrefix();
  }

  stat(): Stat {
    this.#openPrefix();
    return statOf(this.#fd);
  }

  within<T>(operation: () => T): T {
    return operation();
  }

  pathOf(name: string): string | Buffer {
    return systemPath(this.#openPrefix(), name, this.#path);
  }

  assertNotRemoved(): void {
    if (this.stat().nlink !== 0) return;
    throw Object.assign(new Error('ENOENT: the directory was removed'), { code: 'ENOENT', syscall: 'fstat' });
  }

  open(name: string, flags: number, mode?: number): number {
    return openSync(this.pathOf(name), flags, mode);
  }

  setMode(name: string, mode: number): InodeKind {
    const fd = openSync(this.pathOf(name), O_PATH | O_NOFOLLOW);
    try {
      const { kind } = statOf(fd);
      // fchmod refuses O_PATH handles.
      if (kind === 'file' || kind === 'directory') chmodSync(handlePath(fd), mode);
      return kind;
    } finally {
      closeSync(fd);
    }
  }

  setOwner(name: string, uid: number, gid: number, expected: Pick<Stat, 'dev' | 'ino'>): boolean {
    const fd = openSync(this.pathOf(name), O_PATH | O_NOFOLLOW);
    try {
      const { dev, ino } = statOf(fd);
      if (dev !== expected.dev || ino !== expected.ino) return false;
      // fchown refuses O_PATH handles; of a link this is the link itself.
      chownSync(handlePath(fd), uid, gid);
      return true;
    } finally {
      closeSync(fd);
    }
  }

  copyContent(source: number, target: number): void {
    copyByKernel(source, target, constants.COPYFILE_FICLONE);
  }

  sync(): void {
    const fd = openSync(this.#openPrefix(), O_RDONLY | O_DIRECTORY);
    try {
      syncFd(fd);
    } finally {
      closeSync(fd);
    }
  }

  child(name: string, path: TreePath): HandleReach {
    return new HandleReach(openSync(this.pathOf(name), O_PATH | O_DIRECTORY | O_NOFOLLOW), path);
  }

  again(): HandleReach {
    return new HandleReach(openSync(this.#openPrefix(), O_PATH | O_DIRECTORY), this.#path);
  }

  close(): void {
    if (this.#prefix === '') return;
    // First of all: the number may belong to another file at once.
    this.#prefix = '';
    closeSync(this.#fd);
  }

  /** The prefix of an open handle. A closed one has a number that is another file by now. */
  #openPrefix(): string {
    if (this.#prefix !== '') return this.#prefix;
    throw new LockstepError('INTERNAL', `the handle of directory "${displayPath(this.#path)}" was used after its end`);
  }
}

function assertHandlesWork(fd: number): void {
  const own = statOf(fd);
  let through: { readonly dev: bigint; readonly ino: bigint };
  try {
    through = statSync(`${handlePath(fd)}/`, { bigint: true });
  } catch (error) {
    throw noHandles(error);
  }
  if (through.dev !== own.dev || through.ino !== own.ino) throw noHandles(undefined);
}

function noHandles(cause: unknown): LockstepError {
  return new LockstepError('IO', 'directories cannot be reached through /proc/self/fd; mount /proc', { cause });
}
