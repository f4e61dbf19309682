/**
 * Where the rows of a directory stand between the plan that removes it and the disk that follows, inside of one
 * transaction: below the reserved name, which no change can reach. If the disk refuses, they come back unharmed, and
 * nothing has to be read and hashed again.
 */
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import { isInside, joinPath, type TreePath } from '../../../common/tree/tree-path.ts';
import { GRAVEYARD } from './layout.ts';

export class GraveYard {
  readonly #index: TreeIndex;
  #count = 0;

  constructor(index: TreeIndex) {
    this.#index = index;
  }

  begin(): void {
    this.#count = 0;
  }

  /** Takes a directory with all rows below it out of the tree. Undefined when it had no children: then it is just removed. */
  bury(path: TreePath): TreePath | undefined {
    if (this.#index.countSubtree(path, 2) < 2) {
      this.#index.remove(path);
      return undefined;
    }
    if (this.#count === 0) this.#index.put({ path: GRAVEYARD, kind: 'directory', mode: 0, mtimeNs: 0n }, undefined);
    const grave = joinPath(GRAVEYARD, String(this.#count++));
    this.#index.move(path, grave);
    return grave;
  }

  holds(path: TreePath): boolean {
    return this.#count > 0 && isInside(path, GRAVEYARD);
  }

  /** The disk refused: the rows go back, unless something else took the place meanwhile, or the directory that it was in is gone. */
  restore(grave: TreePath, path: TreePath): void {
    if (this.#index.has(path) || !this.#index.hasPlaceFor(path)) return;
    this.#index.move(grave, path);
  }

  /** Ends the group: what is still buried is gone. */
  clear(): void {
    if (this.#count > 0) this.#index.remove(GRAVEYARD);
    this.#count = 0;
  }
}
