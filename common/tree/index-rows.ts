/**
 * Rows of the index, decoded into entries, and what is bound for them. The only place that knows the columns' order.
 * Trusts nothing: a row that makes no sense is damage (E91).
 */
import type { SQLInputValue } from 'node:sqlite';
import { DIGEST_BYTES, type Digest } from '../content/digest.ts';
import { type DiskIdentity, type EntryKind, type EntryRecord, type IndexedEntry, MODE_MASK, modeOf } from './entry.ts';
import { type MayHaveOwner, type Owner, ownerBytes, readOwner } from './owner.ts';
import { damaged, type Row } from './sqlite-query.ts';
import { KIND_CODES, MAX_TARGET_BYTES, type TreeDigestChild } from './tree-digest.ts';
import { MAX_NAME_BYTES, type TreePath } from './tree-path.ts';

const IDENTITY_COLUMNS = 'dev, ino, ctime_ns, disk_mtime_ns, disk_size';
const RECORD_COLUMNS = 'name, id, kind, mode, mtime_ns, size, digest, target, owner';
/** What `indexedEntry` reads. */
export const ENTRY_COLUMNS = `${RECORD_COLUMNS}, ${IDENTITY_COLUMNS}`;
/** What `childRow` reads: no blobs, which cost more than all else together; the owners only where they are asked for. */
export const LIGHT_COLUMNS = `name, id, kind, mode, mtime_ns, size, ${IDENTITY_COLUMNS}`;
export const LIGHT_COLUMNS_WITH_OWNER = `${LIGHT_COLUMNS}, owner`;
/** What `treeDigestChild` reads. */
export const DIGEST_COLUMNS = `${RECORD_COLUMNS}, tree_digest`;

/** Positions in every selection above. */
const NAME = 0;
const ID = 1;
const KIND = 2;
const MODE = 3;
const MTIME_NS = 4;
const SIZE = 5;
const DIGEST = 6;
const TARGET = 7;
const OWNER = 8;
const LIGHT_IDENTITY = 6;
const LIGHT_OWNER = 11;
const TREE_DIGEST = 9;
const ENTRY_IDENTITY = 9;
const ENTRY_TREE_DIGEST = 14;

/** An entry with what lies below it in one digest. */
export type DigestedEntry = IndexedEntry & {
  /** Directories have one, other kinds have none. */
  readonly treeDigest: Digest | undefined;
};

/** One name of a directory without content: enough to hold it against what the disk shows. */
export interface ChildRow extends MayHaveOwner {
  readonly name: string;
  readonly kind: EntryKind;
  /** As `modeOf` gives it. */
  readonly mode: number;
  /** The record's, not the disk's. */
  readonly mtimeNs: bigint;
  /** Content length of a file, 0 for other kinds. */
  readonly sizeBytes: number;
  /** Undefined for hearsay. */
  readonly identity: DiskIdentity | undefined;
}

export function nameOfRow(row: Row): string {
  const name = row[NAME];
  if (typeof name !== 'string' || name.length === 0 || name.length > MAX_NAME_BYTES) throw nonsense('name');
  return name;
}

/** The id of a directory, undefined for other kinds. */
export function idOfRow(row: Row): number | undefined {
  const id = row[ID];
  return id === null ? undefined : Number(bigintAt(row, ID));
}

export function indexedEntry(path: TreePath, row: Row): IndexedEntry {
  const identity = identityAt(row, ENTRY_IDENTITY);
  const mtimeNs = bigintAt(row, MTIME_NS);
  const kind = kindAt(row);
  switch (kind) {
    case 'file': {
      const digest = digestAt(row, DIGEST);
      return owned({ path, kind, mode: modeAt(row), mtimeNs, sizeBytes: sizeAt(row), digest, identity }, row[OWNER]);
    }
    case 'directory':
      return owned({ path, kind, mode: modeAt(row), mtimeNs, identity }, row[OWNER]);
    case 'symlink':
      return owned({ path, kind, mtimeNs, target: bufferAt(row, TARGET), identity }, row[OWNER]);
  }
}

/** Reads `ENTRY_COLUMNS` followed by `tree_digest`. */
export function digestedEntry(path: TreePath, row: Row): DigestedEntry {
  const entry = indexedEntry(path, row);
  const treeDigest = entry.kind === 'directory' ? digestAt(row, ENTRY_TREE_DIGEST) : undefined;
  return { ...entry, treeDigest };
}

export function childRow(row: Row): ChildRow {
  const kind = kindAt(row);
  const child = {
    name: nameOfRow(row),
    kind,
    mode: modeAt(row),
    mtimeNs: bigintAt(row, MTIME_NS),
    sizeBytes: kind === 'file' ? sizeAt(row) : 0,
    identity: identityAt(row, LIGHT_IDENTITY),
  };
  return owned(child, row[LIGHT_OWNER] ?? null);
}

export function treeDigestChild(row: Row): TreeDigestChild {
  const name = nameOfRow(row);
  const mtimeNs = bigintAt(row, MTIME_NS);
  const kind = kindAt(row);
  switch (kind) {
    case 'file': {
      const digest = digestAt(row, DIGEST);
      return owned({ name, kind, mode: modeAt(row), mtimeNs, sizeBytes: sizeAt(row), digest }, row[OWNER]);
    }
    case 'directory':
      return owned({ name, kind, mode: modeAt(row), mtimeNs, treeDigest: digestAt(row, TREE_DIGEST) }, row[OWNER]);
    case 'symlink':
      return owned({ name, kind, mtimeNs, target: bufferAt(row, TARGET) }, row[OWNER]);
  }
}

/** The values of kind, mode, mtime_ns, size, digest, target, owner. */
export function recordValues(record: EntryRecord): readonly SQLInputValue[] {
  const file = record.kind === 'file' ? record : undefined;
  const target = record.kind === 'symlink' ? record.target : null;
  return [
    KIND_CODES[record.kind],
    modeOf(record),
    record.mtimeNs,
    file?.sizeBytes ?? null,
    file?.digest ?? null,
    target,
    record.owner === undefined ? null : ownerBytes(record.owner),
  ];
}

const NO_IDENTITY: readonly SQLInputValue[] = [null, null, null, null, null];

/** The values of dev, ino, ctime_ns, disk_mtime_ns, disk_size. */
export function identityValues(identity: DiskIdentity | undefined): readonly SQLInputValue[] {
  if (identity === undefined) return NO_IDENTITY;
  return [identity.dev, identity.ino, identity.ctimeNs, identity.mtimeNs, identity.sizeBytes];
}

export function digestOfBlob(value: unknown): Digest {
  if (!(value instanceof Uint8Array) || value.length !== DIGEST_BYTES) throw nonsense('digest');
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength) as Digest;
}

/** Most entries have none, and no key for it. */
function owned<T extends object>(entry: T, value: unknown): T & MayHaveOwner {
  return value === null ? entry : { ...entry, owner: ownerOf(value) };
}

/** A tree has few owners: each is taken apart once, and is one object for all of its entries. */
const knownOwners = new Map<string, Owner>();
const MAX_KNOWN_OWNERS = 1_024;

function ownerOf(value: unknown): Owner {
  if (!(value instanceof Uint8Array)) throw nonsense('owner');
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const key = bytes.toString('latin1');
  const known = knownOwners.get(key);
  if (known !== undefined) return known;
  const owner = readOwner(bytes);
  if (owner === undefined) throw nonsense('owner');
  if (knownOwners.size >= MAX_KNOWN_OWNERS) knownOwners.clear();
  knownOwners.set(key, owner);
  return owner;
}

function identityAt(row: Row, first: number): DiskIdentity | undefined {
  if (row[first] === null) return undefined;
  return {
    dev: bigintAt(row, first),
    ino: bigintAt(row, first + 1),
    ctimeNs: bigintAt(row, first + 2),
    mtimeNs: bigintAt(row, first + 3),
    sizeBytes: Number(bigintAt(row, first + 4)),
  };
}

function kindAt(row: Row): EntryKind {
  switch (row[KIND]) {
    case 1n:
      return 'file';
    case 2n:
      return 'directory';
    case 3n:
      return 'symlink';
    default:
      throw nonsense('kind');
  }
}

function modeAt(row: Row): number {
  const mode = Number(bigintAt(row, MODE));
  if (mode < 0 || mode > MODE_MASK) throw nonsense('mode');
  return mode;
}

function sizeAt(row: Row): number {
  const sizeBytes = Number(bigintAt(row, SIZE));
  if (sizeBytes < 0 || !Number.isSafeInteger(sizeBytes)) throw nonsense('size');
  return sizeBytes;
}

function digestAt(row: Row, at: number): Digest {
  return digestOfBlob(row[at]);
}

function bufferAt(row: Row, at: number): Buffer {
  const value = row[at];
  if (!(value instanceof Uint8Array) || value.length > MAX_TARGET_BYTES) throw nonsense('target');
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

function bigintAt(row: Row, at: number): bigint {
  const value = row[at];
  if (typeof value !== 'bigint') throw nonsense('number');
  return value;
}

function nonsense(what: string): Error {
  return damaged(`the index holds an entry without a valid ${what}`);
}
