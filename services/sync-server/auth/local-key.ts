/**
 * The key by which clients show that they are on this machine and may read what the server's user may (common/rpc/local-proof.ts).
 * It lies where the tokens lie, and is another one after each start.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { join } from 'node:path';
import { writeFileAtomic } from '../../../common/fs/atomic-file.ts';
import { SYSTEM } from '../../../common/fs/system.ts';
import { effectiveCapabilities } from '../../../common/ops/capabilities.ts';
import { errnoOf } from '../../../common/ops/errors.ts';
import { LOCAL_KEY_BYTES, LOCAL_KEY_NAME, localProof } from '../../../common/rpc/local-proof.ts';

export class LocalKey {
  readonly path: string;
  readonly #key: Uint8Array;

  private constructor(path: string, key: Uint8Array) {
    this.path = path;
    this.#key = key;
  }

  /**
   * Undefined where no file can be kept from others, where none can be written, and where this process may do more than its user: others
   * of that user must not get at that by it. Then everything is sent.
   */
  static create(stateDirectory: string): LocalKey | undefined {
    if (SYSTEM === 'win32' || hasMoreThanItsUser()) return undefined;
    const path = join(stateDirectory, LOCAL_KEY_NAME);
    const key = randomBytes(LOCAL_KEY_BYTES);
    try {
      writeFileAtomic(path, key);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      return undefined;
    }
    return new LocalKey(path, key);
  }

  proves(uploadId: Uint8Array, path: Uint8Array, proof: Uint8Array): boolean {
    const expected = localProof(this.#key, uploadId, path);
    return proof.length === expected.length && timingSafeEqual(proof, expected);
  }
}

/** Whoever is root has all that root has. */
function hasMoreThanItsUser(): boolean {
  return process.geteuid?.() !== 0 && (effectiveCapabilities() ?? 0n) !== 0n;
}
