/** Indexes of earlier versions: brought up when they are opened, with all that they hold. */
import { mkdtempSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Entry } from '../../../common/tree/entry.ts';
import { APPLICATION_ID, SCHEMA_VERSION } from '../../../common/tree/index-schema.ts';
import { TreeIndex } from '../../../common/tree/tree-index.ts';
import { ROOT } from '../../../common/tree/tree-path.ts';
import { directory, file, identity, reasonOf, symlink } from './entries.ts';
import { treePath } from './paths.ts';

/** Word for word what the first version made. */
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

const OPTIONS = { digestFunction: 'blake3', indexInodes: true, indexContents: true, listsOwners: true } as const;
const OWNER = { uid: 1000, gid: 100, user: 'ann', group: 'users' };
const ENTRIES = [directory('d'), file('d/f', 'content'), symlink('l', 'd/f')];

/** An index as the first version left it, with what it holds put there by its own statements. */
function makeFirst(path: string): void {
  const current = join(path, '..', 'current.db');
  const index = TreeIndex.create(current, OPTIONS);
  for (const entry of ENTRIES) index.put(entry, identity(7n));
  index.setMeta('epoch', 'kept');
  index.treeDigest(ROOT);
  index.close();
  const columns =
    'parent, name, id, kind, mode, mtime_ns, size, digest, target, dev, ino, ctime_ns, disk_mtime_ns, disk_size, tree_digest';
  const db = new DatabaseSync(path);
  db.exec(`
    PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = 1; ${FIRST_TABLES};
    CREATE INDEX IF NOT EXISTS inodes ON entries (ino, dev) WHERE ino IS NOT NULL;
    ATTACH '${current}' AS current;
    INSERT INTO meta SELECT * FROM current.meta;
    INSERT INTO counters SELECT * FROM current.counters;
    INSERT INTO entries SELECT ${columns} FROM current.entries`);
  db.close();
}

function entriesOf(index: TreeIndex): Entry[] {
  return [...index.walk(ROOT)].map(({ identity: _identity, ...entry }) => entry);
}

describe('an index of the first version', () => {
  let place = '';
  let path = '';

  beforeEach(() => {
    place = mkdtempSync(join(tmpdir(), 'lockstep-upgrade-'));
    path = join(place, 'index.db');
    makeFirst(path);
  });

  afterEach(() => rmSync(place, { recursive: true }));

  it('keeps what it has, and can hold owners from then on (E55)', () => {
    const index = TreeIndex.open(path, OPTIONS);
    expect(entriesOf(index)).to.deep.equal(ENTRIES);
    expect(index.get(treePath('d/f'))?.identity).to.deep.equal(identity(7n));
    expect(index.getMeta('epoch')).to.equal('kept');
    index.verify();
    const before = index.treeDigest(ROOT);
    const owned = { ...file('d/f', 'content'), owner: OWNER };
    index.put(owned, undefined);
    expect(index.treeDigest(ROOT).equals(before)).to.equal(false);
    index.close();

    const again = TreeIndex.open(path, OPTIONS);
    expect(again.get(treePath('d/f'))?.owner).to.deep.equal(OWNER);
    expect(again.childRows(treePath('d')).map(({ owner }) => owner)).to.deep.equal([OWNER]);
    again.put(file('d/f', 'content'), undefined);
    expect(again.treeDigest(ROOT).equals(before)).to.equal(true);
    again.verify();
    again.close();
  });

  it('has this version afterwards, and the tables of a new one', () => {
    TreeIndex.open(path, OPTIONS).close();
    const db = new DatabaseSync(path);
    const version = db.prepare('PRAGMA user_version').get();
    db.exec('ALTER TABLE entries ADD COLUMN other TEXT');
    db.close();
    expect(version).to.deep.equal({ __proto__: null, user_version: SCHEMA_VERSION });
    expect(reasonOf(() => TreeIndex.open(path, OPTIONS))).to.equal('INDEX_DAMAGED');
  });

  it('is damaged when its tables were never those of that version', () => {
    const db = new DatabaseSync(path);
    db.exec('ALTER TABLE entries ADD COLUMN owner BLOB');
    db.close();
    expect(reasonOf(() => TreeIndex.open(path, OPTIONS))).to.equal('INDEX_DAMAGED');
  });

  it('calls an owner that cannot be one damaged', () => {
    TreeIndex.open(path, OPTIONS).close();
    const db = new DatabaseSync(path);
    db.exec("UPDATE entries SET owner = x'00' WHERE name = 'f'");
    db.close();
    const index = TreeIndex.open(path, OPTIONS);
    expect(reasonOf(() => index.get(treePath('d/f')))).to.equal('INDEX_DAMAGED');
    expect(reasonOf(() => index.childRows(treePath('d')))).to.equal('INDEX_DAMAGED');
    index.close();
  });
});
