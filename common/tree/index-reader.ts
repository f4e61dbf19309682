/**
 * Reading the index: single entries, directories page by page, and lookups by inode and content.
 * Writes nothing.
 */
import type { Digest } from '../content/digest.ts';
import { LockstepError } from '../ops/errors.ts';
import type { IndexedEntry } from './entry.ts';
import type { IndexDatabase } from './index-database.ts';
import type { IndexDirectories } from './index-directories.ts';
import type { IndexOptions } from './index-file.ts';
import type { IndexInodes } from './index-inodes.ts';
import {
  type ChildRow,
  childRow,
  type DigestedEntry,
  digestedEntry,
  ENTRY_COLUMNS,
  indexedEntry,
  LIGHT_COLUMNS,
  LIGHT_COLUMNS_WITH_OWNER,
  nameOfRow,
} from './index-rows.ts';
import { ABOVE_ROOT, BELOW, FINDABLE_SIZE_BYTES, limitTo } from './index-schema.ts';
import type { WalkSource } from './index-walk.ts';
import type { Query, Row } from './sqlite-query.ts';
import { displayPath, joinPath, nameOf, parentOf, ROOT, type TreePath } from './tree-path.ts';

/** A part of a directory. */
export interface ChildPage {
  /** Start behind this name, which need not exist. Default: at the first. */
  readonly after?: string;
  /** At most this many. Default: all. */
  readonly limit?: number;
}

/** SQLite's "no limit". */
const ALL = -1;
const FROM_DIRECTORY = `FROM entries WHERE parent = ? AND name > ? ORDER BY name ${limitTo('?')}`;

export class IndexReader implements WalkSource {
  readonly directories: IndexDirectories;
  readonly selectChildren: Query;
  /** Counts up with every change to the rows. */
  changes = 0;
  readonly #select: Query;
  readonly #selectKind: Query;
  readonly #selectLight: Query;
  readonly #selectDigested: Query;
  readonly #countBelow: Query;
  readonly #selectAny: Query;
  readonly #inodes: IndexInodes;
  readonly #byDigest: Query | undefined;

  constructor(
    database: IndexDatabase,
    directories: IndexDirectories,
    inodes: IndexInodes,
    options: Pick<IndexOptions, 'indexContents' | 'listsOwners'>,
  ) {
    this.directories = directories;
    this.#inodes = inodes;
    this.selectChildren = database.prepare(`SELECT ${ENTRY_COLUMNS} ${FROM_DIRECTORY}`, true);
    const lightColumns = options.listsOwners === true ? LIGHT_COLUMNS_WITH_OWNER : LIGHT_COLUMNS;
    this.#selectLight = database.prepare(`SELECT ${lightColumns} ${FROM_DIRECTORY}`, true);
    this.#selectDigested = database.prepare(`SELECT ${ENTRY_COLUMNS}, tree_digest ${FROM_DIRECTORY}`, true);
    this.#select = database.prepare(`SELECT ${ENTRY_COLUMNS} FROM entries WHERE parent = ? AND name = ?`, true);
    this.#selectKind = database.prepare('SELECT kind FROM entries WHERE parent = ? AND name = ?');
    this.#selectAny = database.prepare('SELECT 1 FROM entries WHERE parent = ? LIMIT 1');
    this.#countBelow = database.prepare(
      `${BELOW} SELECT count(*) FROM (
         SELECT 1 FROM below JOIN entries ON entries.parent = below.id ${limitTo('?2')}
       )`,
    );
    this.#byDigest =
      options.indexContents === true
        ? database.prepare(
            `SELECT ${ENTRY_COLUMNS}, parent FROM entries INDEXED BY contents
             WHERE digest = ? AND size > ${FINDABLE_SIZE_BYTES} LIMIT 1`,
            true,
          )
        : undefined;
  }

  get(path: TreePath): IndexedEntry | undefined {
    const row = this.#rowOf(this.#select, path);
    return row && indexedEntry(path, row);
  }

  has(path: TreePath): boolean {
    return this.#rowOf(this.#selectKind, path) !== undefined;
  }

  children(directory: TreePath, page?: ChildPage): IndexedEntry[] {
    const rows = this.#rowsIn(this.selectChildren, directory, page);
    return rows.map((row) => indexedEntry(joinPath(directory, nameOfRow(row)), row));
  }

  hasChildren(directory: TreePath): boolean {
    const id = this.directories.idOf(directory);
    return id !== undefined && this.#selectAny.get(id) !== undefined;
  }

  childRows(directory: TreePath, page?: ChildPage): ChildRow[] {
    return this.#rowsIn(this.#selectLight, directory, page).map(childRow);
  }

  /** The digests must have been computed. */
  digestedChildren(directory: TreePath, page?: ChildPage): DigestedEntry[] {
    const rows = this.#rowsIn(this.#selectDigested, directory, page);
    return rows.map((row) => digestedEntry(joinPath(directory, nameOfRow(row)), row));
  }

  countSubtree(path: TreePath, limit = Number.MAX_SAFE_INTEGER): number {
    if (limit <= 0 || !this.has(path)) return 0;
    const own = path === ROOT ? 0 : 1;
    const id = this.directories.idOf(path);
    return id === undefined ? own : own + Number(this.#countBelow.get(id, limit - own)?.[0]);
  }

  /** @throws LockstepError ENTRY_NOT_FOUND. */
  directoryId(path: TreePath): number {
    const id = this.directories.idOf(path);
    if (id !== undefined) return id;
    throw new LockstepError('ENTRY_NOT_FOUND', `the index has no directory ${displayPath(path)}`, { path });
  }

  findByInode(dev: bigint, ino: bigint, limit = ALL): IndexedEntry[] {
    return this.#inodes.select(ENTRY_COLUMNS, ino, dev, limit).map((row) => this.#entryOf(row));
  }

  findByDigest(digest: Digest): IndexedEntry | undefined {
    const query = this.#byDigest;
    if (query === undefined) throw new LockstepError('INTERNAL', 'the index was opened without this secondary index');
    const row = query.get(digest);
    return row && this.#entryOf(row);
  }

  /** Of a row that ends with its parent's id. */
  #entryOf(row: Row): IndexedEntry {
    const parentId = Number(row.at(-1));
    if (parentId === ABOVE_ROOT) return indexedEntry(ROOT, row);
    return indexedEntry(joinPath(this.directories.pathOf(parentId), nameOfRow(row)), row);
  }

  #rowOf(query: Query, path: TreePath): Row | undefined {
    if (path === ROOT) return query.get(ABOVE_ROOT, '');
    const parentId = this.directories.idOf(parentOf(path));
    return parentId === undefined ? undefined : query.get(parentId, nameOf(path));
  }

  #rowsIn(query: Query, directory: TreePath, page: ChildPage = {}): readonly Row[] {
    const id = this.directories.idOf(directory);
    return id === undefined ? [] : query.all(id, page.after ?? '', page.limit ?? ALL);
  }
}
