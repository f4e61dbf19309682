/**
 * A directory as a stream of entries in tree order, as the disk has it now. One listing per level is in memory.
 * Knows neither index nor server.
 */
import { closeSync } from 'node:fs';
import { ContentHasher, type DigestFunction } from '../../../common/content/digest.ts';
import type { Directory } from '../../../common/fs/directory.ts';
import { readFully } from '../../../common/fs/full-io.ts';
import { inodeKey } from '../../../common/fs/inode.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { type Stat, statOf } from '../../../common/fs/stat.ts';
import { errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { type EntryRecord, MODE_MASK } from '../../../common/tree/entry.ts';
import { ownerKey } from '../../../common/tree/owner.ts';
import { joinPath, nameOf, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { LocalOwners } from '../observe/local-owners.ts';
import { readIgnoreFile } from '../observe/ignore-file.ts';
import type { IgnoreRules } from '../observe/ignore-rules.ts';
import type { FileId } from './link-comparison.ts';

const READ_BYTES = 1024 * 1024;

export type LocalEntry =
  | {
      readonly path: TreePath;
      readonly record: EntryRecord;
      /** Of a file that has several names, what they share. */
      readonly fileId: FileId;
    }
  /** It is there, and cannot be looked at. */
  | { readonly path: TreePath; readonly unreadable: string };

/** The entries below the root that `ignore` lets through; it learns each `.syncignore` on the way. */
export function* walkLocalTree(
  root: SafeRoot,
  ignore: IgnoreRules,
  digestFunction: DigestFunction,
  owners?: LocalOwners,
): Generator<LocalEntry, void> {
  const pending: TreePath[] = namesIn(root, ignore, ROOT).reverse();
  const rootDevice = root.identity.dev;
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const entry = entryAt(root, ignore, path, rootDevice, digestFunction, owners);
    if (entry === undefined) continue;
    yield entry;
    if (!('record' in entry) || entry.record.kind !== 'directory') continue;
    try {
      pending.push(...namesIn(root, ignore, path).reverse());
    } catch (error) {
      yield unreadable(path, error);
    }
  }
}

function namesIn(root: SafeRoot, ignore: IgnoreRules, path: TreePath): TreePath[] {
  const directory = root.directory(path);
  ignore.reload(path, readIgnoreFile(directory));
  return directory
    .list()
    .sort()
    .map((name) => joinPath(path, name));
}

function entryAt(
  root: SafeRoot,
  ignore: IgnoreRules,
  path: TreePath,
  rootDevice: bigint,
  digestFunction: DigestFunction,
  owners: LocalOwners | undefined,
): LocalEntry | undefined {
  try {
    const directory = root.directory(parentOf(path));
    const stat = directory.lstat(nameOf(path));
    // Gone since it was listed, or of a kind that is not kept.
    if (stat === undefined || stat.kind === 'other') return undefined;
    if (ignore.isIgnored(path, stat.kind === 'directory')) return undefined;
    if (stat.dev !== rootDevice) return { path, unreadable: 'another file system is mounted here' };
    const record = recordOf(directory, nameOf(path), stat, digestFunction);
    const fileId = stat.kind === 'file' && stat.nlink > 1 ? inodeKey(stat) : undefined;
    return { path, record: { ...record, ...ownerKey(owners?.of(stat)) }, fileId };
  } catch (error) {
    return unreadable(path, error);
  }
}

function recordOf(directory: Directory, name: string, stat: Stat, digestFunction: DigestFunction): EntryRecord {
  const { mtimeNs } = stat;
  const mode = stat.mode & MODE_MASK;
  if (stat.kind === 'directory') return { kind: 'directory', mode, mtimeNs };
  if (stat.kind === 'symlink') return { kind: 'symlink', mtimeNs, target: directory.readLink(name) };
  const fd = directory.openFile(name);
  try {
    const hasher = new ContentHasher(digestFunction);
    let sizeBytes = 0;
    for (;;) {
      buffer ??= Buffer.allocUnsafeSlow(READ_BYTES);
      const count = readFully(fd, buffer, 0, READ_BYTES, sizeBytes);
      if (count > 0) hasher.update(buffer.subarray(0, count));
      sizeBytes += count;
      if (count < READ_BYTES) break;
    }
    const after = statOf(fd);
    if (after.sizeBytes !== sizeBytes || after.mtimeNs !== mtimeNs || after.ino !== stat.ino) {
      throw new LockstepError('BUSY', 'it changed while it was read');
    }
    return { kind: 'file', mode, mtimeNs, sizeBytes, digest: hasher.digest() };
  } finally {
    closeSync(fd);
  }
}

/** Used within one call of recordOf only. */
let buffer: Buffer | undefined;

function unreadable(path: TreePath, error: unknown): LocalEntry {
  const errno = errnoOf(error);
  if (errno === undefined && !(error instanceof LockstepError)) throw error;
  return { path, unreadable: errno ?? (error instanceof Error ? error.message : 'unreadable') };
}
