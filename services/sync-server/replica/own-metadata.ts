/**
 * Permission bits and modification time of an open directory itself: the replica's root has no name inside of the
 * replica, and for all others the handle is at hand. Touches no names.
 */
import { chmodSync, utimesSync } from 'node:fs';
import type { Directory } from '../../../common/fs/directory.ts';
import { accessTime, utimesArgument } from '../../../common/fs/times.ts';
import { MODE_MASK } from '../../../common/tree/entry.ts';

/** fchmod and futimes refuse O_PATH handles; through /proc they work. */
export function setOwnMode(directory: Directory, mode: number): void {
  chmodSync(`/proc/self/fd/${directory.fd}`, mode & MODE_MASK);
}

export function setOwnMtime(directory: Directory, mtimeNs: bigint): void {
  utimesSync(`/proc/self/fd/${directory.fd}`, accessTime(), utimesArgument(mtimeNs));
}
