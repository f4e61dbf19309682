/**
 * Directories that a group makes, and fills while they are still in staging: then one rename makes a directory visible
 * with all of its new files, instead of one each. Knows staging and names, neither index nor log.
 *
 * That order is the batch's own as far as anyone can tell: all operations of a group are logged before the first is
 * performed, and making new entries commutes. With the first operation of another sort, filling ends (`clear`).
 */
import { isInside, nameOf, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import type { Filling } from './operation.ts';
import type { StagedEntries } from './staged-entries.ts';

/** Handles held open: as deep as the files of a directory may come behind those of its subdirectories. */
const MAX_OPEN = 16;

/** A new directory in staging. */
export interface Cradle {
  readonly path: TreePath;
  /** What it holds, by name. */
  readonly staged: StagedEntries;
  /** All names that the group has made in it, here or at their path. */
  readonly names: Set<string>;
  readonly filling: Filling;
}

export class Nursery {
  readonly #staged: StagedEntries;
  /** Each inside of the one before. */
  readonly #open: Cradle[] = [];

  constructor(staged: StagedEntries) {
    this.#staged = staged;
  }

  /** A directory was made in staging, with this name, for this path. */
  add(path: TreePath, name: string): Filling {
    this.#leave(path);
    if (this.#open.length >= MAX_OPEN) this.#open.shift()?.staged.directory.close();
    const staged = this.#staged.inside(name);
    const filling = { count: 0, isInstalled: false };
    this.#open.push({ path, staged, names: new Set(), filling });
    return filling;
  }

  /** The new directory that `path` belongs into. Entries are expected in tree order: one that was left is closed. */
  cradleOf(path: TreePath): Cradle | undefined {
    if (this.#open.length === 0) return undefined;
    this.#leave(path);
    const cradle = this.#open.at(-1);
    return cradle !== undefined && cradle.path === parentOf(path) ? cradle : undefined;
  }

  /** Something was made at this path. */
  made(path: TreePath): void {
    const cradle = this.#open.findLast((open) => open.path === parentOf(path));
    cradle?.names.add(nameOf(path));
  }

  /** Nothing more is put into any of them. */
  clear(): void {
    for (const { staged } of this.#open.splice(0)) staged.directory.close();
  }

  #leave(path: TreePath): void {
    for (let last = this.#open.at(-1); last !== undefined && !isInside(path, last.path); last = this.#open.at(-1)) {
      last.staged.directory.close();
      this.#open.pop();
    }
  }
}
