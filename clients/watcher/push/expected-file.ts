/**
 * A file that must look as it did when it was chosen: opened safely, compared before and after it is read (E37).
 */
import { closeSync } from 'node:fs';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { type Stat, statOf } from '../../../common/fs/stat.ts';
import { errnoError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { displayPath, nameOf, parentOf } from '../../../common/tree/tree-path.ts';
import type { ExpectedFile } from './content-messages.ts';

/** Errors of a path that is no longer there, or no longer leads to a regular file: look at it again. */
const GONE_ERRNOS: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'ESTALE']);

/**
 * Undefined when the file is not what was expected.
 * @throws LockstepError PERMISSION_DENIED, IO when it cannot be read.
 */
export function openExpected(root: SafeRoot, file: ExpectedFile): number | undefined {
  const fd = opened(root, file);
  if (fd === undefined) return undefined;
  try {
    if (looksAsExpected(statOf(fd), file)) return fd;
  } catch (error) {
    closeSync(fd);
    throw readError(file, error);
  }
  closeSync(fd);
  return undefined;
}

/** Neither the open file nor what its path leads to may have changed while it was read. */
export function isStillExpected(root: SafeRoot, fd: number, file: ExpectedFile): boolean {
  if (!looksAsExpected(statOf(fd), file)) return false;
  const now = statAt(root, file);
  return now !== undefined && looksAsExpected(now, file);
}

function opened(root: SafeRoot, file: ExpectedFile): number | undefined {
  try {
    // Others move directories in a watched tree: cached handles may be somewhere else by now.
    root.forgetAll();
    return root.directory(parentOf(file.path)).openFile(nameOf(file.path));
  } catch (error) {
    if (isGone(error)) return undefined;
    throw readError(file, error);
  }
}

function statAt(root: SafeRoot, file: ExpectedFile): Stat | undefined {
  try {
    root.forgetAll();
    return root.directory(parentOf(file.path)).lstat(nameOf(file.path));
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function looksAsExpected(stat: Stat, file: ExpectedFile): boolean {
  return (
    stat.kind === 'file' &&
    stat.ino === file.ino &&
    stat.sizeBytes === file.sizeBytes &&
    stat.mtimeNs === file.mtimeNs &&
    stat.ctimeNs === file.ctimeNs
  );
}

function isGone(error: unknown): boolean {
  if (error instanceof LockstepError) return error.reason === 'NOT_REGULAR';
  return GONE_ERRNOS.has(errnoOf(error));
}

export function readError(file: ExpectedFile, error: unknown): LockstepError {
  if (error instanceof LockstepError) return error;
  return errnoError(`read ${displayPath(file.path)}`, error, file.path);
}
