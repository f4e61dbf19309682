/**
 * Paths, to be found by the directory that they are in. The root is in none.
 */
import { parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';

export class PathsByDirectory {
  readonly #pathsIn = new Map<TreePath, Set<TreePath>>();

  add(path: TreePath): void {
    if (path === ROOT) return;
    const siblings = this.#pathsIn.get(parentOf(path));
    if (siblings === undefined) this.#pathsIn.set(parentOf(path), new Set([path]));
    else siblings.add(path);
  }

  delete(path: TreePath): void {
    if (path === ROOT) return;
    const siblings = this.#pathsIn.get(parentOf(path));
    siblings?.delete(path);
    if (siblings?.size === 0) this.#pathsIn.delete(parentOf(path));
  }

  clear(): void {
    this.#pathsIn.clear();
  }

  in(directory: TreePath): Iterable<TreePath> {
    return this.#pathsIn.get(directory) ?? [];
  }
}
