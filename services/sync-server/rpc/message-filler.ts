/**
 * Cuts a sequence into messages of a streaming answer by their size in bytes, so that neither many small items nor
 * items with very long paths make a message too large.
 */
import type { Entry } from '../../../gen/lockstep/sync/v1/entry.ts';
import { STREAM_MESSAGE_BYTES } from './limits.ts';

/** An entry's fields beside its path, encoded: kind, mode, time, size, digest, and what frames them. */
const FIXED_ENTRY_BYTES = 72;

/** An owner's numbers and what frames them, beside its names. */
const FIXED_OWNER_BYTES = 18;

/** What an entry takes in a message, at most about. `path` and `from` are wire paths, which may be UTF-8. */
export function entrySizeBytes(entry: Pick<Entry, 'path' | 'target' | 'owner'> | undefined): number {
  if (entry === undefined) return 0;
  const { path, target, owner } = entry;
  const ownerBytes = owner === undefined ? 0 : FIXED_OWNER_BYTES + owner.user.length + owner.group.length;
  return FIXED_ENTRY_BYTES + Buffer.byteLength(path) + target.length + ownerBytes;
}

export class MessageFiller<T> {
  readonly #sizeOf: (item: T) => number;
  #items: T[] = [];
  #sizeBytes = 0;

  constructor(sizeOf: (item: T) => number) {
    this.#sizeOf = sizeOf;
  }

  /** Takes an item in; gives back the items of a message that is full without it. */
  add(item: T): T[] | undefined {
    const sizeBytes = this.#sizeOf(item);
    const full = this.#items.length > 0 && this.#sizeBytes + sizeBytes > STREAM_MESSAGE_BYTES ? this.take() : undefined;
    this.#items.push(item);
    this.#sizeBytes += sizeBytes;
    return full;
  }

  /** Of what would be taken now. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** What is left, possibly nothing. */
  take(): T[] {
    const items = this.#items;
    this.#items = [];
    this.#sizeBytes = 0;
    return items;
  }
}
