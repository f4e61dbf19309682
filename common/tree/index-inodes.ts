/**
 * Entries by inode: which names a file has. An index that costs something with every row, so a tree has it only where
 * somebody asks for it, at once or later.
 */
import { LockstepError } from '../ops/errors.ts';
import type { IndexDatabase } from './index-database.ts';
import type { IndexDirectories } from './index-directories.ts';
import { BELOW, INODE_INDEX, limitTo } from './index-schema.ts';
import type { Query, Row } from './sqlite-query.ts';
import type { TreePath } from './tree-path.ts';

const BY_INODE = 'FROM entries INDEXED BY inodes WHERE ino = ? AND dev = ?';

export class IndexInodes {
  readonly #database: IndexDatabase;
  readonly #directories: IndexDirectories;
  readonly #queries = new Map<string, Query>();
  #isKept: boolean;
  /** It came to be in a transaction of this process, which may be undone yet. */
  #isNew = false;

  constructor(database: IndexDatabase, directories: IndexDirectories) {
    this.#database = database;
    this.#directories = directories;
    this.#isKept = this.#exists();
  }

  get isKept(): boolean {
    return this.#isKept;
  }

  /** From now on, also for the rows that are there: about a second for a million. */
  keep(): void {
    if (this.#isKept) return;
    this.#database.exec(INODE_INDEX);
    this.#isKept = true;
    this.#isNew = true;
  }

  /** A transaction was undone. */
  undone(): void {
    if (this.#isNew) this.#isKept = this.#exists();
  }

  /** What `columns` select of each row, followed by the parent's id. */
  select(columns: string, ino: bigint, dev: bigint, limit: number): readonly Row[] {
    return this.#query(`SELECT ${columns}, parent ${BY_INODE} ${limitTo('?')}`, true).all(ino, dev, limit);
  }

  /** All names of the inode may have changed up to this time. */
  setLaterCtime(dev: bigint, ino: bigint, ctimeNs: bigint): void {
    this.#query(`UPDATE entries INDEXED BY inodes SET ctime_ns = ?1 WHERE ino = ?2 AND dev = ?3 AND ctime_ns < ?1`).run(
      ctimeNs,
      ino,
      dev,
    );
  }

  /** The same for all inodes of which a name is below this directory. */
  setLaterCtimeBelow(directory: TreePath, ctimeNs: bigint): void {
    const id = this.#directories.idOf(directory);
    if (id === undefined) return;
    const below = this.#query(
      `${BELOW} SELECT DISTINCT entries.dev, entries.ino FROM below JOIN entries ON entries.parent = below.id
       WHERE entries.id IS NULL AND entries.ino IS NOT NULL`,
      true,
    ).all(id);
    for (const [dev, ino] of below) {
      if (typeof dev === 'bigint' && typeof ino === 'bigint') this.setLaterCtime(dev, ino, ctimeNs);
    }
  }

  #query(sql: string, bigints = false): Query {
    if (!this.#isKept) throw new LockstepError('INTERNAL', 'the index was opened without this secondary index');
    let query = this.#queries.get(sql);
    if (query === undefined) {
      query = this.#database.prepare(sql, bigints);
      this.#queries.set(sql, query);
    }
    return query;
  }

  #exists(): boolean {
    return (
      this.#database.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = 'inodes'").get() !== undefined
    );
  }
}
