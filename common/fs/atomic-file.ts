/**
 * Small files that readers see wholly old or wholly new: ready files, configuration, tokens. For operators' paths, not
 * for tree paths.
 */
import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync, renameSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { errnoOf } from '../ops/errors.ts';
import { fchmod } from './descriptor.ts';
import { syncFd, writeFully } from './full-io.ts';
import { SYSTEM } from './system.ts';
import { retryWhileBusy } from './while-busy.ts';

export interface AtomicFileOptions {
  /** Permission bits of the file, whatever the umask. Default 0600. */
  readonly mode?: number | undefined;
}

/**
 * Replaces or creates the file; when this returns it is durable. A symbolic link at `path` is replaced, not followed.
 * On an error the old file is untouched; a crash may leave a `.lockstep-….tmp` beside it, which has no meaning.
 * @throws an errno error.
 */
export function writeFileAtomic(path: string, data: string | Uint8Array, options: AtomicFileOptions = {}): void {
  const directory = dirname(path);
  // Not the name and a suffix: the name may have its 255 bytes already (E04).
  const temporary = join(directory, `.lockstep-${randomBytes(9).toString('base64url')}.tmp`);
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  const fd = openSync(
    temporary,
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  );
  try {
    try {
      writeFully(fd, bytes, 0, bytes.length, null);
      fchmod(fd, options.mode ?? 0o600);
      syncFd(fd);
    } finally {
      closeSync(fd);
    }
    retryWhileBusy(() => renameSync(temporary, path));
  } catch (error) {
    removeQuietly(temporary);
    throw error;
  }
  syncDirectory(directory);
}

/** Makes the names in a directory durable. Windows has no such call: there they are when its journal has them. */
export function syncDirectory(directory: string): void {
  if (SYSTEM === 'win32') return;
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    syncFd(fd);
  } finally {
    closeSync(fd);
  }
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    // The error that led here is the one to report; a leftover has no meaning. Anything else is a defect.
    if (errnoOf(error) === undefined) throw error;
  }
}
