/**
 * Reads and writes that finish: the operating system may transfer less than asked (F35). Knows no paths.
 */
import { readSync, write as writeCalling, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { errnoOf, LockstepError } from '../ops/errors.ts';
import { fsync } from './descriptor.ts';

/**
 * Reads `length` bytes into `buffer` at `offset`, from `position` of the file, or from its own position when that is
 * null. Returns the bytes read: fewer than `length` only at the end of the file.
 */
export function readFully(
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number | null,
): number {
  let done = 0;
  while (done < length) {
    const count = readSync(fd, buffer, offset + done, length - done, position === null ? null : position + done);
    if (count === 0) break;
    done += count;
  }
  return done;
}

/**
 * Writes all of `length` bytes of `buffer` from `offset`, to `position` of the file, or to its own position when that
 * is null. On an error part of it may have been written.
 */
export function writeFully(
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number | null,
): void {
  let done = 0;
  while (done < length) {
    const count = writeSync(fd, buffer, offset + done, length - done, position === null ? null : position + done);
    if (count === 0) throw new LockstepError('IO', `a write of ${length - done} bytes wrote nothing`);
    done += count;
  }
}

/** As `writeFully` of the whole buffer to `position`, beside this thread's work. Until it settles, the file must stay open and the buffer untouched. */
export async function writeFullyBeside(fd: number, buffer: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < buffer.length) {
    const { bytesWritten } = await promisify(writeCalling)(fd, buffer, done, buffer.length - done, position + done);
    if (bytesWritten === 0) throw new LockstepError('IO', `a write of ${buffer.length - done} bytes wrote nothing`);
    done += bytesWritten;
  }
}

/**
 * Makes an open file or directory durable. A file system that has no fsync says EINVAL, which is tolerated. After any
 * other error the data must be taken for lost: write it anew, never sync again and trust the answer (E86).
 */
export function syncFd(fd: number): void {
  try {
    fsync(fd);
  } catch (error) {
    if (errnoOf(error) !== 'EINVAL') throw error;
  }
}
