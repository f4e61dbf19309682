/**
 * Where another file system is mounted inside of the replica, or a part of the same one, no rename leads from staging (E83):
 * what is staged is copied to a name beside its place, made durable and renamed there, and what goes is renamed beside its
 * place and removed. So a path is wholly old or wholly new there, too.
 *
 * Everything is synced at once, because a checkpoint syncs the replica's own file system only. What a crash leaves beside is a
 * foreign entry: looking for drift finds it, and the watcher has it removed.
 */
import { randomBytes } from 'node:crypto';
import { closeSync } from 'node:fs';
import type { Directory } from '../../../common/fs/directory.ts';
import { syncFd } from '../../../common/fs/full-io.ts';
import { setFdOwner } from '../../../common/fs/ownership.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { Stat } from '../../../common/fs/stat.ts';
import { setFdMode, setFdTimes } from '../../../common/fs/times.ts';
import { errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { MODE_MASK } from '../../../common/tree/entry.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import { joinPath, nameOf, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import { identityOf } from './disk-identity.ts';
import { OWNER_WORKS } from './staged-entries.ts';
import { removeTree } from './staging-sweep.ts';
import { runToEnd } from './steps.ts';

/** Moves a staged entry to its place. True when it had to be copied: it is another inode then. */
export function moveIntoPlace(staging: Directory, name: string, parent: Directory, toName: string): boolean {
  try {
    staging.rename(name, parent, toName);
    return false;
  } catch (error) {
    if (!isOtherFileSystem(error)) throw error;
  }
  const beside = nameBeside();
  try {
    copy(staging, name, parent, beside);
    parent.rename(beside, parent, toName);
  } catch (error) {
    removeCopy(parent, beside);
    throw error;
  }
  parent.sync();
  removeCopy(staging, name);
  return true;
}

/** Takes an entry away from its place, where it cannot go to the trash. */
export function removeInPlace(root: SafeRoot, path: TreePath): void {
  const parent = root.directory(parentOf(path));
  const beside = nameBeside();
  parent.rename(nameOf(path), parent, beside);
  root.forget(path);
  runToEnd(removeTree(root, joinPath(parentOf(path), beside)));
  root.directory(parentOf(path)).sync();
}

/** Lets the index know the inodes of what was copied, and of the files that came with a directory. */
export function identifyCopied(root: SafeRoot, index: TreeIndex, paths: Iterable<TreePath>): void {
  const identify = (path: TreePath): Stat | undefined => {
    const stat = root.tryDirectory(parentOf(path))?.lstat(nameOf(path));
    if (stat !== undefined && stat.kind === index.get(path)?.kind) index.setIdentity(path, identityOf(stat));
    return stat;
  };
  for (const path of paths) {
    if (identify(path)?.kind !== 'directory') continue;
    for (const name of root.directory(path).list()) identify(joinPath(path, name));
  }
}

export function isOtherFileSystem(error: unknown): boolean {
  return errnoOf(error) === 'EXDEV';
}

/** Staged directories hold files only. */
function copy(from: Directory, name: string, to: Directory, toName: string): void {
  const stat = from.lstat(name);
  switch (stat?.kind) {
    case 'file':
      return copyFile(from, name, stat, to, toName);
    case 'symlink':
      to.makeSymlink(toName, from.readLink(name));
      to.setMtime(toName, stat.mtimeNs);
      return giveLike(to, toName, stat);
    case 'directory':
      return copyDirectory(from, name, stat, to, toName);
    default:
      throw new LockstepError('INTERNAL', `"${name}" vanished from staging`);
  }
}

function copyFile(from: Directory, name: string, stat: Stat, to: Directory, toName: string): void {
  const fd = to.copyFileFrom({ directory: from, name }, toName);
  try {
    setFdTimes(fd, stat.mtimeNs);
    setFdMode(fd, stat.mode & MODE_MASK);
    if (isGivenAway(stat)) setFdOwner(fd, stat.uid, stat.gid);
    syncFd(fd);
  } finally {
    closeSync(fd);
  }
}

function copyDirectory(from: Directory, name: string, stat: Stat, to: Directory, toName: string): void {
  to.makeDirectory(toName, OWNER_WORKS);
  const [source, target] = [from.openDirectory(name), to.openDirectory(toName)];
  try {
    for (const child of source.list()) copy(source, child, target, child);
    target.sync();
  } finally {
    source.close();
    target.close();
  }
  to.setMode(toName, stat.mode & MODE_MASK);
  to.setMtime(toName, stat.mtimeNs);
  giveLike(to, toName, stat);
}

/** In staging all is this process's, but for what was to have another owner. */
function isGivenAway({ uid, gid }: Stat): boolean {
  return uid !== (process.geteuid?.() ?? uid) || gid !== (process.getegid?.() ?? gid);
}

function giveLike(directory: Directory, name: string, staged: Stat): void {
  const made = isGivenAway(staged) ? directory.lstat(name) : undefined;
  if (made !== undefined) directory.setOwner(name, staged.uid, staged.gid, made);
}

function removeCopy(directory: Directory, name: string): void {
  const stat = directory.lstat(name);
  if (stat === undefined) return;
  if (stat.kind !== 'directory') return directory.unlink(name);
  const inner = directory.openDirectory(name);
  try {
    for (const child of inner.list()) inner.unlink(child);
  } finally {
    inner.close();
  }
  directory.removeDirectory(name);
}

function nameBeside(): string {
  return `.lockstep-${randomBytes(9).toString('base64url')}.tmp`;
}
