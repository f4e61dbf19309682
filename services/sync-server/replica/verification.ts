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
import type { LinkedFile, Mismatch, PageFindings } from './content-api.ts';
import { hasSameMetadata, isSameInode } from './disk-identity.ts';
import type { OwnerKeeper } from './owner-keeper.ts';
import { errnoText } from './performer.ts';
import { hashInSteps } from './reconciler.ts';
import type { Steps } from './steps.ts';

/** What looking at an entry counts as, besides its content. */
const ENTRY_BYTES = 4096;

export function* verifyPage(
  root: SafeRoot,
  owners: OwnerKeeper | undefined,
  digestFunction: DigestFunction,
  path: TreePath,
  after: string,
  page: VerificationPage,
  onRead: (count: number) => void,
): Steps<PageFindings> {
  const mismatches: Mismatch[] = [];
  const linked: LinkedFile[] = [];
  let contentBytes = 0;
  root.forgetAll();
  const last = page.rows.at(-1)?.name ?? '';
  let names: Set<string>;
  try {
    // What is not in the index is looked for between two names of it.
    names = page.isLast || last > after ? new Set(root.directory(path).list()) : new Set();
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return {
      mismatches: [mismatch('unreadable', path, `cannot be listed: ${errnoText(error)}`)],
      contentBytes,
      linked,
    };
  }
  for (const row of page.rows) {
    names.delete(row.name);
    const child = joinPath(path, row.name);
    const onLinked = (file: LinkedFile): unknown => linked.push(file);
    const result = yield* verifyRow(root, owners, digestFunction, path, child, row, onRead, onLinked);
    if (result !== undefined) mismatches.push(result);
    else if (row.kind === 'file') contentBytes += row.sizeBytes;
    onRead(ENTRY_BYTES);
    yield;
  }
  for (const name of names) {
    // Names outside of this part belong to another page.
    if (name <= after || (!page.isLast && name > last) || isReserved(joinPath(path, name))) continue;
    const stat = root.tryDirectory(path)?.lstat(name);
    if (stat === undefined || stat.kind === 'other') continue;
    mismatches.push(mismatch('extra', joinPath(path, name), 'is on the disk and not in the index'));
  }
  return { mismatches, contentBytes, linked };
}

function* verifyRow(
  root: SafeRoot,
  owners: OwnerKeeper | undefined,
  digestFunction: DigestFunction,
  parent: TreePath,
  path: TreePath,
  row: VerificationRow,
  onRead: (count: number) => void,
  onLinked: (file: LinkedFile) => void,
): Steps<Mismatch | undefined> {
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
