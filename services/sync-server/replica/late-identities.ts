/**
 * Entries whose inode is known only after the disk operations of a group (contents that are copied or built then). Their
 * paths follow the moves that the group makes meanwhile.
 */
import { errnoOf } from '../../../common/ops/errors.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import { isInside, nameOf, parentOf, rebase, type TreePath } from '../../../common/tree/tree-path.ts';
import { identityOf } from './disk-identity.ts';

export class LateIdentities {
  readonly #index: TreeIndex;
  #paths: TreePath[] = [];

  constructor(index: TreeIndex) {
    this.#index = index;
  }

  clear(): void {
    this.#paths = [];
  }

  add(path: TreePath): void {
    this.#paths.push(path);
  }

  moved(from: TreePath, to: TreePath): void {
    this.#paths = this.#paths.map((path) => (isInside(path, from) ? rebase(path, from, to) : path));
  }

  /** It is gone, or did not come to be. */
  removed(path: TreePath): void {
    this.#paths = this.#paths.filter((late) => !isInside(late, path));
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
    this.#paths = [];
  }
}
