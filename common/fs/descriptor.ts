/**
 * What is done to an open file, whatever its path. Under Node's permission model (`--permission`) Node refuses these calls, because a
 * descriptor does not tell which path was permitted. There they go through the name under which the kernel shows the descriptor
 * (Linux only): it leads to the same inode, wherever its names have gone meanwhile.
 */
import {
  close as closeCalling,
  chmodSync,
  chownSync,
  fchmodSync,
  fchownSync,
  fdatasync as fdatasyncCalling,
  fdatasyncSync,
  fsyncSync,
  futimesSync,
  type TimeLike,
  utimesSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { promisify } from 'node:util';
import { isNodeRefusal, permissionModel } from '../ops/permissions.ts';
import { handlePath } from './own-handles.ts';
import { assertSyncsInThread, syncByCommandBeside, syncInThread } from './sync-thread.ts';

const isRestricted = permissionModel !== undefined;

/** For the start of a program. @throws LockstepError USAGE where Node permits no way to sync */
export function assertCanSync(): void {
  if (isRestricted) assertSyncsInThread();
}

/** Sets permission bits, as they are. Not for O_PATH handles; nor are the others. */
export function fchmod(fd: number, mode: number): void {
  if (isRestricted) chmodSync(handlePath(fd), mode);
  else fchmodSync(fd, mode);
}

export function fchown(fd: number, uid: number, gid: number): void {
  if (isRestricted) chownSync(handlePath(fd), uid, gid);
  else fchownSync(fd, uid, gid);
}

export function futimes(fd: number, accessTime: TimeLike, modificationTime: TimeLike): void {
  if (isRestricted) utimesSync(handlePath(fd), accessTime, modificationTime);
  else futimesSync(fd, accessTime, modificationTime);
}

/** @throws errno errors: then what was written must be taken for lost (E86), and EINVAL where the file system has no such call */
export function fsync(fd: number): void {
  if (isRestricted) syncInThread(handlePath(fd), 'everything');
  else fsyncSync(fd);
}

/** As `fsync`, without what reading the data back does not need. */
export function fdatasync(fd: number): void {
  if (isRestricted) syncInThread(handlePath(fd), 'data');
  else fdatasyncSync(fd);
}

/** Closes beside this thread's work: the last handle of a removed file gives its space back. */
export function closeBeside(fd: number): Promise<void> {
  return promisify(closeCalling)(fd);
}

/** As `fdatasync`, beside this thread's work. */
export async function fdatasyncBeside(fd: number): Promise<void> {
  if (!isRestricted) return promisify(fdatasyncCalling)(fd);
  const handle = await open(handlePath(fd));
  try {
    await handle.datasync();
  } catch (error) {
    if (!isNodeRefusal(error)) throw error;
    await syncByCommandBeside(handlePath(fd), 'data');
  } finally {
    await handle.close();
  }
}
