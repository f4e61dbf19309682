/**
 * The tree index: every entry of a folder in one SQLite file, in tree order, with bounded memory. The server keeps in
 * it what the replica holds, the watcher what the server has acknowledged; it knows neither disk nor wire.
 */
import type { Digest } from '../content/digest.ts';
import type { DiskIdentity, Entry, IndexedEntry } from './entry.ts';
import type { IndexDatabase } from './index-database.ts';
import { IndexDigests } from './index-digests.ts';
import { IndexDirectories } from './index-directories.ts';
import { checkIntegrity, createIndexFile, type IndexOptions, openIndexFile } from './index-file.ts';
import { IndexInodes } from './index-inodes.ts';
import { IndexLinks } from './index-links.ts';
import { ABOVE_ROOT } from './index-schema.ts';
import { type ChildPage, IndexReader } from './index-reader.ts';
import type { ChildRow, DigestedEntry } from './index-rows.ts';
import { IndexSettled } from './index-settled.ts';
import { TreeCursor } from './index-walk.ts';
import { IndexWriter } from './index-writer.ts';
import { nameOf, parentOf, ROOT, type TreePath } from './tree-path.ts';

export type { IndexOptions } from './index-file.ts';
export type { ChildPage } from './index-reader.ts';
export type { ChildRow, DigestedEntry } from './index-rows.ts';

/**
 * Used by one thread of one process at a time; every call is synchronous. A change outside of a transaction is one of
 * its own. All methods throw LockstepError INDEX_DAMAGED when they come upon damage, and IO, NO_SPACE or LOCKED for
 * what the system refuses.
 */
export class TreeIndex {
  readonly #database: IndexDatabase;
  readonly #digests: IndexDigests;
  readonly #reader: IndexReader;
  readonly #writer: IndexWriter;
  readonly #inodes: IndexInodes;
  readonly #links: IndexLinks;
  /** Undefined where it was opened without. */
  readonly #settled: IndexSettled | undefined;

  private constructor(database: IndexDatabase, options: IndexOptions) {
    const directories = new IndexDirectories(database);
    this.#database = database;
    this.#digests = new IndexDigests(database, options.digestFunction);
    this.#inodes = new IndexInodes(database, directories);
    this.#links = new IndexLinks(database, directories);
    this.#settled = options.keepsSettled === true ? new IndexSettled(database) : undefined;
    this.#reader = new IndexReader(database, directories, this.#inodes, options);
    this.#writer = new IndexWriter(database, directories, this.#digests);
    database.onUndo = () => {
      directories.forgetAll();
      this.#digests.forgetAll();
      this.#inodes.undone();
      this.#reader.changes++;
    };
  }

  /**
   * Opens an existing index and reads it through once (about 0.3 s per million entries).
   * @throws LockstepError INDEX_DAMAGED when the file is missing, not ours, of an unknown version or another digest
   *   function, or fails the check (E55, E91): the caller decides to rebuild.
   */
  static open(file: string, options: IndexOptions): TreeIndex {
    return TreeIndex.#over(openIndexFile(file, options), options);
  }

  /** Starts with nothing but the root (mode 0755, time 0), in the place of whatever was there. Sets no meta values. */
  static create(file: string, options: IndexOptions): TreeIndex {
    return TreeIndex.#over(createIndexFile(file, options), options);
  }

  static #over(database: IndexDatabase, options: IndexOptions): TreeIndex {
    try {
      return new TreeIndex(database, options);
    } catch (error) {
      database.close();
      throw error;
    }
  }

  getMeta(key: string): string | undefined {
    return this.#database.getMeta(key);
  }

  /** Those whose keys begin with `prefix` (ASCII, not empty), by what follows it: one reading instead of many. */
  allMeta(prefix: string): ReadonlyMap<string, string> {
    return this.#database.allMeta(prefix);
  }

  /** Part of the transaction that is open, if one is. Keys beginning with `index.` are the index's own. */
  setMeta(key: string, value: string): void {
    this.#database.setMeta(key, value);
  }

  get(path: TreePath): IndexedEntry | undefined {
    return this.#reader.get(path);
  }

  has(path: TreePath): boolean {
    return this.#reader.has(path);
  }

  /** Whether something can be put there: what is above is a directory. */
  hasPlaceFor(path: TreePath): boolean {
    return this.#reader.directories.idOf(parentOf(path)) !== undefined;
  }

  /** Names in byte order, all of them unless `page.limit` is given; none when there is no such directory. */
  children(directory: TreePath, page?: ChildPage): IndexedEntry[] {
    return this.#reader.children(directory, page);
  }

  /** The same without contents and paths, at half the cost: for comparing a directory with the disk. */
  childRows(directory: TreePath, page?: ChildPage): ChildRow[] {
    return this.#reader.childRows(directory, page);
  }

  /** Whether the directory holds anything. */
  hasChildren(directory: TreePath): boolean {
    return this.#reader.hasChildren(directory);
  }

  /** Counts up with every change to the entries. */
  get changes(): number {
    return this.#reader.changes;
  }

  /** What `settle` was told of the directory, if no row of what it holds has changed since. Undefined without `keepsSettled`. */
  settledLook(directory: TreePath): string | undefined {
    if (directory === ROOT) return this.#settled?.lookOf(ABOVE_ROOT, '');
    // The directory's own id is asked for only where something in it is.
    const parentId = this.#reader.directories.idOf(parentOf(directory));
    return parentId === undefined ? undefined : this.#settled?.lookOf(parentId, nameOf(directory));
  }

  /** All that the directory holds is on disk as the index has it, which `look` stands for. Does nothing without `keepsSettled`. */
  settle(directory: TreePath, look: string): void {
    this.#settled?.settle(this.#reader.directoryId(directory), look);
  }

  /** The same with the tree digest of each subdirectory. @throws LockstepError ENTRY_NOT_FOUND. */
  recordsWithDigests(directory: TreePath, page?: ChildPage): DigestedEntry[] {
    this.treeDigest(directory);
    return this.#reader.digestedChildren(directory, page);
  }

  /**
   * What lies strictly below `path`, in tree order, after the position `after` (which need not exist). It may be left
   * standing for any time: each step shows the index as it is then.
   */
  *walk(path: TreePath, after?: TreePath): Generator<IndexedEntry, void, void> {
    const cursor = new TreeCursor(this.#reader, path, after);
    for (let entry = cursor.next(); entry !== undefined; entry = cursor.next()) yield entry;
  }

  /** The next `limit` entries of `walk`; the last one's path is where the next page begins. */
  walkPage(path: TreePath, after: TreePath | undefined, limit: number): IndexedEntry[] {
    const cursor = new TreeCursor(this.#reader, path, after, limit);
    const entries: IndexedEntry[] = [];
    while (entries.length < limit) {
      const entry = cursor.next();
      if (entry === undefined) break;
      entries.push(entry);
    }
    return entries;
  }

  /** Entries of the tree without its root. */
  count(): number {
    return this.#database.counters.entries;
  }

  /** Total size of all files. */
  bytes(): number {
    return this.#database.counters.bytes;
  }

  /** Entries that `remove(path)` would remove (for the root: `count()`), counting no further than `limit`. */
  countSubtree(path: TreePath, limit?: number): number {
    return this.#reader.countSubtree(path, limit);
  }

  /** All entries last seen with this inode, or the first few. @throws LockstepError INTERNAL without `indexInodes`. */
  findByInode(dev: bigint, ino: bigint, limit?: number): IndexedEntry[] {
    return this.#reader.findByInode(dev, ino, limit);
  }

  /** Whether `findByInode` can be asked: it was opened with `indexInodes`, or told to `keepInodes` at any time before. */
  get keepsInodes(): boolean {
    return this.#inodes.isKept;
  }

  keepInodes(): void {
    this.#change(() => this.#inodes.keep());
  }

  /** The inode may have changed up to this time without another content: under all of its names. */
  setLaterCtime(dev: bigint, ino: bigint, ctimeNs: bigint): void {
    this.#change(() => this.#inodes.setLaterCtime(dev, ino, ctimeNs));
  }

  /** The same for each inode that has a name in this directory or below, under all of its names. */
  setLaterCtimeBelow(directory: TreePath, ctimeNs: bigint): void {
    this.#change(() => this.#inodes.setLaterCtimeBelow(directory, ctimeNs));
  }

  /** Files of one group are names of one inode on the other side, as far as is known here. */
  linkGroupOf(path: TreePath): number | undefined {
    return this.#links.groupOf(path);
  }

  setLinkGroup(path: TreePath, group: number | undefined): void {
    this.#change(() => this.#links.setGroup(path, group));
  }

  /** Of all that the directory itself holds. Returns how many files had one. */
  forgetLinkGroupsIn(directory: TreePath): number {
    return this.#change(() => this.#links.forgetIn(directory));
  }

  forgetLinkGroups(): number {
    return this.#change(() => this.#links.forgetAll());
  }

  /** One file above 64 KiB with this content. @throws LockstepError INTERNAL without `indexContents`. */
  findByDigest(digest: Digest): IndexedEntry | undefined {
    return this.#reader.findByDigest(digest);
  }

  /**
   * Inserts or replaces. A directory keeps its children when a directory replaces it; any other kind removes them.
   * The root can be put too, as a directory.
   * @throws LockstepError PARENT_MISSING when no directory holds the path.
   */
  put(entry: Entry, identity: DiskIdentity | undefined): void {
    this.#change(() => this.#writer.put(entry, identity));
  }

  /** Undefined makes the entry hearsay again. @throws LockstepError ENTRY_NOT_FOUND. */
  setIdentity(path: TreePath, identity: DiskIdentity | undefined): void {
    this.#change(() => this.#writer.setIdentity(path, identity));
  }

  /** With its subtree. Returns the number of entries removed, 0 when there was none. */
  remove(path: TreePath): number {
    return this.#change(() => this.#writer.remove(path));
  }

  /**
   * One row, however much a directory holds (E64).
   * @throws LockstepError ENTRY_NOT_FOUND, TARGET_EXISTS, PARENT_MISSING (of the target), or MOVE_INTO_SELF.
   */
  move(from: TreePath, to: TreePath): void {
    this.#change(() => this.#writer.move(from, to));
  }

  /**
   * The digest over all that the directory holds, as tree-digest.ts defines it. Costs what changed below it since the
   * last call. @throws LockstepError ENTRY_NOT_FOUND when it is not a directory of the index.
   */
  treeDigest(directory: TreePath): Digest {
    const id = this.#reader.directoryId(directory);
    return this.#atomically(() => this.#digests.digestOf(id));
  }

  /** Reads everything and recomputes every digest: finds single altered bits (E91). @throws LockstepError INDEX_DAMAGED. */
  verify(): void {
    checkIntegrity(this.#database, 'integrity_check');
    this.#digests.verify();
  }

  /**
   * All of `fn` (synchronous) or nothing. May be nested; an inner one that throws undoes only itself. One with some
   * hundred changes or more costs a fraction per change.
   */
  transaction<T>(fn: () => T): T {
    return this.#database.transaction(fn);
  }

  begin(): void {
    this.#database.begin();
  }

  commit(): void {
    this.#database.commit();
  }

  /** Does nothing without a transaction. */
  rollback(): void {
    this.#database.rollback();
  }

  /** What was committed survives a power cut from here on. Not inside a transaction. */
  checkpoint(): void {
    this.#database.checkpoint();
  }

  /** Undoes an open transaction. */
  close(): void {
    this.#database.close();
  }

  #change<T>(fn: () => T): T {
    this.#reader.changes++;
    return this.#atomically(fn);
  }

  #atomically<T>(fn: () => T): T {
    return this.#database.inTransaction ? fn() : this.#database.transaction(fn);
  }
}
