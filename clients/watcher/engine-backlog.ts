/**
 * What was posted to the engine's thread and not yet taken in there. A thread's mailbox has no bound of its own: without
 * this, a server that answers faster than the index can be written would fill the memory (S34).
 */
import { Deferred } from '../../common/ops/async.ts';
import { type EngineCommand, isCounted } from './engine/messages.ts';

/** Enough that the engine never waits for the network. */
const MAX_BYTES = 4 * 2 ** 20;
const OVERHEAD_BYTES = 256;
const COMPACT_COUNT = 1024;

export class EngineBacklog {
  readonly #sizes: number[] = [];
  #first = 0;
  #bytes = 0;
  #room: Deferred<void> | undefined;

  /** Call it before the command's buffers are given away. */
  posted(command: EngineCommand): void {
    if (!isCounted(command)) return;
    const sizeBytes = sizeOf(command);
    this.#sizes.push(sizeBytes);
    this.#bytes += sizeBytes;
  }

  taken(): void {
    this.#bytes -= this.#sizes[this.#first++] ?? 0;
    // Not one by one: shifting a long array moves all of it.
    if (this.#first === this.#sizes.length || this.#first >= COMPACT_COUNT) {
      this.#sizes.splice(0, this.#first);
      this.#first = 0;
    }
    if (this.#bytes <= MAX_BYTES) this.#letGo();
  }

  /** The thread is gone: nobody waits for it. */
  close(): void {
    this.#bytes = 0;
    this.#letGo();
  }

  untilRoom(): Promise<void> {
    if (this.#bytes <= MAX_BYTES) return Promise.resolve();
    this.#room ??= new Deferred<void>();
    return this.#room.promise;
  }

  #letGo(): void {
    const room = this.#room;
    this.#room = undefined;
    room?.resolve();
  }
}

function sizeOf(command: EngineCommand): number {
  switch (command.type) {
    case 'compared':
      return OVERHEAD_BYTES + command.answer.encoded.length;
    case 'applied':
      return OVERHEAD_BYTES * (1 + command.result.problems.length);
    case 'drifted':
      return command.paths.reduce((bytes, path) => bytes + OVERHEAD_BYTES + path.length, OVERHEAD_BYTES);
    default:
      return OVERHEAD_BYTES;
  }
}
