/**
 * The few paths of the replica that the operator named: its root and the state directory, and what is right below the
 * latter. Never a path in the tree.
 */
import { constants, existsSync, openSync, rmSync } from 'node:fs';
import { makeDirectories } from '../../../common/fs/make-directories.ts';
import { errnoOf, LockstepError, reasonOfErrno } from '../../../common/ops/errors.ts';

/** With its parents; one that exists stays as it is. @throws LockstepError USAGE; NO_SPACE, READ_ONLY */
export function makeStateDirectory(path: string): void {
  try {
    makeDirectories(path, 0o700);
  } catch (error) {
    const reason = reasonOfErrno(error);
    const what = `cannot make the state directory ${path}: ${errnoOf(error) ?? 'unknown error'}`;
    const isFull = reason === 'NO_SPACE' || reason === 'READ_ONLY';
    throw new LockstepError(isFull ? reason : 'USAGE', `${what}; choose another with --state`);
  }
}

/** Readable by others, as far as the umask lets them: it is a plain directory for everybody. */
export function makeReplicaDirectory(path: string): void {
  makeDirectories(path);
}

export function stateFileExists(path: string): boolean {
  return existsSync(path);
}

/** For reading and writing; created when it does not exist. The caller closes it. */
export function openStateFile(path: string): number {
  return openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
}

/** A file, or a directory with all its files; what is not there counts as removed. */
export function removeStateFile(path: string): void {
  rmSync(path, { recursive: true, force: true });
}
