/**
 * Holds a part of a directory against the disk, contents included (E98). Reads only; what is found may be a change that
 * is just being applied, so whoever asks asks again before believing it.
 */
import { closeSync } from 'node:fs';
import type { DigestFunction } from '../../../common/content/digest.ts';
import type { Directory } from '../../../common/fs/directory.ts';
import { inodeKey } from '../../../common/fs/inode.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { Stat } from '../../../common/fs/stat.ts';
import { errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { displayPath, isReserved, joinPath, type TreePath } from '../../../common/tree/tree-path.ts';
import type { VerificationPage, VerificationRow } from './applier-api.ts';
import type { Findings, LinkedFile, Mismatch } from './content-api.ts';
import { hasSameMetadata, isSameInode } from './disk-identity.ts';
import type { OwnerKeeper } from './owner-keeper.ts';
import { errnoText } from './performer.ts';
import { hashInSteps } from './reconciler.ts';
import type { Steps } from './steps.ts';
import { UnclaimedNames } from './unclaimed-names.ts';

/** What looking at an entry counts as, besides its content. */
const ENTRY_BYTES = 4096;
/** Of names that no row has, looked at in one go: a directory may have any number of them. */
const MAX_EXTRA_NAMES = 256;

export interface VerifiedDisk {
  readonly root: SafeRoot;
  /** Undefined where owners are not kept. */
  readonly owners: OwnerKeeper | undefined;
  readonly digestFunction: DigestFunction;
  /** Hears of the bytes that were read, at each step. */
  readonly onRead: (count: number) => void;
}

/** `unclaimed`: undefined where the directory could not be listed. */
export type ListedFindings = Findings & { readonly unclaimed: UnclaimedNames | undefined };

/** `unclaimed` is what the page before this one has left; the first one lists the directory. */
export function* verifyPage(
  disk: VerifiedDisk,
  path: TreePath,
  page: VerificationPage,
  unclaimed: UnclaimedNames | undefined,
): Steps<ListedFindings> {
  let names = unclaimed;
  if (names === undefined) {
    disk.root.forgetAll();
    try {
      const listed = disk.root.directory(path).list();
      names = new UnclaimedNames(listed.filter((name) => !isReserved(joinPath(path, name))));
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      const unlisted = mismatch('unreadable', path, `cannot be listed: ${errnoText(error)}`);
      return { mismatches: [unlisted], contentBytes: 0, linked: [], unclaimed: undefined };
    }
  }
  for (const { name } of page.rows) names.claim(name);
  const extra = page.isLast ? names.take(MAX_EXTRA_NAMES) : [];
  const findings = yield* verifyEntries(disk, path, page.rows, extra);
  return { ...findings, unclaimed: names };
}

/** `rows`, and names that should not be there. */
export function* verifyEntries(
  disk: VerifiedDisk,
  path: TreePath,
  rows: readonly VerificationRow[],
  extra: readonly string[],
): Steps<Findings> {
  const mismatches: Mismatch[] = [];
  const linked: LinkedFile[] = [];
  let contentBytes = 0;
  disk.root.forgetAll();
  for (const row of rows) {
    const onLinked = (file: LinkedFile): unknown => linked.push(file);
    const result = yield* verifyRow(disk, path, row, onLinked);
    if (result !== undefined) mismatches.push(result);
    else if (row.kind === 'file') contentBytes += row.sizeBytes;
    disk.onRead(ENTRY_BYTES);
    yield;
  }
  for (const name of extra) {
    const result = verifyExtra(disk, path, name);
    if (result !== undefined) mismatches.push(result);
    yield;
  }
  return { mismatches, contentBytes, linked };
}

function verifyExtra({ root }: VerifiedDisk, parent: TreePath, name: string): Mismatch | undefined {
  const path = joinPath(parent, name);
  try {
    const stat = root.tryDirectory(parent)?.lstat(name);
    if (stat === undefined || stat.kind === 'other') return undefined;
    return mismatch('extra', path, 'is on the disk and not in the index');
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    // With its directory it is gone, too.
    if (errnoOf(error) === 'ENOENT') return undefined;
    return mismatch('unreadable', path, `cannot be read: ${errnoText(error)}`);
  }
}

function* verifyRow(
  { root, owners, digestFunction, onRead }: VerifiedDisk,
  parent: TreePath,
  row: VerificationRow,
  onLinked: (file: LinkedFile) => void,
): Steps<Mismatch | undefined> {
  const path = joinPath(parent, row.name);
  try {
    const directory = root.tryDirectory(parent);
    const stat = directory?.lstat(row.name);
    if (directory === undefined || stat === undefined)
      return mismatch('missing', path, 'is in the index and not on the disk');
    if (stat.kind !== row.kind) return mismatch('kind', path, `is a ${stat.kind} and should be a ${row.kind}`);
    const hasContent = yield* hasRightContent(directory, digestFunction, row, stat, onRead);
    if (!hasContent) return mismatch('content', path, 'has another content than the index says');
    if (!hasSameMetadata(row, stat, undefined))
      return mismatch('metadata', path, 'has another mode or time than the index says');
    if (owners?.isKept(row.owner, stat) === false)
      return mismatch('metadata', path, 'has another owner than the index says');
    if (stat.kind === 'file' && (stat.nlink > 1 || !isSameInode(row, stat)))
      onLinked({ path, sharedInode: stat.nlink > 1 ? inodeKey(stat) : undefined });
    return undefined;
  } catch (error) {
    if (errnoOf(error) === undefined && !(error instanceof LockstepError)) throw error;
    return mismatch('unreadable', path, `cannot be read: ${errnoText(error)}`);
  }
}

function* hasRightContent(
  directory: Directory,
  digestFunction: DigestFunction,
  row: VerificationRow,
  stat: Stat,
  onRead: (count: number) => void,
): Steps<boolean> {
  if (row.kind === 'directory') return true;
  if (row.kind === 'symlink') return row.target !== undefined && directory.readLink(row.name).equals(row.target);
  if (stat.sizeBytes !== row.sizeBytes) return false;
  const fd = directory.openFile(row.name);
  try {
    const digest = yield* hashInSteps(fd, digestFunction, onRead);
    return row.digest?.equals(digest) === true;
  } finally {
    closeSync(fd);
  }
}

function mismatch(kind: Mismatch['kind'], path: TreePath, what: string): Mismatch {
  return { type: 'mismatch', kind, path, message: `${displayPath(path)} ${what}` };
}
