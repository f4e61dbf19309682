/**
 * Reading the replica's index for whoever asks: plain answers, no state of its own.
 */
import type { Digest } from '../../../common/content/digest.ts';
import type { Entry, EntryRecord, IndexedEntry } from '../../../common/tree/entry.ts';
import { ownerKey } from '../../../common/tree/owner.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import { joinPath, nameOf, type TreePath } from '../../../common/tree/tree-path.ts';
import type { LocatedFile, VerificationPage, VerificationRow } from './applier-api.ts';
import type { DirectoryComparison, RecordWithDigest } from './replica.ts';

/** Rows of one answer, whatever is asked for. */
const MAX_LIMIT = 10_000;

export function getEntry(index: TreeIndex, path: TreePath): RecordWithDigest | undefined {
  const entry = index.get(path);
  if (entry === undefined) return undefined;
  const record = recordOf(entry);
  return entry.kind === 'directory' ? { ...record, treeDigest: index.treeDigest(path) } : record;
}

export function compareDirectory(
  index: TreeIndex,
  path: TreePath,
  believed: Digest | undefined,
  after: string,
  limit: number,
): DirectoryComparison {
  if (index.get(path)?.kind !== 'directory') return { outcome: 'missing', children: [], last: true };
  if (after === '' && believed !== undefined && index.treeDigest(path).equals(believed)) {
    return { outcome: 'equal', children: [], last: true };
  }
  const wanted = bounded(limit);
  const found = index.recordsWithDigests(path, { after, limit: wanted + 1 });
  const children = found.slice(0, wanted).map(({ path: childPath, identity: _identity, treeDigest, ...record }) => ({
    ...record,
    name: nameOf(childPath),
    ...(treeDigest === undefined ? {} : { treeDigest }),
  }));
  return { outcome: 'differs', children, last: found.length <= wanted };
}

export function listEntries(
  index: TreeIndex,
  path: TreePath,
  recursive: boolean,
  after: TreePath | undefined,
  limit: number,
): readonly Entry[] {
  const wanted = bounded(limit);
  if (recursive) return index.walkPage(path, after, wanted).map(withoutIdentity);
  const name = after === undefined ? '' : nameOf(after);
  return index.children(path, { after: name, limit: wanted }).map(withoutIdentity);
}

/** 0 for all where nothing was ever linked. */
export function linkIds(index: TreeIndex, paths: readonly TreePath[]): readonly bigint[] {
  if (!index.keepsInodes) return paths.map(() => 0n);
  return paths.map((path) => {
    const entry = index.get(path);
    if (entry?.kind !== 'file' || entry.identity === undefined) return 0n;
    const { dev, ino } = entry.identity;
    return index.findByInode(dev, ino, 2).length < 2 ? 0n : BigInt.asUintN(64, ino ^ (dev << 48n));
  });
}

export function locate(index: TreeIndex, path: TreePath): LocatedFile | undefined {
  const entry = index.get(path);
  return entry?.kind === 'file' ? located(entry) : undefined;
}

export function findContent(index: TreeIndex, digest: Digest): LocatedFile | undefined {
  const entry = index.findByDigest(digest);
  return entry?.kind === 'file' ? located(entry) : undefined;
}

export function verificationPage(
  index: TreeIndex,
  path: TreePath,
  after: string,
  limit: number,
): VerificationPage | undefined {
  if (index.get(path)?.kind !== 'directory') return undefined;
  const wanted = bounded(limit);
  const entries = index.children(path, { after, limit: wanted });
  return { rows: entries.map(verificationRow), isLast: entries.length < wanted };
}

export function verificationRows(
  index: TreeIndex,
  path: TreePath,
  names: readonly string[],
): readonly VerificationRow[] | undefined {
  if (index.get(path)?.kind !== 'directory') return undefined;
  return names.flatMap((name) => {
    const entry = index.get(joinPath(path, name));
    return entry === undefined ? [] : [verificationRow(entry)];
  });
}

function verificationRow(entry: IndexedEntry): VerificationRow {
  return {
    name: nameOf(entry.path),
    kind: entry.kind,
    mode: entry.kind === 'symlink' ? 0 : entry.mode,
    mtimeNs: entry.mtimeNs,
    sizeBytes: entry.kind === 'file' ? entry.sizeBytes : 0,
    identity: entry.identity,
    digest: entry.kind === 'file' ? entry.digest : undefined,
    target: entry.kind === 'symlink' ? entry.target : undefined,
    ...ownerKey(entry.owner),
  };
}

function located(entry: IndexedEntry & { readonly kind: 'file' }): LocatedFile {
  const { identity, ...rest } = entry;
  return { entry: rest, identity };
}

function recordOf(entry: IndexedEntry): EntryRecord {
  const { path: _path, identity: _identity, ...record } = entry;
  return record;
}

function withoutIdentity(indexed: IndexedEntry): Entry {
  const { identity: _identity, ...entry } = indexed;
  return entry;
}

function bounded(limit: number): number {
  return Math.max(1, Math.min(limit, MAX_LIMIT));
}
