/**
 * Bounds the bytes that are on their way and not taken yet: to the replica, where a stream that is over the bound is not
 * read any further, which in the end holds its client back; or to a client, where the replica is not read any further.
 */
import { Deferred, untilAborted } from '../../../common/ops/async.ts';

export class ByteWindow {
  readonly #maxBytes: number;
  #pendingBytes = 0;
  #room: Deferred<void> | undefined;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  get hasRoom(): boolean {
    return this.#pendingBytes <= this.#maxBytes;
  }

  /** Counts bytes in, whether there is room or not: they have been read already. */
  add(sizeBytes: number): void {
    this.#pendingBytes += sizeBytes;
  }

  /** Counts them out once they are answered. */
  remove(sizeBytes: number): void {
    this.#pendingBytes -= sizeBytes;
    if (!this.hasRoom) return;
    this.#room?.resolve();
    this.#room = undefined;
  }

  /** Resolves when no more than the bound is pending. @throws the signal's reason */
  async untilRoom(signal: AbortSignal): Promise<void> {
    while (!this.hasRoom) {
      this.#room ??= new Deferred<void>();
      await untilAborted(this.#room.promise, signal);
    }
  }
}
