/**
 * Directories whose names a group changes. Their modification times change with that and are set back once per
 * group (E74); those without the owner's write permission get it for as long as the group works in them (E76).
 * The index says afterwards what mode and time each must have, so a crash in between is repaired from there too.
 */
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { mtimeMatches } from '../../../common/fs/times.ts';
import { errnoOf } from '../../../common/ops/errors.ts';
import { MODE_MASK } from '../../../common/tree/entry.ts';
import { isInside, rebase, type TreePath } from '../../../common/tree/tree-path.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import type { OwnerKeeper } from './owner-keeper.ts';
import { OWNER_WORKS } from './staged-entries.ts';

const MAY_WRITE_ANYWHERE = process.geteuid?.() === 0;

export class TouchedDirectories {
  readonly #root: SafeRoot;
  readonly #index: TreeIndex;
  readonly #owners: OwnerKeeper | undefined;
  /** By path; the value says whether nobody else had changed the directory's names before the group did. */
  readonly #touched = new Map<TreePath, boolean>();

  constructor(root: SafeRoot, index: TreeIndex, owners?: OwnerKeeper) {
    this.#root = root;
    this.#index = index;
    this.#owners = owners;
  }

  /** Every directory touched since the last `restore`. */
  get paths(): readonly TreePath[] {
    return [...this.#touched.keys()];
  }

  /**
   * To be called before a name in the directory is changed. True when its modification time is still what the index
   * says: then no name was added to it or removed from it behind the server's back.
   */
  touch(path: TreePath): boolean {
    const known = this.#touched.get(path);
    if (known !== undefined) return known;
    const directory = this.#root.directory(path);
    const stat = directory.stat();
    const entry = this.#index.get(path);
    const isClean = entry !== undefined && mtimeMatches(entry.mtimeNs, stat.mtimeNs);
    if ((stat.mode & OWNER_WORKS) !== OWNER_WORKS && !MAY_WRITE_ANYWHERE) {
      directory.setOwnMode((stat.mode & MODE_MASK) | OWNER_WORKS);
    }
    this.#touched.set(path, isClean);
    return isClean;
  }

  /** A directory just made, or one whose own metadata is to be set. `isClean`: nobody else can have been in it. */
  add(path: TreePath, isClean = false): void {
    if (!this.#touched.has(path)) this.#touched.set(path, isClean);
  }

  moved(from: TreePath, to: TreePath): void {
    for (const [path, isClean] of [...this.#touched]) {
      if (!isInside(path, from)) continue;
      this.#touched.delete(path);
      this.#touched.set(rebase(path, from, to), isClean);
    }
  }

  removed(path: TreePath): void {
    for (const touched of [...this.#touched.keys()]) {
      if (isInside(touched, path)) this.#touched.delete(touched);
    }
  }

  /** Gives each its owner, mode and time of the index. `onError` gets what cannot be restored. */
  restore(onError: (path: TreePath, error: unknown) => void): void {
    for (const path of this.#touched.keys()) {
      const entry = this.#index.get(path);
      if (entry?.kind !== 'directory') continue;
      try {
        const directory = this.#root.directory(path);
        // What the system refuses is kept as far as can be, and not counted again.
        if (this.#owners?.isKept(entry.owner, directory.stat()) === false)
          this.#owners.giveDirectory(directory, entry.owner, entry.mode);
        if ((directory.stat().mode & 0o7777) !== entry.mode) directory.setOwnMode(entry.mode);
        directory.setOwnMtimeNearest(entry.mtimeNs);
      } catch (error) {
        // Someone else removed or replaced the directory: that is drift, and found as such.
        if (errnoOf(error) === undefined) throw error;
        onError(path, error);
      }
    }
    this.#touched.clear();
  }
}
