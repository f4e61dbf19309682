/**
 * The tables of a tree index. Pure text; the meaning of the columns is decoded in index-rows.ts only.
 *
 * A row is keyed by (its directory's id, its name), not by its path: renaming a directory is one row (E64), the
 * children of a directory lie together in byte order, and no change costs anything per sibling (E12). Names are
 * stored in TreePath form: SQLite keeps them as UTF-8 of code points below 256, whose order is the order of the bytes.
 */

/** "LkTr": marks a database file as one of ours. */
export const APPLICATION_ID = 0x4c6b5472;

/** The version of the tables below. One that is not among those known here means that the index is made anew (E55). */
export const FIRST_VERSION = 1;
/**
 * What has come to the tables since, a version each. An older index is brought up when it is opened, and keeps all that it
 * has; a new one is made by the same steps, so that both have the same text.
 */
export const UPGRADES: readonly string[] = [
  // Who owns the entry, as owner.ts writes it; NULL for not carried.
  'ALTER TABLE entries ADD COLUMN owner BLOB',
  // Files that share an inode with others on the other side have one; NULL for none known.
  'ALTER TABLE entries ADD COLUMN link_group INTEGER',
];
/** The tables that this version of the program works with. */
export const SCHEMA_VERSION = FIRST_VERSION + UPGRADES.length;

export const ROOT_ID = 1;
/** The id that the root's row has for a parent; no directory has it. */
export const ABOVE_ROOT = 0;
export const FIRST_FREE_ID = 2;

/** Files above this size can be found by their digest; smaller ones travel inline anyway. */
export const FINDABLE_SIZE_BYTES = 64 * 1024;

const FIRST_TABLES = `
  CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE counters (
    only INTEGER NOT NULL PRIMARY KEY CHECK (only = 1),
    entries INTEGER NOT NULL,  -- without the root
    bytes REAL NOT NULL,       -- total size of the files
    next_id INTEGER NOT NULL   -- ids of directories are never used again
  ) STRICT;
  CREATE TABLE entries (
    parent INTEGER NOT NULL,
    name TEXT NOT NULL,
    id INTEGER,                -- directories only
    kind INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    size INTEGER,              -- files only, as is digest
    digest BLOB,
    target BLOB,               -- symbolic links only
    dev INTEGER,               -- this and the next four: how the disk showed it, NULL for hearsay
    ino INTEGER,
    ctime_ns INTEGER,
    disk_mtime_ns INTEGER,
    disk_size INTEGER,
    tree_digest BLOB,          -- directories only, NULL for dirty; what holds a dirty directory is dirty too
    PRIMARY KEY (parent, name)
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX directories ON entries (id) WHERE id IS NOT NULL;
  CREATE INDEX subdirectories ON entries (parent, tree_digest) WHERE id IS NOT NULL;
`;

export const TABLES = [FIRST_TABLES, ...UPGRADES].join(';');

export const INODE_INDEX = 'CREATE INDEX IF NOT EXISTS inodes ON entries (ino, dev) WHERE ino IS NOT NULL';
export const CONTENT_INDEX = `CREATE INDEX IF NOT EXISTS contents ON entries (digest) WHERE size > ${FINDABLE_SIZE_BYTES}`;

/**
 * Directories all of whose names a look has found as their rows say, with what it saw of them in one word. The triggers forget it with the
 * first row of the directory that says something else, whoever changes it; other columns than these a look does not ask for.
 */
export const SETTLED_DIRECTORIES = `
  CREATE TABLE IF NOT EXISTS settled (directory INTEGER NOT NULL PRIMARY KEY, look TEXT NOT NULL) STRICT;
  CREATE TRIGGER IF NOT EXISTS unsettle_added AFTER INSERT ON entries
    BEGIN DELETE FROM settled WHERE directory = new.parent; END;
  CREATE TRIGGER IF NOT EXISTS unsettle_changed
    AFTER UPDATE OF parent, name, id, kind, dev, ino, ctime_ns, disk_mtime_ns, disk_size ON entries
    BEGIN DELETE FROM settled WHERE directory IN (old.parent, new.parent); END;
  CREATE TRIGGER IF NOT EXISTS unsettle_removed AFTER DELETE ON entries
    BEGIN DELETE FROM settled WHERE directory IN (old.parent, old.id); END`;

/**
 * A limit that is a parameter. SQLite prepares a statement anew when another value may lead to another plan
 * (https://sqlite.org/c3ref/prepare.html), and a bare parameter behind LIMIT is always such a one: 8 us for each execution where a look-up
 * takes 0.5 (SQLite 3.53).
 */
export const limitTo = (parameter: string): string => `LIMIT ${parameter} + 0`;

/** The ids of a directory (parameter 1) and of all directories below it, by way of directories only. */
export const BELOW = `
  WITH RECURSIVE below (id) AS (
    VALUES (?1)
    UNION ALL
    SELECT entries.id FROM below JOIN entries INDEXED BY subdirectories
    ON entries.parent = below.id WHERE entries.id IS NOT NULL
  )`;
