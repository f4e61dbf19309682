/**
 * Changes to the index: one entry is put, moved or removed, and counters, cached directories and tree digests follow.
 * Every method must run inside a transaction: some take several statements.
 */
import { LockstepError } from '../ops/errors.ts';
import { type DiskIdentity, type Entry, sameRecord } from './entry.ts';
import type { IndexDatabase } from './index-database.ts';
import type { IndexDigests } from './index-digests.ts';
import type { IndexDirectories } from './index-directories.ts';
import { ENTRY_COLUMNS, idOfRow, identityValues, indexedEntry, recordValues } from './index-rows.ts';
import { ABOVE_ROOT, BELOW } from './index-schema.ts';
import type { Query } from './sqlite-query.ts';
import { displayPath, isInside, nameOf, parentOf, ROOT, type TreePath } from './tree-path.ts';

/** Where an entry's row is. */
interface Place {
  readonly parentId: number;
  readonly name: string;
}

const VALUE_COLUMNS = 'kind, mode, mtime_ns, size, digest, target, owner, dev, ino, ctime_ns, disk_mtime_ns, disk_size';
const KEY = 'parent = ? AND name = ?';

export class IndexWriter {
  readonly #database: IndexDatabase;
  readonly #directories: IndexDirectories;
  readonly #digests: IndexDigests;
  readonly #insert: Query;
  readonly #select: Query;
  readonly #replace: Query;
  readonly #setIdentity: Query;
  readonly #move: Query;
  readonly #delete: Query;
  readonly #deleteBelow: Query;
  readonly #sumBelow: Query;

  constructor(database: IndexDatabase, directories: IndexDirectories, digests: IndexDigests) {
    this.#database = database;
    this.#directories = directories;
    this.#digests = digests;
    this.#insert = database.prepare(
      `INSERT INTO entries (parent, name, id, ${VALUE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO NOTHING`,
    );
    this.#select = database.prepare(`SELECT ${ENTRY_COLUMNS} FROM entries WHERE ${KEY}`, true);
    // A directory that stays a directory keeps its id, and with it its children and their digest.
    this.#replace = database.prepare(
      `UPDATE entries SET tree_digest = iif(id IS ?1, tree_digest, NULL), id = ?1, (${VALUE_COLUMNS}) =
       (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) WHERE parent = ?14 AND name = ?15`,
    );
    this.#setIdentity = database.prepare(
      `UPDATE entries SET dev = ?, ino = ?, ctime_ns = ?, disk_mtime_ns = ?, disk_size = ? WHERE ${KEY}`,
    );
    this.#move = database.prepare(`UPDATE entries SET parent = ?, name = ? WHERE ${KEY}`);
    this.#delete = database.prepare(`DELETE FROM entries WHERE ${KEY}`);
    this.#deleteBelow = database.prepare(`${BELOW} DELETE FROM entries WHERE parent IN (SELECT id FROM below)`);
    this.#sumBelow = database.prepare(
      `${BELOW} SELECT count(*), total(size) FROM entries WHERE parent IN (SELECT id FROM below)`,
    );
  }

  put(entry: Entry, identity: DiskIdentity | undefined): void {
    const place = this.#placeOf(entry.path);
    if (place === undefined) throw parentMissing(entry.path);
    const counters = this.#database.counters;
    const isDirectory = entry.kind === 'directory';
    const id = isDirectory ? counters.nextId : null;
    const record = recordValues(entry);
    const disk = identityValues(identity);
    if (this.#insert.run(place.parentId, place.name, id, ...record, ...disk) === 0) {
      this.#replaceEntry(place, entry, identity);
      return;
    }
    counters.entries++;
    if (entry.kind === 'file') counters.bytes += entry.sizeBytes;
    if (isDirectory) this.#directories.remember(entry.path, counters.nextId++);
    this.#digests.markDirty(place.parentId);
  }

  #replaceEntry(place: Place, entry: Entry, identity: DiskIdentity | undefined): void {
    const row = this.#select.get(place.parentId, place.name);
    if (row === undefined) throw new LockstepError('INTERNAL', 'an entry of the index vanished while it was replaced');
    const old = indexedEntry(entry.path, row);
    if (sameRecord(old, entry)) {
      this.#setIdentity.run(...identityValues(identity), place.parentId, place.name);
      return;
    }
    if (entry.path === ROOT && entry.kind !== 'directory') {
      throw new LockstepError('INVALID_PATH', 'the root of a folder can only be a directory');
    }
    const counters = this.#database.counters;
    const oldId = idOfRow(row);
    let id: number | undefined;
    if (entry.kind === 'directory') id = oldId ?? counters.nextId++;
    else if (oldId !== undefined) this.#removeBelow(oldId, entry.path);
    this.#replace.run(id ?? null, ...recordValues(entry), ...identityValues(identity), place.parentId, place.name);
    counters.bytes += fileBytes(entry) - fileBytes(old);
    this.#digests.markDirty(place.parentId);
  }

  setIdentity(path: TreePath, identity: DiskIdentity | undefined): void {
    const place = this.#placeOf(path);
    const changed = place && this.#setIdentity.run(...identityValues(identity), place.parentId, place.name);
    if (changed !== 1) throw notFound(path);
  }

  remove(path: TreePath): number {
    if (path === ROOT) throw new LockstepError('INVALID_PATH', 'the root of a folder cannot be removed from its index');
    const place = this.#placeOf(path);
    const row = place && this.#select.get(place.parentId, place.name);
    if (place === undefined || row === undefined) return 0;
    const id = idOfRow(row);
    const removed = 1 + (id === undefined ? 0 : this.#removeBelow(id, path));
    this.#delete.run(place.parentId, place.name);
    this.#database.counters.entries--;
    this.#database.counters.bytes -= fileBytes(indexedEntry(path, row));
    this.#digests.markDirty(place.parentId);
    return removed;
  }

  /** What the directory holds; the directory's own row is the caller's. Returns the number of entries. */
  #removeBelow(id: number, path: TreePath): number {
    const [entries, bytes] = this.#sumBelow.get(id) ?? [];
    if (entries === 0) {
      this.#directories.forget(path);
      return 0;
    }
    const removed = this.#deleteBelow.run(id);
    this.#directories.forgetAll();
    this.#database.counters.entries -= removed;
    this.#database.counters.bytes -= Number(bytes);
    return removed;
  }

  move(from: TreePath, to: TreePath): void {
    if (isInside(to, from)) {
      throw new LockstepError('MOVE_INTO_SELF', `${displayPath(from)} cannot be moved to ${displayPath(to)}`, {
        path: from,
      });
    }
    const source = this.#placeOf(from);
    const row = source && this.#select.get(source.parentId, source.name);
    if (source === undefined || row === undefined) throw notFound(from);
    const target = this.#placeOf(to);
    if (target === undefined) throw parentMissing(to);
    if (this.#select.get(target.parentId, target.name) !== undefined) {
      throw new LockstepError('TARGET_EXISTS', `${displayPath(to)} exists already`, { path: to });
    }
    this.#move.run(target.parentId, target.name, source.parentId, source.name);
    if (idOfRow(row) !== undefined) this.#directories.forgetAll();
    this.#digests.markDirty(source.parentId);
    this.#digests.markDirty(target.parentId);
  }

  /** Undefined when the parent is no directory of the index. */
  #placeOf(path: TreePath): Place | undefined {
    if (path === ROOT) return { parentId: ABOVE_ROOT, name: '' };
    const parentId = this.#directories.idOf(parentOf(path));
    return parentId === undefined ? undefined : { parentId, name: nameOf(path) };
  }
}

function fileBytes(entry: Entry): number {
  return entry.kind === 'file' ? entry.sizeBytes : 0;
}

function parentMissing(path: TreePath): LockstepError {
  return new LockstepError('PARENT_MISSING', `the index has no directory for ${displayPath(path)}`, { path });
}

function notFound(path: TreePath): LockstepError {
  return new LockstepError('ENTRY_NOT_FOUND', `the index has no entry ${displayPath(path)}`, { path });
}
