/**
 * A file of this machine that a content is copied from, because a client who may read it has named it.
 */
import { openNamedFile } from '../../../common/fs/named-file.ts';
import { errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import type { LocalFile } from './replica.ts';

/** Open for reading. @throws BASIS_MISMATCH when it cannot be opened, or is another file than was named. */
export function openLocalFile({ path, device, inode }: LocalFile, sizeBytes: number): number {
  try {
    const fd = openNamedFile(
      path,
      ({ dev, ino, sizeBytes: size }) => dev === device && ino === inode && size === sizeBytes,
    );
    if (fd !== undefined) return fd;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    throw new LockstepError('BASIS_MISMATCH', `the local file cannot be opened (${errno}); send what is in it`);
  }
  throw new LockstepError('BASIS_MISMATCH', 'the local file is another one here; send what is in it');
}
