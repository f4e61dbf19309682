/**
 * Reading a small file so that what comes out is one state of it and never a mix (E37, E38): its identity is checked
 * on the open handle before and after. Knows the disk only through Directory.
 */
import { closeSync } from 'node:fs';
import type { Directory } from '../../../common/fs/directory.ts';
import { readFully } from '../../../common/fs/full-io.ts';
import { type Stat, statOf } from '../../../common/fs/stat.ts';
import { errnoOf, LockstepError } from '../../../common/ops/errors.ts';

export type StableRead =
  /** `data` is a view of the caller's buffer; `stat` is what the content belongs to. */
  | { readonly outcome: 'read'; readonly data: Buffer; readonly stat: Stat }
  /** It is not, or no longer, what was expected: look at it again, after a pause. */
  | { readonly outcome: 'changed' }
  /** There is nothing at this name. */
  | { readonly outcome: 'vanished' }
  /** The operating system said no; nothing follows from that about the entry's existence (E48, E50). */
  | { readonly outcome: 'unreadable'; readonly errno: string };

const CHANGED: StableRead = { outcome: 'changed' };
const VANISHED: StableRead = { outcome: 'vanished' };

/** For the byte that must not be there. */
const beyond = Buffer.alloc(1);

/**
 * Reads the whole file `name` into `buffer` from `offset` on, provided that it is the inode that `expected` describes,
 * before and after. A link or FIFO in its place is `changed`, and is never opened for reading.
 * @param expected what lstat said when the file was chosen
 * @throws LockstepError LIMIT_EXCEEDED when `expected.sizeBytes` does not fit; INTERNAL, INVALID_PATH as Directory does.
 */
export function readStable(directory: Directory, name: string, expected: Stat, buffer: Buffer, offset = 0): StableRead {
  if (expected.sizeBytes > buffer.length - offset) {
    throw new LockstepError('LIMIT_EXCEEDED', `a file of ${expected.sizeBytes} bytes is too large to be read at once`);
  }
  let fd: number;
  try {
    fd = directory.openFile(name);
  } catch (error) {
    return failureOf(error);
  }
  try {
    if (!isSameState(statOf(fd), expected)) return CHANGED;
    const length = readFully(fd, buffer, offset, expected.sizeBytes, 0);
    if (length < expected.sizeBytes || readFully(fd, beyond, 0, 1, length) !== 0) return CHANGED;
    const stat = statOf(fd);
    if (!isSameState(stat, expected)) return CHANGED;
    return { outcome: 'read', data: buffer.subarray(offset, offset + length), stat };
  } catch (error) {
    return failureOf(error);
  } finally {
    closeSync(fd);
  }
}

/** True when both describe the same inode with the same content, as far as the quick check can tell (E44). */
export function isSameState(a: Stat, b: Stat): boolean {
  return (
    a.ino === b.ino &&
    a.sizeBytes === b.sizeBytes &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs &&
    a.dev === b.dev &&
    a.kind === b.kind
  );
}

function failureOf(error: unknown): StableRead {
  if (error instanceof LockstepError && error.reason === 'NOT_REGULAR') return CHANGED;
  const errno = errnoOf(error);
  if (errno === undefined) throw error;
  if (errno === 'ENOENT' || errno === 'ENOTDIR') return VANISHED;
  return { outcome: 'unreadable', errno };
}
