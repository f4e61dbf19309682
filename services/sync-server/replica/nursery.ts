/**
 * Directories that a group makes, and fills while they are still in staging: then one rename makes a directory visible
 * with all of its new files, instead of one each. Knows staging and names, neither index nor log.
 *
 * That order is the batch's own as far as anyone can tell: all operations of a group are logged before the first is
 * performed, and making new entries commutes. With the first operation of another sort, filling ends (`clear`).
 */
import { nameOf, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import type { Filling } from './operation.ts';
import type { StagedEntries } from './staged-entries.ts';

/** Of the directories that are filled the last ones are held open: files come one directory after the other, nearly. */
const MAX_OPEN = 16;

/** A new directory in staging. */
export interface Cradle {
  /** In staging. */
  readonly name: string;
  /** All names that the group has made in it, here or at their path. */
  readonly names: Set<string>;
  readonly filling: Filling;
}

export class Nursery {
  readonly #staged: StagedEntries;
  /** As many as the group has changes at most. */
  readonly #cradles = new Map<TreePath, Cradle>();
  readonly #open = new Map<Cradle, StagedEntries>();

  constructor(staged: StagedEntries) {
    this.#staged = staged;
  }

  /** A directory was made in staging, with this name, for this path. */
  add(path: TreePath, name: string): Filling {
    const filling = { count: 0, isInstalled: false };
    this.#cradles.set(path, { name, names: new Set(), filling });
    return filling;
  }

  /** The new directory that `path` belongs into. */
  cradleOf(path: TreePath): Cradle | undefined {
    return this.#cradles.size === 0 ? undefined : this.#cradles.get(parentOf(path));
  }

  /** What the cradle holds, by name. */
  inside(cradle: Cradle): StagedEntries {
    const open = this.#open.get(cradle);
    if (open !== undefined) return open;
    for (const [oldest, staged] of this.#open) {
      if (this.#open.size < MAX_OPEN) break;
      this.#open.delete(oldest);
      staged.directory.close();
    }
    const staged = this.#staged.inside(cradle.name);
    this.#open.set(cradle, staged);
    return staged;
  }

  /** Something was made at this path. */
  made(path: TreePath): void {
    this.cradleOf(path)?.names.add(nameOf(path));
  }

  /** Nothing more is put into any of them. */
  clear(): void {
    for (const { directory } of this.#open.values()) directory.close();
    this.#open.clear();
    this.#cradles.clear();
  }
}
