/**
 * Which files the other side has as names of one inode: those of one group. A group is a number without further meaning;
 * a file without one is not known to share its inode there. It stays with the row wherever that is moved.
 */
import type { IndexDatabase } from './index-database.ts';
import type { IndexDirectories } from './index-directories.ts';
import type { Query } from './sqlite-query.ts';
import { nameOf, parentOf, type TreePath } from './tree-path.ts';

const KEY = 'parent = ? AND name = ?';

export class IndexLinks {
  readonly #directories: IndexDirectories;
  readonly #select: Query;
  readonly #set: Query;
  readonly #forgetIn: Query;
  readonly #forgetAll: Query;

  constructor(database: IndexDatabase, directories: IndexDirectories) {
    this.#directories = directories;
    this.#select = database.prepare(`SELECT link_group FROM entries WHERE ${KEY}`);
    this.#set = database.prepare(`UPDATE entries SET link_group = ? WHERE ${KEY}`);
    const forget = 'UPDATE entries SET link_group = NULL WHERE link_group IS NOT NULL';
    this.#forgetIn = database.prepare(`${forget} AND parent = ?`);
    this.#forgetAll = database.prepare(forget);
  }

  groupOf(path: TreePath): number | undefined {
    const parentId = this.#directories.idOf(parentOf(path));
    const group = parentId === undefined ? undefined : this.#select.get(parentId, nameOf(path))?.[0];
    return typeof group === 'number' ? group : undefined;
  }

  setGroup(path: TreePath, group: number | undefined): void {
    const parentId = this.#directories.idOf(parentOf(path));
    if (parentId !== undefined) this.#set.run(group ?? null, parentId, nameOf(path));
  }

  /** Of what the directory itself holds. Returns how many were known. */
  forgetIn(directory: TreePath): number {
    const id = this.#directories.idOf(directory);
    return id === undefined ? 0 : this.#forgetIn.run(id);
  }

  forgetAll(): number {
    return this.#forgetAll.run();
  }
}
