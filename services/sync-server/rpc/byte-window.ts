/**
 * Bounds the bytes that are on their way to the replica and not answered yet. A stream that is over the bound is not
 * read any further, which in the end holds its client back.
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

  /** Counts bytes in, whether there is room or not: they have been read already. */
  add(sizeBytes: number): void {
    this.#pendingBytes += sizeBytes;
  }

  /** Counts them out once they are answered. */
  remove(sizeBytes: number): void {
    this.#pendingBytes -= sizeBytes;
    if (this.#pendingBytes > this.#maxBytes) return;
    this.#room?.resolve();
    this.#room = undefined;
  }

  /** Resolves when no more than the bound is pending. @throws the signal's reason */
  async untilRoom(signal: AbortSignal): Promise<void> {
    while (this.#pendingBytes > this.#maxBytes) {
      this.#room ??= new Deferred<void>();
      await untilAborted(this.#room.promise, signal);
    }
  }
}
