/**
 * Giving files to others: the owner of an open file, and how the system says that it does not permit that. Knows no paths.
 */
import { errnoOf, LockstepError } from '../ops/errors.ts';
import { fchown } from './descriptor.ts';
import { SYSTEM } from './system.ts';

/** In the place of a number: the user, or the group, stays. */
export const LEAVE_ID = -1;

/** @throws LockstepError USAGE on Windows, whose owners have no numbers: Node does as if all went well */
export function assertOwnersExist(system: NodeJS.Platform = SYSTEM): void {
  if (system !== 'win32') return;
  throw new LockstepError('USAGE', 'there are no owners of this sort on Windows; leave --owner away');
}

/** Not for O_PATH handles. */
export function setFdOwner(fd: number, uid: number, gid: number): void {
  fchown(fd, uid, gid);
}

/**
 * No right to, a number that this user namespace does not have (EINVAL, EOVERFLOW), a file system without owners. Everything else
 * is a fault of the moment.
 */
const REFUSALS: ReadonlySet<string | undefined> = new Set([
  'EPERM',
  'EACCES',
  'EINVAL',
  'EOVERFLOW',
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
]);

export function isOwnerRefusal(error: unknown): boolean {
  return REFUSALS.has(errnoOf(error));
}
