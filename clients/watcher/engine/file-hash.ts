/** Hashes a file on this thread, for a dry run: what it would send must not depend on what is large. */
import { closeSync } from 'node:fs';
import { ContentHasher, type Digest, type DigestFunction } from '../../../common/content/digest.ts';
import type { Directory } from '../../../common/fs/directory.ts';
import { readFully } from '../../../common/fs/full-io.ts';

const CHUNK_BYTES = 256 * 1024;

/** Undefined when it cannot be read. */
export function hashFile(directory: Directory, name: string, digestFunction: DigestFunction): Digest | undefined {
  let fd: number;
  try {
    fd = directory.openFile(name);
  } catch {
    // Gone, or not to be read: a dry run says what it can.
    return undefined;
  }
  try {
    const hasher = new ContentHasher(digestFunction);
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    for (let position = 0; ; ) {
      const length = readFully(fd, chunk, 0, CHUNK_BYTES, position);
      if (length === 0) return hasher.digest();
      hasher.update(chunk.subarray(0, length));
      position += length;
    }
  } finally {
    closeSync(fd);
  }
}
