/**
 * Where files go whose content went bad on the disk (E98): out of the tree, so that nobody takes them for the real ones, and
 * kept, so that nothing is destroyed by a disk or memory that only reads wrongly. The watcher brings the content again.
 */
import { closeSync } from 'node:fs';
import type { Directory } from '../../../common/fs/directory.ts';
import { MODE_MASK } from '../../../common/tree/entry.ts';
import { displayPath, nameOf, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import { looksUnchanged } from './disk-identity.ts';
import { OWN_DIRECTORY } from './layout.ts';
import { isOtherFileSystem } from './other-file-system.ts';
import { hashInSteps } from './reconciler.ts';
import type { ReplicaCore } from './replica-core.ts';
import { OWNER_WORKS } from './staged-entries.ts';
import { runToEnd } from './steps.ts';

const QUARANTINE_NAME = 'quarantine';
/** The oldest beyond this many are removed. */
const MAX_FILES = 100;

/**
 * Moves a file aside that looks as the index knows it, to the time of its last change, and has another content. What was
 * edited is not meant: that is drift. Returns whether it was moved.
 */
export function quarantine({ root, index, owners, settings, logger }: ReplicaCore, path: TreePath): boolean {
  const known = index.get(path);
  const parent = root.tryDirectory(parentOf(path));
  const stat = parent?.lstat(nameOf(path));
  if (parent === undefined || stat === undefined || known?.kind !== 'file' || !looksUnchanged(known, stat, owners))
    return false;
  const fd = parent.openFile(nameOf(path));
  try {
    if (runToEnd(hashInSteps(fd, settings.digestFunction)).equals(known.digest)) return false;
  } finally {
    closeSync(fd);
  }
  const kept = `${Date.now().toString(36)}-${known.digest.toString('hex')}`;
  keep(parent, nameOf(path), root.directory(OWN_DIRECTORY), kept);
  logger.error({ path: displayPath(path), kept }, 'a content went bad on the disk and was moved to the quarantine');
  return true;
}

function keep(parent: Directory, name: string, own: Directory, kept: string): void {
  const { mtimeNs, mode } = parent.stat();
  const place = openQuarantine(own);
  try {
    const isWorkable = (mode & OWNER_WORKS) === OWNER_WORKS;
    if (!isWorkable) parent.setOwnMode((mode & MODE_MASK) | OWNER_WORKS);
    try {
      moveAside(parent, name, place, kept);
    } finally {
      if (!isWorkable) parent.setOwnMode(mode & MODE_MASK);
    }
    parent.setOwnMtimeNearest(mtimeNs);
    for (const old of place.list().sort().slice(0, -MAX_FILES)) place.unlink(old);
  } finally {
    place.close();
  }
}

function moveAside(parent: Directory, name: string, place: Directory, kept: string): void {
  try {
    parent.rename(name, place, kept);
  } catch (error) {
    if (!isOtherFileSystem(error)) throw error;
    closeSync(place.copyFileFrom({ directory: parent, name }, kept));
    try {
      parent.unlink(name);
    } catch (refusal) {
      // It is tried again with each verification: what cannot be moved must not push others out.
      place.unlink(kept);
      throw refusal;
    }
  }
}

function openQuarantine(own: Directory): ReturnType<Directory['openDirectory']> {
  if (own.lstat(QUARANTINE_NAME) === undefined) own.makeDirectory(QUARANTINE_NAME, 0o700);
  return own.openDirectory(QUARANTINE_NAME);
}
