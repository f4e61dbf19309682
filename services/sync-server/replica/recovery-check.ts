/**
 * The second half of recovery: every path that the log touched is held against the index, contents by their digest, and
 * made what the index says. A file renamed but not synced may be empty or torn after a power cut; the log has it.
 */
import { closeSync } from 'node:fs';
import type { Stat } from '../../../common/fs/stat.ts';
import { errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { type IndexedEntry, modeOf } from '../../../common/tree/entry.ts';
import { nameOf, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { FileEntry } from './change.ts';
import { ChangeFailure } from './change-failure.ts';
import { hashFile } from './content-builder.ts';
import { hasSameMetadata, identityOf, looksUnchanged } from './disk-identity.ts';
import { contentName } from './layout.ts';
import type { Performer } from './performer.ts';
import { install, lstat, rebuildFromLog, REPAIR_NAME } from './rebuild-from-log.ts';
import type { ReplicaCore } from './replica-core.ts';
import { runToEnd } from './steps.ts';
import type { TouchedPaths } from './touched-paths.ts';

export interface CheckOutcome {
  /** Paths whose content is nowhere to be found. */
  readonly lost: readonly TreePath[];
  /** Names that may have shared an inode, and do no longer: right in themselves, but files of their own now. */
  readonly hasSeparated: boolean;
}

/** Times of directories are left to `performer.touched`. */
export function checkTouchedPaths(core: ReplicaCore, performer: Performer, touched: TouchedPaths): CheckOutcome {
  const damaged = new Map<TreePath, FileEntry & IndexedEntry>();
  let hasSeparated = false;
  for (const { path, isUnsynced } of touched) {
    const entry = core.index.get(path);
    if (entry === undefined) continue;
    const stat = lstat(core, path);
    switch (entry.kind) {
      case 'directory':
        checkDirectory(core, performer, entry, stat);
        break;
      case 'symlink':
        checkSymlink(core, performer, entry, stat);
        break;
      case 'file':
        if (stat?.ino !== entry.identity?.ino && performer.shared.formerSiblingOf(entry) !== undefined)
          hasSeparated = true;
        if (!isWhole(core, entry, stat, isUnsynced)) damaged.set(path, entry);
        else if (stat !== undefined && settleMetadata(core, performer, entry, stat) === 'separated')
          hasSeparated = true;
        break;
    }
  }
  hasSeparated ||= damaged.size > 0 && core.index.keepsInodes;
  const mayReplace = (path: TreePath): boolean => !isBlocked(core, path);
  runToEnd(rebuildFromLog(core, performer, damaged, { syncs: false, mayReplace }));
  rebuildFromStaging(core, performer, damaged);
  return { lost: [...damaged.keys()], hasSeparated };
}

function checkDirectory(core: ReplicaCore, performer: Performer, entry: IndexedEntry, stat: Stat | undefined): void {
  const { path } = entry;
  if (entry.kind !== 'directory') return;
  if (path !== ROOT && stat === undefined) {
    core.staged.makeDirectory(REPAIR_NAME, entry);
    install(core, performer, path);
  }
  if (path === ROOT || stat === undefined || stat.kind === 'directory') performer.touched.add(path);
  const after = stat ?? lstat(core, path);
  if (after?.kind === 'directory') core.index.setIdentity(path, identityOf(after));
}

function checkSymlink(core: ReplicaCore, performer: Performer, entry: IndexedEntry, stat: Stat | undefined): void {
  if (entry.kind !== 'symlink' || stat?.kind === 'directory') return;
  const parent = core.root.tryDirectory(parentOf(entry.path));
  const isRight = stat?.kind === 'symlink' && parent?.readLink(nameOf(entry.path)).equals(entry.target) === true;
  if (isRight) {
    settleMetadata(core, performer, entry, stat);
    return;
  }
  core.staged.makeSymlink(REPAIR_NAME, entry);
  install(core, performer, entry.path);
}

/** Whether the file has its content. One that was synced by itself is believed when it looks right. */
export function isWhole(
  core: ReplicaCore,
  entry: FileEntry & IndexedEntry,
  stat: Stat | undefined,
  isUnsynced: boolean,
): boolean {
  if (stat?.kind !== 'file' || stat.sizeBytes !== entry.sizeBytes) return false;
  if (!isUnsynced && looksUnchanged(entry, stat, core.owners)) return true;
  try {
    const fd = core.root.directory(parentOf(entry.path)).openFile(nameOf(entry.path));
    try {
      return hashFile(fd, core.settings.digestFunction).equals(entry.digest);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (errnoOf(error) === undefined && !(error instanceof LockstepError)) throw error;
    return false;
  }
}

/**
 * Gives an entry with the right content its owner, permission bits and time, and the index its identity. A file with other names
 * gets an inode of its own for that: they may be meant to have others.
 */
export function settleMetadata(
  core: ReplicaCore,
  performer: Performer,
  entry: IndexedEntry,
  stat: Stat,
): 'separated' | 'settled' {
  const parent = core.root.directory(parentOf(entry.path));
  const isRight = hasSameMetadata(entry, stat, core.owners);
  if (!isRight && entry.kind === 'file' && stat.nlink > 1) {
    core.builder.copy(REPAIR_NAME, entry, { ...entry, identity: undefined });
    install(core, performer, entry.path);
    return 'separated';
  }
  if (!isRight) {
    core.owners?.give(parent, nameOf(entry.path), entry.owner, stat, modeOf(entry));
    if (entry.kind === 'file') parent.setMode(nameOf(entry.path), entry.mode);
    parent.setMtime(nameOf(entry.path), entry.mtimeNs);
  }
  const after = parent.lstat(nameOf(entry.path));
  if (after !== undefined) core.index.setIdentity(entry.path, identityOf(after));
  return 'settled';
}

function rebuildFromStaging(
  core: ReplicaCore,
  performer: Performer,
  damaged: Map<TreePath, FileEntry & IndexedEntry>,
): void {
  for (const [path, entry] of damaged) {
    if (isBlocked(core, path)) continue;
    const name = contentName(entry.digest);
    if (core.staged.directory.lstat(name)?.kind === 'file') {
      const fd = core.staged.openContent(name);
      const isRight = hashFile(fd, core.settings.digestFunction).equals(entry.digest);
      closeSync(fd);
      if (!isRight) continue;
      core.staged.adopt(name, entry);
      core.staged.directory.rename(name, core.staged.directory, REPAIR_NAME);
    } else {
      const sibling = performer.shared.formerSiblingOf(entry);
      const from = core.index.findByDigest(entry.digest) ?? (sibling && core.index.get(sibling));
      if (from?.kind !== 'file' || from.path === path) continue;
      try {
        // The digest of the copy decides.
        core.builder.copy(REPAIR_NAME, entry, { ...from, identity: undefined });
      } catch (error) {
        if (!(error instanceof ChangeFailure)) throw error;
        continue;
      }
    }
    install(core, performer, path);
    damaged.delete(path);
  }
}

/** A directory where a file should be is not ours to remove here, nor is what has the name in another spelling (E08). */
function isBlocked(core: ReplicaCore, path: TreePath): boolean {
  const parent = core.root.tryDirectory(parentOf(path));
  if (parent === undefined || core.folding.otherSpelling(parent, nameOf(path)) !== undefined) return true;
  return lstat(core, path)?.kind === 'directory';
}
