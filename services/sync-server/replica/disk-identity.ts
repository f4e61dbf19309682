/**
 * The quick check: whether an entry on the disk is still what the index says, without reading its content (E95).
 * Pure.
 *
 * `DiskIdentity.ctimeNs` is used as a bound here: the entry is unchanged as long as its ctime is not *later*. The
 * exact ctime would cost one more lstat after each rename, which sets it; the bound costs nothing, and is exact wherever
 * an lstat was made anyway. Within the bound's slack an edit that keeps size, mtime and inode is only found by
 * verification, which reads the contents.
 */
import { permissionsOf } from '../../../common/fs/permission-bits.ts';
import type { Stat } from '../../../common/fs/stat.ts';
import { mtimeMatches } from '../../../common/fs/times.ts';
import type { DiskIdentity, Entry, IndexedEntry } from '../../../common/tree/entry.ts';
import type { ChildRow } from '../../../common/tree/tree-index.ts';
import type { OwnerKeeper } from './owner-keeper.ts';

/** Longer than a group takes from staging a file to renaming it, as a rule; else the file is hashed once more. */
export const CTIME_SLACK_NS = 5_000_000_000n;

/** What the index knows of an entry; a row without content is enough. */
export type KnownEntry = IndexedEntry | ChildRow;

/** Now, in the unit of the disk's times. */
export function nowNs(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}

/** The identity of something that the applier itself has just made or is about to move to its path. */
export function identityOfOwn(stat: Stat, entry: Entry, now: bigint): DiskIdentity {
  const { dev, ino, sizeBytes } = stat;
  // The file system's clock may be another one, ahead of this program's.
  const lastNs = stat.ctimeNs > now ? stat.ctimeNs : now;
  return { dev, ino, sizeBytes, mtimeNs: entry.mtimeNs, ctimeNs: lastNs + CTIME_SLACK_NS };
}

/** The identity of something as it stands on the disk. */
export function identityOf(stat: Stat): DiskIdentity {
  const { dev, ino, sizeBytes, mtimeNs, ctimeNs } = stat;
  return { dev, ino, sizeBytes, mtimeNs, ctimeNs };
}

/** An entry's identity after the applier changed its inode (a rename, a chmod). */
export function withLaterCtime(identity: DiskIdentity | undefined, now: bigint): DiskIdentity | undefined {
  return identity && { ...identity, ctimeNs: now + CTIME_SLACK_NS };
}

/** The same inode, of the same kind. All that is asked of directories, whose times change with their children. */
export function isSameInode(entry: KnownEntry, stat: Stat): boolean {
  const { identity } = entry;
  return identity !== undefined && entry.kind === stat.kind && identity.ino === stat.ino && identity.dev === stat.dev;
}

/** The same inode with, as far as can be told without reading it, the same content. */
export function hasSameContent(entry: KnownEntry, stat: Stat): boolean {
  if (!isSameInode(entry, stat)) return false;
  if (entry.kind === 'directory') return true;
  const { identity } = entry;
  if (identity === undefined || stat.ctimeNs > identity.ctimeNs) return false;
  return mtimeMatches(identity.mtimeNs, stat.mtimeNs) && (entry.kind !== 'file' || entry.sizeBytes === stat.sizeBytes);
}

/** Content, permission bits, time and, where owners are kept, owner are all as the index says. */
export function looksUnchanged(entry: KnownEntry, stat: Stat, owners: OwnerKeeper | undefined): boolean {
  return hasSameContent(entry, stat) && hasSameMetadata(entry, stat, owners);
}

export function hasSameMetadata(entry: Entry | ChildRow, stat: Stat, owners: OwnerKeeper | undefined): boolean {
  if (!mtimeMatches(entry.mtimeNs, stat.mtimeNs)) return false;
  if (owners !== undefined && !owners.isKept(entry.owner, stat)) return false;
  return entry.kind === 'symlink' || entry.mode === permissionsOf(stat, entry);
}
