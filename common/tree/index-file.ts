/**
 * Creating and opening the index's file. Opening is suspicious: nothing of a file that is not wholly ours is used.
 * Knows the tables' existence, not what an entry is.
 */
import { closeSync, existsSync, openSync, readSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { DigestFunction } from '../content/digest.ts';
import { errnoError, LockstepError } from '../ops/errors.ts';
import { IndexDatabase } from './index-database.ts';
import {
  ABOVE_ROOT,
  APPLICATION_ID,
  CONTENT_INDEX,
  FIRST_FREE_ID,
  FIRST_VERSION,
  INODE_INDEX,
  ROOT_ID,
  SCHEMA_VERSION,
  SETTLED_DIRECTORIES,
  TABLES,
  UPGRADES,
} from './index-schema.ts';
import { damaged, sqliteError } from './sqlite-query.ts';
import { KIND_CODES } from './tree-digest.ts';

export interface IndexOptions {
  readonly digestFunction: DigestFunction;
  /** Keep what `findByInode` needs; about 20 bytes per entry. Default false. */
  readonly indexInodes?: boolean;
  /** Keep what `findByDigest` needs. Default false. */
  readonly indexContents?: boolean;
  /** What `childRows` gives tells the owners, too, which costs a blob a row. Default false. */
  readonly listsOwners?: boolean;
  /** Keep what `settle` is told; a statement more for each change. Default false. */
  readonly keepsSettled?: boolean;
}

/**
 * SQLite's own cache of pages, beside the system's. Neither a first sync of 100,000 files nor a look at as many that are unchanged takes
 * longer than with 16 MiB; with 1,000,000 it would stay that large for good.
 */
const CACHE_KIB = 2_048;
/** Pages of 4 KiB after which SQLite checkpoints by itself: 32 MiB, seldom enough not to stall a bulk of changes. */
const AUTO_CHECKPOINT_PAGES = 8_192;
const BUSY_TIMEOUT_MS = 5_000;
const DIGEST_FUNCTION_KEY = 'index.digest_function';

/** Opens what `createIndexFile` made. @throws LockstepError INDEX_DAMAGED when it is missing, foreign or broken (E55, E91). */
export function openIndexFile(file: string, options: IndexOptions): IndexDatabase {
  if (!existsSync(file)) throw damaged('there is no index');
  try {
    checkFileFormat(file);
    return connect(file, (database) => {
      checkFormat(database);
      checkTables(database);
      configure(database);
      database.loadCounters();
      checkIntegrity(database, 'quick_check');
      checkContent(database, options);
      createIndexes(database, options);
    });
  } catch (error) {
    // What SQLite does not even call corrupt ("unsupported file format") is no defect of ours here.
    if (error instanceof LockstepError && error.reason === 'INTERNAL') throw damaged('the index is unreadable', error);
    throw error;
  }
}

/** Starts empty, in the place of whatever was there. */
export function createIndexFile(file: string, options: IndexOptions): IndexDatabase {
  try {
    for (const suffix of ['', '-wal', '-shm', '-journal']) rmSync(`${file}${suffix}`, { force: true });
  } catch (error) {
    throw errnoError('remove the old index', error);
  }
  return connect(file, (database) => {
    configure(database);
    database.transaction(() => {
      database.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}; ${TABLES}`);
      database.prepare('INSERT INTO counters VALUES (1, 0, 0, ?)').run(FIRST_FREE_ID);
      database
        .prepare(`INSERT INTO entries (parent, name, id, kind, mode, mtime_ns) VALUES (?, '', ?, ?, ?, 0)`)
        .run(ABOVE_ROOT, ROOT_ID, KIND_CODES.directory, 0o755);
      database.setMeta(DIGEST_FUNCTION_KEY, options.digestFunction);
    });
    createIndexes(database, options);
  });
}

/** Reads the whole file for structural damage. @throws LockstepError INDEX_DAMAGED. */
export function checkIntegrity(database: IndexDatabase, pragma: 'quick_check' | 'integrity_check'): void {
  const verdict = database.prepare(`PRAGMA ${pragma}(1)`).get()?.[0];
  // The verdict's first line only names the database.
  if (verdict !== 'ok') throw damaged(`the index is damaged (${String(verdict).replace(/^\*.*\n/, '')})`);
  const counted = database.prepare('SELECT count(*) - 1 FROM entries').get()?.[0];
  if (counted !== database.counters.entries) throw damaged('the index does not hold what it has counted');
}

function connect(file: string, prepare: (database: IndexDatabase) => void): IndexDatabase {
  let db: DatabaseSync;
  try {
    db = new DatabaseSync(file, { timeout: BUSY_TIMEOUT_MS });
  } catch (error) {
    throw sqliteError(error);
  }
  try {
    const database = new IndexDatabase(db);
    prepare(database);
    return database;
  } catch (error) {
    db.close();
    throw error;
  }
}

/**
 * SQLite opens a file of a write version that it does not know for reading only, which would pass for a file system
 * that is (https://sqlite.org/fileformat.html, 1.3.3).
 */
function checkFileFormat(file: string): void {
  const header = readStart(file, 20);
  if (header.length < 20 || header.readUInt8(18) > 2) throw damaged('the index is no database');
}

function readStart(file: string, lengthBytes: number): Buffer {
  const start = Buffer.alloc(lengthBytes);
  try {
    const fd = openSync(file, 'r');
    try {
      return start.subarray(0, readSync(fd, start));
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw errnoError('read the index', error);
  }
}

function checkFormat(database: IndexDatabase): void {
  const applicationId = database.prepare('PRAGMA application_id').get()?.[0];
  if (applicationId !== APPLICATION_ID) throw damaged('the index is not one of this program');
  const version = database.prepare('PRAGMA user_version').get()?.[0];
  const isKnown = typeof version === 'number' && version >= FIRST_VERSION && version <= SCHEMA_VERSION;
  if (!isKnown) throw damaged(`the index has version ${String(version)}, not ${SCHEMA_VERSION}`);
  if (version === SCHEMA_VERSION) return;
  // All of it or nothing: a crash in between leaves the old version. What the tables are then is looked at as ever.
  const steps = [...UPGRADES.slice(version - FIRST_VERSION), `PRAGMA user_version = ${SCHEMA_VERSION}`];
  database.transaction(() => database.exec(steps.join(';')));
}

/** Statement by statement the tables that this version makes; only what is optional may be missing. */
function checkTables(database: IndexDatabase): void {
  ownSchema ??= makeSchema();
  const found = schemaOf(database);
  const isOurs = isSubset(ownSchema.required, found) && isSubset(found, ownSchema.known);
  if (!isOurs) throw damaged('the index has other tables');
}

/** In SQLite's own words; the same at every opening. */
let ownSchema: { readonly required: ReadonlySet<string>; readonly known: ReadonlySet<string> } | undefined;

function makeSchema(): typeof ownSchema & {} {
  const fresh = new DatabaseSync(':memory:');
  try {
    const expected = new IndexDatabase(fresh);
    expected.exec(TABLES);
    const required = schemaOf(expected);
    expected.exec(`${INODE_INDEX}; ${CONTENT_INDEX}; ${SETTLED_DIRECTORIES}`);
    return { required, known: schemaOf(expected) };
  } finally {
    fresh.close();
  }
}

function schemaOf(database: IndexDatabase): Set<string> {
  const rows = database.prepare('SELECT type, name, tbl_name, sql FROM sqlite_schema').all();
  return new Set(rows.map((row) => JSON.stringify(row)));
}

function isSubset(part: ReadonlySet<string>, whole: ReadonlySet<string>): boolean {
  return part.values().every((each) => whole.has(each));
}

function configure(database: IndexDatabase): void {
  database.exec(`
    PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = ${AUTO_CHECKPOINT_PAGES};
    PRAGMA cache_size = -${CACHE_KIB}; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF`);
}

function checkContent(database: IndexDatabase, options: IndexOptions): void {
  const digestFunction = database.getMeta(DIGEST_FUNCTION_KEY);
  if (digestFunction !== options.digestFunction) {
    throw damaged(`the index was made with ${digestFunction ?? 'no digest function'}, not ${options.digestFunction}`);
  }
  const root = database.prepare('SELECT id FROM entries WHERE parent = ?').all(ABOVE_ROOT);
  if (root.length !== 1 || root[0]?.[0] !== ROOT_ID) throw damaged('the index has no root');
}

function createIndexes(database: IndexDatabase, options: IndexOptions): void {
  if (options.indexInodes === true) database.exec(INODE_INDEX);
  if (options.indexContents === true) database.exec(CONTENT_INDEX);
  if (options.keepsSettled === true) database.exec(SETTLED_DIRECTORIES);
}
