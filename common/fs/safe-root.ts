/**
 * The root of a tree on disk: turns tree paths into open directories, one component at a time, below a root of proven
 * identity. With directory.ts and what that reaches directories by the only owner of path syscalls; what it caches are open
 * handles, never checked paths (S01, S03), except where a system has no handles (path-reach.ts).
 */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { errnoError, errnoOf, LockstepError } from '../ops/errors.ts';
import { isInside, ROOT, type TreePath } from '../tree/tree-path.ts';
import { chooseWay, openRootBy, type Way } from './choose-way.ts';
import { type DescriptorOwner, Directory, type HeldDirectory } from './directory.ts';
import type { Reach } from './reach.ts';

const DEFAULT_MAX_OPEN_DIRECTORIES = 64;
const MIN_OPEN_DIRECTORIES = 8;

/** How many of the handles last returned by `directory` are certain to be open. */
const RECENT_DIRECTORIES = 4;

export interface SafeRootOptions {
  /** Bound of the handles kept open beside the root's own and the held ones. Default 64, at least 8. */
  readonly maxOpenDirectories?: number | undefined;
  /** For tests: another way to reach directories than the system's own. */
  readonly way?: Way | undefined;
}

/**
 * **How long a handle lives.** A `Directory` from `directory` or `tryDirectory` is borrowed: the four that were
 * returned last stay open, older ones may be closed by any further call. `forget`, `forgetAll` and `close` end
 * theirs at once. A handle used after its end throws; it never acts on another directory. `hold` gives one that
 * lives until it is disposed.
 *
 * **What a handle means.** It is the directory that was at the path when it was opened. When this program moves or
 * removes a directory it calls `forget`; where others may have done so (a watched tree), call `forgetAll` before
 * each pass, so that the pass sees the tree as it is now.
 */
export class SafeRoot implements DescriptorOwner {
  /** The root's resolved path when it was opened; for messages only. */
  readonly path: string;
  /** What the operator's path led to when it was opened. The open handle keeps the inode number from being reused. */
  readonly identity: { readonly dev: bigint; readonly ino: bigint };
  /** What the operator gave, absolute, links in it not resolved. */
  readonly #operatorPath: string;
  readonly #root: Directory;
  /** Smaller as soon as the process has found no descriptor left. */
  #maxOpen: number;
  /** By path; least recently used first. */
  readonly #open = new Map<TreePath, Directory>();
  /** A ring of what `directory` returned last; may hold handles that `forget` has ended. */
  readonly #recent: Directory[] = [];
  #nextRecent = 0;

  private constructor(operatorPath: string, reach: Reach, resolvedPath: string, maxOpen: number) {
    const { dev, ino } = reach.stat();
    this.#operatorPath = operatorPath;
    this.#root = new Directory(reach, ROOT, this);
    this.#maxOpen = maxOpen;
    this.identity = { dev, ino };
    this.path = resolvedPath;
  }

  /**
   * Opens a root. Links in the operator's own path are followed, once (E10); all confinement is below what they lead to.
   * @throws LockstepError ROOT_MISSING; USAGE when it is not a directory; IO, PERMISSION_DENIED.
   */
  static open(rootPath: string, options: SafeRootOptions = {}): SafeRoot {
    const operatorPath = resolve(rootPath);
    const { reach, resolvedPath } = openRoot(operatorPath, options.way ?? chooseWay());
    try {
      return new SafeRoot(
        operatorPath,
        reach,
        resolvedPath,
        Math.max(MIN_OPEN_DIRECTORIES, options.maxOpenDirectories ?? DEFAULT_MAX_OPEN_DIRECTORIES),
      );
    } catch (error) {
      reach.close();
      throw error;
    }
  }

  /**
   * Whether the operator's path still leads to this root. Anything but `same` means stop, never "all was deleted".
   * @throws an errno error when that cannot be told (EIO, EACCES, ESTALE), which also means stop.
   */
  checkRoot(): 'same' | 'missing' | 'replaced' {
    let stats: { readonly dev: bigint; readonly ino: bigint } | undefined;
    try {
      stats = statSync(this.#operatorPath, { bigint: true, throwIfNoEntry: false });
    } catch (error) {
      if (errnoOf(error) !== 'ENOTDIR') throw error;
    }
    if (stats === undefined) return 'missing';
    return stats.dev === this.identity.dev && stats.ino === this.identity.ino ? 'same' : 'replaced';
  }

  /**
   * The directory at `path`; the root for `''`. Borrowed, see the class.
   * @throws errno errors: ENOENT, ENOTDIR where a component is anything else, a link included; LockstepError INVALID_PATH.
   */
  directory(path: TreePath): Directory {
    if (path === ROOT) return this.#root;
    const directory = this.#cached(path) ?? this.#walk(path);
    if (this.#recent[this.#nextRecent] !== directory) {
      this.#nextRecent = (this.#nextRecent + 1) % RECENT_DIRECTORIES;
      this.#recent[this.#nextRecent] = directory;
    }
    return directory;
  }

  /** Like `directory`, undefined where there is none: ENOENT, ENOTDIR. */
  tryDirectory(path: TreePath): Directory | undefined {
    try {
      return this.directory(path);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === 'ENOENT' || errno === 'ENOTDIR') return undefined;
      throw error;
    }
  }

  /** Like `directory`, for as long as the caller wants: `using directory = root.hold(path)`. One handle each. */
  hold(path: TreePath): HeldDirectory {
    return this.directory(path).reopen();
  }

  /** Ends the borrowed handles of `path` and of everything below: it was moved or removed. */
  forget(path: TreePath): void {
    for (const [cachedPath, directory] of this.#open) {
      if (isInside(cachedPath, path)) this.#end(cachedPath, directory);
    }
  }

  /** Ends all borrowed handles but the root's. */
  forgetAll(): void {
    this.forget(ROOT);
  }

  /** Keeps fewer from now on; what may be in use stays: the ones returned last, and `inUse`. */
  giveWay(inUse: Directory): boolean {
    const before = this.#open.size;
    const remaining = Math.floor(before / 2);
    this.#maxOpen = Math.max(MIN_OPEN_DIRECTORIES, remaining);
    for (const [path, directory] of this.#open) {
      if (this.#open.size <= remaining) break;
      if (directory !== inUse && !this.#recent.includes(directory)) this.#end(path, directory);
    }
    return this.#open.size < before;
  }

  /** Ends everything but held handles. May be called again. */
  close(): void {
    this.forgetAll();
    this.#root.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #cached(path: TreePath): Directory | undefined {
    const directory = this.#open.get(path);
    if (directory === undefined || directory === this.#recent[this.#nextRecent]) return directory;
    this.#open.delete(path);
    this.#open.set(path, directory);
    return directory;
  }

  /** Opens what is missing between the nearest cached ancestor and `path`. Not recursive: trees are deep (E05). */
  #walk(path: TreePath): Directory {
    let at = path.length;
    let current: Directory | undefined;
    while (current === undefined) {
      at = path.lastIndexOf('/', at - 1);
      if (at <= 0) break;
      current = this.#cached(path.slice(0, at) as TreePath);
    }
    current ??= this.#root;
    let start = current === this.#root ? 0 : at + 1;
    for (;;) {
      const slash = path.indexOf('/', start);
      const name = slash < 0 ? path.slice(start) : path.slice(start, slash);
      current = current.openDirectory(name);
      this.#keep(current.path, current);
      if (slash < 0) return current;
      start = slash + 1;
    }
  }

  /** Makes room first, so that the newest, which the walk stands on, is never the one to go. */
  #keep(path: TreePath, directory: Directory): void {
    if (this.#open.size >= this.#maxOpen) {
      for (const [oldPath, old] of this.#open) {
        if (this.#recent.includes(old)) continue;
        this.#end(oldPath, old);
        break;
      }
    }
    this.#open.set(path, directory);
  }

  #end(path: TreePath, directory: Directory): void {
    this.#open.delete(path);
    directory.close();
  }
}

function openRoot(operatorPath: string, way: Way): { readonly reach: Reach; readonly resolvedPath: string } {
  try {
    return openRootBy(way, operatorPath);
  } catch (error) {
    if (error instanceof LockstepError) throw error;
    switch (errnoOf(error)) {
      case 'ENOENT':
        throw new LockstepError('ROOT_MISSING', `${operatorPath} does not exist`);
      case 'ENOTDIR':
        throw new LockstepError('USAGE', `${operatorPath} is not a directory`);
      default:
        throw errnoError(`open ${operatorPath}`, error);
    }
  }
}
