/**
 * Entries whose inode is known only after the disk operations of a group (contents that are copied or built then). Their
 * paths follow the moves that the group makes meanwhile. What is not a directory costs the same however many they are.
 */
import { errnoOf } from '../../../common/ops/errors.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import { isInside, nameOf, parentOf, rebase, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { identityOf } from './disk-identity.ts';

export class LateIdentities {
  readonly #index: TreeIndex;
  readonly #paths = new Set<TreePath>();
  /** Directories that one of them is, or was, in or below. */
  readonly #above = new Set<TreePath>();

  constructor(index: TreeIndex) {
    this.#index = index;
  }

  clear(): void {
    this.#paths.clear();
    this.#above.clear();
  }

  add(path: TreePath): void {
    this.#paths.add(path);
    for (let at = path; at !== ROOT && !this.#above.has(parentOf(at)); at = parentOf(at)) this.#above.add(parentOf(at));
  }

  moved(from: TreePath, to: TreePath): void {
    for (const path of this.#taken(from)) this.add(rebase(path, from, to));
  }

  /** It is gone, or did not come to be. */
  removed(path: TreePath): void {
    this.#taken(path);
  }

  /** Fills in what the disk shows now. */
  resolve(root: SafeRoot): void {
    for (const path of this.#paths) {
      if (!this.#index.has(path)) continue;
      try {
        const stat = root.directory(parentOf(path)).lstat(nameOf(path));
        if (stat?.kind === 'file') this.#index.setIdentity(path, identityOf(stat));
      } catch (error) {
        // Without an identity the entry is hashed when it is next looked at; nothing is lost.
        if (errnoOf(error) === undefined) throw error;
      }
    }
    this.clear();
  }

  /** Takes out those at this path and below. */
  #taken(path: TreePath): readonly TreePath[] {
    const taken = this.#above.has(path) ? [...this.#paths].filter((late) => isInside(late, path)) : [path];
    return taken.filter((late) => this.#paths.delete(late));
  }
}
