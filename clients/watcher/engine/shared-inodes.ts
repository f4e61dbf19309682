/**
 * Files with several names of which one was seen to differ while another is on its way and not in the index yet: what was
 * sent of it may be old, and no hint at that name tells (E19). Nor does one when a name that never came into the index is
 * gone again: it may have been written through before. Bounded: beyond, everything that is sent counts as shared.
 */
import type { DiskIdentity } from '../../../common/tree/entry.ts';

const MAX_INODES = 50_000;
const MAX_LOOKED_AT = 1_000;

export class SharedInodes {
  readonly #inodes = new Set<bigint>();
  #hasVanished = false;

  add(ino: bigint): void {
    if (this.#inodes.size < MAX_INODES) this.#inodes.add(ino);
  }

  get isEmpty(): boolean {
    return this.#inodes.size === 0;
  }

  has(identity: DiskIdentity | undefined): boolean {
    if (this.isEmpty) return false;
    return this.#inodes.size >= MAX_INODES || (identity !== undefined && this.#inodes.has(identity.ino));
  }

  /** A name is gone that the index does not have. */
  nameVanished(): void {
    this.#hasVanished ||= !this.isEmpty;
  }

  /** What a name that vanished may have been a name of, once; `too many` when they are not looked at one by one. */
  takeVanished(): readonly bigint[] | 'too many' {
    if (!this.#hasVanished) return [];
    this.#hasVanished = false;
    return this.#inodes.size > MAX_LOOKED_AT ? 'too many' : [...this.#inodes];
  }

  /** Nothing is on its way any more, nor waits to be looked at. */
  clear(): void {
    this.#inodes.clear();
  }
}
