/**
 * After a sync of the replica's file system that failed: what the log still holds is written anew, because syncing again
 * could succeed without it (E86). Contents that came inside of batches are made from the log, and synced one by one; those that
 * were uploaded, copied or built from a delta were synced by themselves before they got their names. Links are made anew,
 * metadata is set again, and directories are synced.
 *
 * That names and inodes do not get lost by halves is left to the file system's journal: one that cannot write it stops.
 *
 * May be left at any step and begun again: each file is replaced by the same one.
 */
import type { IndexedEntry } from '../../../common/tree/entry.ts';
import { nameOf, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import { decodeBatch } from './batch-decoder.ts';
import { acceptedChanges, type FileEntry } from './change.ts';
import { hasSameContent, identityOf } from './disk-identity.ts';
import { failuresIn } from './log.ts';
import { isWhole } from './recovery-check.ts';
import { install, lstat, rebuildFromLog, REPAIR_NAME } from './rebuild-from-log.ts';
import type { ReplicaCore } from './replica-core.ts';
import type { Steps } from './steps.ts';
import { TouchedPaths } from './touched-paths.ts';

/** Nothing may be applied before it is through. Returns how many files it wrote. @throws errno errors: then it is to be begun again */
export function* rewriteUnsynced(core: ReplicaCore): Steps<number> {
  const touched = yield* touchedBy(core);
  const files = new Map<TreePath, FileEntry>();
  const directories: TreePath[] = [];
  for (const { path, isUnsynced } of touched) {
    const entry = core.index.get(path);
    if (entry === undefined) continue;
    if (entry.kind === 'directory') directories.push(path);
    else if (entry.kind === 'file' && isUnsynced) files.set(path, entry);
    else if (isOurs(core, entry)) settled(core, () => againWithoutContent(core, entry));
    yield;
  }
  const count = files.size;
  yield* filesAnew(core, files);
  for (const path of directories) {
    core.root.forgetAll();
    if (core.root.tryDirectory(path) === undefined) continue;
    settled(core, () => {
      core.performer.touched.touch(path);
      core.root.directory(path).sync();
    });
    yield;
  }
  core.staging.sync();
  return count - files.size;
}

/** Where everything is that the log tells of. */
export function* touchedBy({ log, settings }: ReplicaCore): Steps<TouchedPaths> {
  const touched = new TouchedPaths();
  const failures = failuresIn(log);
  for (const record of log.records()) {
    if (record.type !== 'batch') continue;
    const { changes } = decodeBatch(record.encoded, record.form, settings);
    const problems = [...record.refused, ...(failures.get(record.revision) ?? [])];
    for (const [, change] of acceptedChanges(changes, problems)) touched.note(change);
    yield;
  }
  return touched;
}

function* filesAnew(core: ReplicaCore, files: Map<TreePath, FileEntry>): Steps<void> {
  const mayReplace = (path: TreePath): boolean => {
    const entry = core.index.get(path);
    return entry !== undefined && isOurs(core, entry);
  };
  const steps = rebuildFromLog(core, core.performer, files, { syncs: true, mayReplace });
  while (settled(core, () => steps.next()).done !== true) yield;
}

/** A link, or the permission bits and time of a file whose content was synced by itself. */
function againWithoutContent(core: ReplicaCore, entry: IndexedEntry): void {
  const { path } = entry;
  if (entry.kind === 'symlink') {
    core.staged.makeSymlink(REPAIR_NAME, entry);
    install(core, core.performer, path);
    return;
  }
  const parent = core.root.directory(parentOf(path));
  if (entry.kind === 'file') parent.setMode(nameOf(path), entry.mode);
  parent.setMtime(nameOf(path), entry.mtimeNs);
  const stat = parent.lstat(nameOf(path));
  if (stat !== undefined) core.index.setIdentity(path, identityOf(stat));
}

/** What somebody else put there was promised to nobody; looking for drift finds it. */
function isOurs(core: ReplicaCore, entry: IndexedEntry): boolean {
  core.root.forgetAll();
  const stat = lstat(core, entry.path);
  if (stat?.kind !== entry.kind) return false;
  if (entry.identity === undefined || hasSameContent(entry, stat)) return true;
  // It may look changed because this program's clock and the file system's are not the same.
  if (entry.kind === 'file') return isWhole(core, entry, stat, true);
  const parent = core.root.directory(parentOf(entry.path));
  return entry.kind === 'symlink' && parent.readLink(nameOf(entry.path)).equals(entry.target);
}

/** One file: the index has its new inode, and its directory its old time, before anybody else looks. */
function settled<T>({ index, performer }: ReplicaCore, replace: () => T): T {
  try {
    return index.transaction(replace);
  } finally {
    // A directory that is gone meanwhile is drift, and found as such.
    performer.touched.restore(() => undefined);
  }
}
