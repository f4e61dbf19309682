/**
 * Entries: what one path of a folder is, in the form every room of the house shares.
 * Pure data; knows neither the wire nor the disk.
 */
import type { Digest } from '../content/digest.ts';
import { type MayHaveOwner, ownerKey, sameOwner } from './owner.ts';
import type { TreePath } from './tree-path.ts';

export type EntryKind = 'file' | 'directory' | 'symlink';

/** Permission bits that are kept: set-id and sticky bits are not (E77). */
export const MODE_MASK = 0o777;

/** From 1901, where ext4 begins, to 2262, where an int64 of nanoseconds ends (E73). */
export const MIN_MTIME_NS = -(2n ** 31n) * 1_000_000_000n;
export const MAX_MTIME_NS = 2n ** 63n - 1n;

/** What a path is, without its name. Two equal records are "in step" for the contract's purposes. */
export type EntryRecord = FileRecord | DirectoryRecord | SymlinkRecord;

export interface FileRecord extends MayHaveOwner {
  readonly kind: 'file';
  /** Permission bits, 0..0o777. */
  readonly mode: number;
  /** Modification time in nanoseconds since 1970, negative before. */
  readonly mtimeNs: bigint;
  /** Content length in bytes, 0..2^53-1. */
  readonly sizeBytes: number;
  /** Strong hash of the content, 32 bytes. */
  readonly digest: Digest;
}

export interface DirectoryRecord extends MayHaveOwner {
  readonly kind: 'directory';
  readonly mode: number;
  readonly mtimeNs: bigint;
}

export interface SymlinkRecord extends MayHaveOwner {
  readonly kind: 'symlink';
  readonly mtimeNs: bigint;
  /** Link target, the exact bytes, 1..4095 of them. Never followed. */
  readonly target: Buffer;
}

export type Entry = EntryRecord & { readonly path: TreePath };

/** How the disk showed an entry when it was last looked at: the quick check compares these. */
export interface DiskIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly ctimeNs: bigint;
  /** The disk's own mtime, which may be coarser than the record's (E72). */
  readonly mtimeNs: bigint;
  readonly sizeBytes: number;
}

/** An entry together with the disk's view of it, as the indexes of both sides store it. */
export type IndexedEntry = Entry & {
  /** Undefined where the entry is known only by hearsay (from the peer) and the disk was not yet compared. */
  readonly identity: DiskIdentity | undefined;
};

/** True when both records describe the same thing: same kind, content, mode, time, and owner. */
export function sameRecord(a: EntryRecord, b: EntryRecord): boolean {
  return sameContent(a, b) && sameMetadata(a, b);
}

/** True when replacing one by the other needs no content to move: equal kind, and equal digest or target. */
export function sameContent(a: EntryRecord, b: EntryRecord): boolean {
  if (a.kind === 'file') return b.kind === 'file' && a.sizeBytes === b.sizeBytes && a.digest.equals(b.digest);
  if (a.kind === 'symlink') return b.kind === 'symlink' && a.target.equals(b.target);
  return b.kind === 'directory';
}

function sameMetadata(a: EntryRecord, b: EntryRecord): boolean {
  return a.mtimeNs === b.mtimeNs && modeOf(a) === modeOf(b) && sameOwner(a.owner, b.owner);
}

/** What can be set of an entry without touching its content. */
export interface Metadata extends MayHaveOwner {
  /** Of no meaning for symbolic links. */
  readonly mode: number;
  readonly mtimeNs: bigint;
}

/** The entry with other metadata. Without an owner it has none afterwards: what is not carried is not remembered. */
export function withMetadata<R extends EntryRecord>(entry: R, { mode, mtimeNs, owner }: Metadata): R {
  const { owner: _, ...rest } = entry;
  const changed = entry.kind === 'symlink' ? { ...rest, mtimeNs } : { ...rest, mode, mtimeNs };
  return { ...changed, ...ownerKey(owner) } as R;
}

/** Symbolic links have no permission bits of their own on Linux. */
export function modeOf(record: EntryRecord): number {
  return record.kind === 'symlink' ? MODE_MASK : record.mode;
}
