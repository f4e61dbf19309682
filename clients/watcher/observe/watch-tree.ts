/**
 * The watched directories as a tree of names, so that a directory that moved takes the watches of everything below it
 * along in one step: the path of an event is that of its node now, not at the time the watch was made (E30). Pure; knows
 * watches only as things to close.
 */
import { componentsOf, nameOf, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';

export interface Watch {
  close(): void;
}

/** Which directory it is: an inode number alone may have been used again (E46). */
export interface DirectoryIdentity {
  readonly ino: bigint;
  readonly birthtimeNs: bigint;
}

export class WatchNode {
  name: string;
  parent: WatchNode | undefined;
  children: Map<string, WatchNode> | undefined;
  /** Undefined for a directory that is only on the way to a watched one. */
  identity: DirectoryIdentity | undefined;
  watch: Watch | undefined;

  constructor(name: string, parent: WatchNode | undefined) {
    this.name = name;
    this.parent = parent;
  }
}

export class WatchTree {
  readonly root = new WatchNode('', undefined);
  readonly #byInode = new Map<bigint, WatchNode>();
  #watchCount = 0;

  get watchCount(): number {
    return this.#watchCount;
  }

  find(path: TreePath): WatchNode | undefined {
    let node: WatchNode | undefined = this.root;
    for (const name of componentsOf(path)) node = node?.children?.get(name);
    return node;
  }

  findByInode(ino: bigint): WatchNode | undefined {
    return this.#byInode.get(ino);
  }

  /** Undefined for a node that was removed: its events say nothing any more. */
  pathOf(node: WatchNode): TreePath | undefined {
    const names: string[] = [];
    let at = node;
    for (; at.parent !== undefined; at = at.parent) names.push(at.name);
    if (at !== this.root) return undefined;
    return names.length === 0 ? ROOT : (names.reverse().join('/') as TreePath);
  }

  /** The node at `path`, made if there is none. */
  ensure(path: TreePath): WatchNode {
    let node = this.root;
    for (const name of componentsOf(path)) {
      let child = node.children?.get(name);
      if (child === undefined) {
        child = new WatchNode(name, node);
        attach(node, child);
      }
      node = child;
    }
    return node;
  }

  identify(node: WatchNode, identity: DirectoryIdentity): void {
    this.#unlist(node);
    node.identity = identity;
    this.#byInode.set(identity.ino, node);
  }

  setWatch(node: WatchNode, watch: Watch | undefined): void {
    this.#watchCount += (watch === undefined ? 0 : 1) - (node.watch === undefined ? 0 : 1);
    node.watch = watch;
  }

  /** Puts a node, with all below it, at another path; what was there before is removed. */
  move(node: WatchNode, path: TreePath): void {
    detach(node);
    const target = this.find(path);
    if (target !== undefined) {
      // Directories below may have been announced before this one: they are newer than what comes with the node.
      if (target.identity === undefined) this.#adoptChildren(node, target);
      this.remove(target);
    }
    node.name = nameOf(path);
    const parent = this.ensure(parentOf(path));
    node.parent = parent;
    attach(parent, node);
  }

  /** Takes a node out, closes its watch and those of everything below. The root stays, without a watch. */
  remove(node: WatchNode): void {
    detach(node);
    const pending = [node];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      at.watch?.close();
      this.setWatch(at, undefined);
      this.#unlist(at);
      at.identity = undefined;
      for (const child of at.children?.values() ?? []) pending.push(child);
      at.children = undefined;
      at.parent = undefined;
    }
  }

  #adoptChildren(node: WatchNode, from: WatchNode): void {
    for (const child of [...(from.children?.values() ?? [])]) {
      const older = node.children?.get(child.name);
      if (older !== undefined) this.remove(older);
      detach(child);
      child.parent = node;
      attach(node, child);
    }
  }

  #unlist(node: WatchNode): void {
    if (node.identity !== undefined && this.#byInode.get(node.identity.ino) === node) {
      this.#byInode.delete(node.identity.ino);
    }
  }
}

function attach(parent: WatchNode, child: WatchNode): void {
  parent.children ??= new Map();
  parent.children.set(child.name, child);
}

function detach(node: WatchNode): void {
  if (node.parent?.children?.get(node.name) === node) node.parent.children.delete(node.name);
  node.parent = undefined;
}
