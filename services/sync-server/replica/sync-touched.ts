/**
 * Makes durable what the log tells of, one file after the other: for systems that have no call for a whole file system
 * (Windows). Names and times are left to its journal.
 */
import { closeSync } from 'node:fs';
import { syncFd } from '../../../common/fs/full-io.ts';
import { nameOf, parentOf } from '../../../common/tree/tree-path.ts';
import type { ReplicaCore } from './replica-core.ts';
import { touchedBy } from './rewrite-unsynced.ts';
import type { Steps } from './steps.ts';

/** Nothing may be applied before it is through: the paths are those of the disk. Returns how many files. @throws errno errors */
export function* syncTouched(core: ReplicaCore): Steps<number> {
  let count = 0;
  for (const { path, isUnsynced } of yield* touchedBy(core)) {
    if (!isUnsynced || core.index.get(path)?.kind !== 'file') continue;
    core.root.forgetAll();
    const parent = core.root.tryDirectory(parentOf(path));
    // What somebody else removed or replaced was promised to nobody; looking for drift finds it.
    if (parent?.lstat(nameOf(path))?.kind !== 'file') continue;
    const fd = parent.openFileForWriting(nameOf(path));
    try {
      syncFd(fd);
    } finally {
      closeSync(fd);
    }
    count++;
    yield;
  }
  return count;
}
