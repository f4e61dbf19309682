/**
 * How a client shows that it is on the server's machine with at least the rights of the server's user: by a key that only that
 * user may read. Then the server may open a file for it without lending it anything (docs/security.md).
 */
import { createHmac } from 'node:crypto';

/** The file's name, always: nobody is made to read another file for a key. */
export const LOCAL_KEY_NAME = 'local-key';
export const LOCAL_KEY_BYTES = 32;

/** 32 bytes. `path` as it is given to the system. */
export function localProof(key: Uint8Array, uploadId: Uint8Array, path: Uint8Array): Buffer {
  return createHmac('sha256', key).update(uploadId).update(path).digest();
}
