/**
 * Large files that a server on the same machine reads itself, in place of being sent what is in them. It may do that where this
 * process can read the server's key, which only the server's own user and whoever may do more can (common/rpc/local-proof.ts).
 */
import { closeSync } from 'node:fs';
import { basename, isAbsolute } from 'node:path';
import { readFully } from '../../../common/fs/full-io.ts';
import { openNamedFile } from '../../../common/fs/named-file.ts';
import { errnoOf } from '../../../common/ops/errors.ts';
import { LOCAL_KEY_BYTES, LOCAL_KEY_NAME, localProof } from '../../../common/rpc/local-proof.ts';
import type { LocalFile } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { UploadRequest } from '../engine/messages.ts';

/** Files in a row that the server could not read, after which it is not asked again. */
const MAX_FAILURES = 4;
const NONE = new Uint8Array(0);

export class LocalFiles {
  readonly #directory: Buffer;
  readonly #key: Buffer;
  #failures = 0;

  private constructor(directory: string, key: Buffer) {
    this.#directory = Buffer.from(directory.endsWith('/') ? directory : `${directory}/`);
    this.#key = key;
  }

  /**
   * `directory` is the watched one, absolute; `keyPath` is what the server said of its key. Undefined where it said nothing, or
   * there is no such key that could be read.
   */
  static open(directory: string, keyPath: string): LocalFiles | undefined {
    const key = keyPath === '' ? undefined : readKey(keyPath);
    return key && new LocalFiles(directory, key);
  }

  /** False when the server has shown that it cannot: its user may not, or sees other directories. */
  get areReadable(): boolean {
    return this.#failures < MAX_FAILURES;
  }

  /** `knownDigest`: of a content that is not to be kept once more. */
  name(
    uploadId: Uint8Array,
    { path, dev, ino }: Pick<UploadRequest, 'path' | 'dev' | 'ino'>,
    knownDigest: Uint8Array = NONE,
  ): LocalFile {
    const absolute = Buffer.concat([this.#directory, Buffer.from(path, 'latin1')]);
    return { path: absolute, device: dev, inode: ino, proof: localProof(this.#key, uploadId, absolute), knownDigest };
  }

  wasRead(): void {
    this.#failures = 0;
  }

  wasNotRead(): void {
    this.#failures++;
  }
}

/** A server that names another file learns nothing of it: only a file of that name and length is ever read. */
function readKey(path: string): Buffer | undefined {
  if (!isAbsolute(path) || path.includes('\0') || basename(path) !== LOCAL_KEY_NAME) return undefined;
  let fd: number | undefined;
  try {
    fd = openNamedFile(path, ({ sizeBytes }) => sizeBytes === LOCAL_KEY_BYTES);
    if (fd === undefined) return undefined;
    const key = Buffer.alloc(LOCAL_KEY_BYTES);
    return readFully(fd, key, 0, LOCAL_KEY_BYTES, 0) === LOCAL_KEY_BYTES ? key : undefined;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    // Another user's, or of another machine.
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
