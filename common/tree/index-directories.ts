/**
 * Directories by path and by id: the step between the paths that callers speak and the keys of the rows.
 * Keeps a bounded number of them in memory; the tree index tells it when a directory goes or moves.
 */
import type { IndexDatabase } from './index-database.ts';
import { ABOVE_ROOT, ROOT_ID } from './index-schema.ts';
import { damaged, type Query } from './sqlite-query.ts';
import { componentsOf, joinPath, parentOf, ROOT, type TreePath } from './tree-path.ts';

/** Two generations of at most this many paths each are kept: a few megabytes. */
const GENERATION_SIZE = 8_192;

export class IndexDirectories {
  readonly #selectId: Query;
  readonly #selectPlace: Query;
  /** Paths used lately. When full it becomes the old generation, whose paths are forgotten unless used again. */
  #young = new Map<TreePath, number>();
  #old = new Map<TreePath, number>();
  /** Bulk changes stay in one directory for long. */
  #lastPath: TreePath = ROOT;
  #lastId = ROOT_ID;

  constructor(database: IndexDatabase) {
    this.#selectId = database.prepare('SELECT id FROM entries WHERE parent = ? AND name = ?');
    this.#selectPlace = database.prepare('SELECT parent, name FROM entries WHERE id = ?');
  }

  /** Undefined when there is no directory at this path. */
  idOf(path: TreePath): number | undefined {
    if (path === this.#lastPath) return this.#lastId;
    const id = this.#recall(path) ?? this.#lookUp(path);
    if (id !== undefined) {
      this.#lastPath = path;
      this.#lastId = id;
    }
    return id;
  }

  /** The id of the directory `name` inside of a directory. */
  childId(parentId: number, name: string): number | undefined {
    const id = this.#selectId.get(parentId, name)?.[0];
    return typeof id === 'number' ? id : undefined;
  }

  pathOf(id: number): TreePath {
    const names: string[] = [];
    for (let at = id; at !== ROOT_ID; ) {
      const [parent, name] = this.#selectPlace.get(at) ?? [];
      if (typeof parent !== 'number' || typeof name !== 'string' || parent === ABOVE_ROOT) {
        throw damaged('the index holds a directory that is in no directory');
      }
      names.push(name);
      at = parent;
    }
    return names.reverse().join('/') as TreePath;
  }

  remember(path: TreePath, id: number): void {
    if (this.#young.size >= GENERATION_SIZE) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(path, id);
  }

  /** One directory that held no other is gone. */
  forget(path: TreePath): void {
    this.#young.delete(path);
    this.#old.delete(path);
    this.#forgetLast();
  }

  /** Directories moved, or went with what they held. */
  forgetAll(): void {
    this.#young.clear();
    this.#old.clear();
    this.#forgetLast();
  }

  #forgetLast(): void {
    this.#lastPath = ROOT;
    this.#lastId = ROOT_ID;
  }

  #recall(path: TreePath): number | undefined {
    if (path === ROOT) return ROOT_ID;
    const young = this.#young.get(path);
    if (young !== undefined) return young;
    const old = this.#old.get(path);
    if (old !== undefined) this.remember(path, old);
    return old;
  }

  /** Down from the nearest ancestor that is known. A loop, because trees may be deeper than the stack (E05). */
  #lookUp(path: TreePath): number | undefined {
    let at = path;
    let id: number | undefined;
    do at = parentOf(at);
    while ((id = this.#recall(at)) === undefined);
    const names = componentsOf((at === ROOT ? path : path.slice(at.length + 1)) as TreePath);
    for (const name of names) {
      id = this.childId(id, name);
      if (id === undefined) return undefined;
      at = joinPath(at, name);
      this.remember(at, id);
    }
    return id;
  }
}
