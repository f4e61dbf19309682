/**
 * The paths that a stretch of the log touched, where they are at its end: moves take along what was touched below. A
 * tree by names, so that neither moves nor removals cost more than the path is deep.
 */
import { componentsOf, joinPath, nameOf, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { Change } from './change.ts';

interface Node {
  readonly children: Map<string, Node>;
  isTouched: boolean;
  /** Its content came inside of a batch, and was never synced by itself. */
  isUnsynced: boolean;
}

export interface TouchedPath {
  readonly path: TreePath;
  readonly isUnsynced: boolean;
}

export class TouchedPaths {
  readonly #root = newNode();

  /** A change that the disk took. */
  note(change: Change): void {
    switch (change.operation) {
      case 'put':
        this.removed(change.entry.path);
        this.touch(change.entry.path, change.content.type === 'inline');
        return;
      case 'link':
        this.removed(change.entry.path);
        // What it was linked to may have come in a batch, too.
        this.touch(change.entry.path, true);
        return;
      case 'mkdir':
      case 'symlink':
        this.touch(change.entry.path);
        return;
      case 'metadata':
        this.touch(change.path);
        return;
      case 'move':
        this.moved(change.from, change.to);
        return;
      case 'delete':
        this.removed(change.path);
        return;
    }
  }

  /** Also its parent, whose modification time changed with it. */
  touch(path: TreePath, isUnsynced = false): void {
    const node = this.#nodeAt(path);
    node.isTouched = true;
    node.isUnsynced ||= isUnsynced;
    if (path !== ROOT) this.#nodeAt(parentOf(path)).isTouched = true;
  }

  moved(from: TreePath, to: TreePath): void {
    const node = this.#nodeAt(from);
    this.removed(from);
    this.#nodeAt(parentOf(to)).children.set(nameOf(to), node);
    this.touch(to);
  }

  /** What is below vanished with it. The path itself counts as touched: nothing may be there. */
  removed(path: TreePath): void {
    this.#nodeAt(parentOf(path)).children.set(nameOf(path), newNode());
    this.touch(path);
  }

  /** In no particular order, but a directory before what it holds. */
  *[Symbol.iterator](): Generator<TouchedPath, void, void> {
    const pending: { readonly path: TreePath; readonly node: Node }[] = [{ path: ROOT, node: this.#root }];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
      const { path, node } = next;
      if (node.isTouched) yield { path, isUnsynced: node.isUnsynced };
      for (const [name, child] of node.children) pending.push({ path: joinPath(path, name), node: child });
    }
  }

  #nodeAt(path: TreePath): Node {
    let node = this.#root;
    for (const name of componentsOf(path)) {
      let child = node.children.get(name);
      if (child === undefined) {
        child = newNode();
        node.children.set(name, child);
      }
      node = child;
    }
    return node;
  }
}

function newNode(): Node {
  return { children: new Map(), isTouched: false, isUnsynced: false };
}
