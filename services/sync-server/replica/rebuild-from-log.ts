/**
 * Files made once more from the contents that batches in the log brought: what a power cut may have taken from the replica, the
 * log has. One file a step.
 */
import { closeSync } from 'node:fs';
import { syncFd } from '../../../common/fs/full-io.ts';
import { inodeKey } from '../../../common/fs/inode.ts';
import type { Stat } from '../../../common/fs/stat.ts';
import { errnoOf } from '../../../common/ops/errors.ts';
import { type DiskIdentity, sameRecord } from '../../../common/tree/entry.ts';
import { nameOf, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { decodeBatch } from './batch-decoder.ts';
import type { FileEntry } from './change.ts';
import { ChangeFailure } from './change-failure.ts';
import { identityOf } from './disk-identity.ts';
import { moveIntoPlace } from './other-file-system.ts';
import type { Performer } from './performer.ts';
import type { ReplicaCore } from './replica-core.ts';
import type { Steps } from './steps.ts';

/** In staging, of whatever is put into its place next. */
export const REPAIR_NAME = 'b-repair';

export interface Rebuilding {
  /** Each content is durable before it gets its name. */
  readonly syncs: boolean;
  /** Asked at the last moment. */
  readonly mayReplace: (path: TreePath) => boolean;
}

/** Takes from `damaged` what could be made. Times of directories are left to `performer.touched`. */
export function* rebuildFromLog(
  core: ReplicaCore,
  performer: Performer,
  damaged: Map<TreePath, FileEntry>,
  { syncs, mayReplace }: Rebuilding,
): Steps<void> {
  if (damaged.size === 0) return;
  const links = new RebuiltLinks(core);
  const wanted = Map.groupBy(damaged.values(), ({ digest }) => digest.toString('hex'));
  for (const record of core.log.records()) {
    if (record.type !== 'batch') continue;
    for (const change of decodeBatch(record.encoded, record.form, core.settings).changes) {
      if (change instanceof ChangeFailure || change.operation !== 'put' || change.content.type !== 'inline') continue;
      const digest = change.entry.digest.toString('hex');
      for (const entry of wanted.get(digest) ?? []) {
        if (!mayReplace(entry.path)) continue;
        const former = core.index.get(entry.path)?.identity;
        if (!links.stage(entry, former)) {
          core.staged.file(REPAIR_NAME, entry, change.content.data);
          if (syncs) syncStaged(core);
        }
        install(core, performer, entry.path);
        links.made(entry, former);
        damaged.delete(entry.path);
        yield;
      }
      wanted.delete(digest);
    }
    yield;
  }
}

/** Names that shared an inode share the new one, too. */
class RebuiltLinks {
  readonly #core: ReplicaCore;
  readonly #made = new Map<string, FileEntry>();

  constructor(core: ReplicaCore) {
    this.#core = core;
  }

  /** Stages a further name of what was made for another name of the inode; false when there is none. */
  stage(entry: FileEntry, former: DiskIdentity | undefined): boolean {
    const made = former && this.#made.get(inodeKey(former));
    const directory = made && this.#core.root.tryDirectory(parentOf(made.path));
    if (made === undefined || directory === undefined || !sameRecord(made, entry)) return false;
    const known = this.#core.index.get(made.path)?.identity;
    if (known === undefined || directory.lstat(nameOf(made.path))?.ino !== known.ino) return false;
    try {
      return this.#core.staged.link(REPAIR_NAME, directory, nameOf(made.path)).ino === known.ino;
    } catch (error) {
      // On another file system: then it becomes a file of its own.
      if (errnoOf(error) === undefined) throw error;
      return false;
    }
  }

  made(entry: FileEntry, former: DiskIdentity | undefined): void {
    if (former !== undefined && this.#core.index.keepsInodes && !this.#made.has(inodeKey(former)))
      this.#made.set(inodeKey(former), entry);
  }
}

/** Moves what is ready in staging to its path, and lets the index know it. */
export function install(core: ReplicaCore, performer: Performer, path: TreePath): void {
  const parent = core.root.tryDirectory(parentOf(path));
  if (parent === undefined) return;
  if (core.folding.otherSpelling(parent, nameOf(path)) !== undefined) {
    core.staged.discard(REPAIR_NAME);
    core.index.remove(path);
    return;
  }
  performer.touched.touch(parentOf(path));
  const former = core.index.get(path)?.identity;
  moveIntoPlace(core.staged.directory, REPAIR_NAME, parent, nameOf(path));
  core.crashPoint('repaired');
  const stat = core.root.directory(parentOf(path)).lstat(nameOf(path));
  if (stat !== undefined) core.index.setIdentity(path, identityOf(stat));
  // The other names of what was there, and of what came, have another time of change now.
  performer.shared.changed(former);
  performer.shared.changed(stat);
  performer.shared.tell();
}

export function lstat(core: ReplicaCore, path: TreePath): Stat | undefined {
  if (path === ROOT) return core.root.directory(ROOT).stat();
  const parent = core.root.tryDirectory(parentOf(path));
  return parent && core.folding.lstat(parent, nameOf(path));
}

function syncStaged({ staged }: ReplicaCore): void {
  const fd = staged.directory.openFileForWriting(REPAIR_NAME);
  try {
    syncFd(fd);
  } finally {
    closeSync(fd);
  }
}
