/**
 * Files with several names of which one was seen to differ while another is on its way and not in the index yet: what was
 * sent of it may be old, and no hint at that name tells (E19). Bounded: beyond, everything that is sent counts as shared.
 */
import type { DiskIdentity } from '../../../common/tree/entry.ts';

const MAX_INODES = 50_000;

export class SharedInodes {
  readonly #inodes = new Set<bigint>();

  add(ino: bigint): void {
    if (this.#inodes.size < MAX_INODES) this.#inodes.add(ino);
  }

  has(identity: DiskIdentity | undefined): boolean {
    if (this.#inodes.size === 0) return false;
    return this.#inodes.size >= MAX_INODES || (identity !== undefined && this.#inodes.has(identity.ino));
  }

  /** Nothing is on its way any more. */
  clear(): void {
    this.#inodes.clear();
  }
}
