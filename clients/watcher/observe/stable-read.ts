/**
 * Reading a small file so that what comes out is one state of it and never a mix (E37, E38): its identity is checked
 * on the open handle before and after. Knows the disk only through Directory.
 */
import { closeSync, readSync } from 'node:fs';
import type { Directory, OpenedFile } from '../../../common/fs/directory.ts';
import { readFully } from '../../../common/fs/full-io.ts';
import { type Stat, statOf } from '../../../common/fs/stat.ts';
import { errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import type { DiskIdentity } from '../../../common/tree/entry.ts';

export type StableRead =
  /** The content is in the caller's buffer; `stat` is what it belongs to. */
  | { readonly outcome: 'read'; readonly stat: Stat }
  /** It is not, or no longer, what was expected: look at it again, after a pause. */
  | { readonly outcome: 'changed' }
  /** There is nothing at this name. */
  | { readonly outcome: 'vanished' }
  /** The operating system said no; nothing follows from that about the entry's existence (E48, E50). */
  | { readonly outcome: 'unreadable'; readonly errno: string };

const CHANGED: StableRead = { outcome: 'changed' };
const VANISHED: StableRead = { outcome: 'vanished' };

/**
 * Reads the whole file `name` into `buffer` from `offset` on, provided that it is the inode that `expected` describes,
 * before and after. A link or FIFO in its place is `changed`, and is never opened for reading.
 * @param expected what lstat said when the file was chosen
 * @param buffer has room for the content and one byte more, for the one that must not be there
 * @throws LockstepError LIMIT_EXCEEDED when `expected.sizeBytes` does not fit; INTERNAL, INVALID_PATH as Directory does.
 */
export function readStable(
  directory: Directory,
  name: string,
  expected: DiskIdentity,
  buffer: Buffer,
  offset = 0,
): StableRead {
  const { sizeBytes } = expected;
  if (sizeBytes >= buffer.length - offset) {
    throw new LockstepError('LIMIT_EXCEEDED', `a file of ${sizeBytes} bytes is too large to be read at once`);
  }
  let opened: OpenedFile;
  try {
    opened = directory.openFileWithStat(name);
  } catch (error) {
    return failureOf(error);
  }
  const { fd } = opened;
  try {
    if (!isSameState(opened.stat, expected)) return CHANGED;
    // Asked for a byte too much, the system shows the end of the file in the same call.
    let length = readSync(fd, buffer, offset, sizeBytes + 1, 0);
    if (length < sizeBytes) length += readFully(fd, buffer, offset + length, sizeBytes + 1 - length, length);
    if (length !== sizeBytes) return CHANGED;
    const stat = statOf(fd);
    if (!isSameState(stat, expected)) return CHANGED;
    return { outcome: 'read', stat };
  } catch (error) {
    return failureOf(error);
  } finally {
    closeSync(fd);
  }
}

/** True for the same inode with the same content, as far as the quick check can tell (E44). An open file stays one. */
function isSameState(a: Stat, b: DiskIdentity): boolean {
  return (
    a.ino === b.ino &&
    a.sizeBytes === b.sizeBytes &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs &&
    a.dev === b.dev
  );
}

function failureOf(error: unknown): StableRead {
  if (error instanceof LockstepError && error.reason === 'NOT_REGULAR') return CHANGED;
  const errno = errnoOf(error);
  if (errno === undefined) throw error;
  if (errno === 'ENOENT' || errno === 'ENOTDIR') return VANISHED;
  return { outcome: 'unreadable', errno };
}
