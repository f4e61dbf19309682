/**
 * Reads the `.syncignore` of a directory, for IgnoreRules. Knows the disk only through Directory.
 */
import { closeSync } from 'node:fs';
import type { Directory } from '../../../common/fs/directory.ts';
import { readFully } from '../../../common/fs/full-io.ts';
import { errnoError, errnoOf, LockstepError, reasonOf } from '../../../common/ops/errors.ts';
import { displayPath, joinPath } from '../../../common/tree/tree-path.ts';
import { IGNORE_FILE_NAME, MAX_IGNORE_FILE_BYTES } from './ignore-rules.ts';

/**
 * Its content, cut off beyond what IgnoreRules accepts; undefined when there is no regular file of this name; an error
 * when there is one that cannot be read, about the directory when that cannot be searched. It may be half-written: the hint of
 * the next write brings the rest.
 */
export function readIgnoreFile(directory: Directory): Buffer | undefined | LockstepError {
  let fd: number | undefined;
  let isFound = false;
  try {
    if (directory.lstat(IGNORE_FILE_NAME)?.kind !== 'file') return undefined;
    isFound = true;
    fd = directory.openFile(IGNORE_FILE_NAME);
    const buffer = Buffer.alloc(MAX_IGNORE_FILE_BYTES + 1);
    return buffer.subarray(0, readFully(fd, buffer, 0, buffer.length, 0));
  } catch (error) {
    if (error instanceof LockstepError && error.reason === 'NOT_REGULAR') return undefined;
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    // Its directory went, or another one took its place: that is told by a hint of its own.
    if (errno === 'ENOENT' || errno === 'ESTALE') return undefined;
    if (!isFound && reasonOf(errno) === 'PERMISSION_DENIED') {
      return errnoError(`search ${displayPath(directory.path)}`, error, directory.path);
    }
    const path = joinPath(directory.path, IGNORE_FILE_NAME);
    return errnoError(`read ${displayPath(path)}; its last good rules stay in force`, error, path);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
