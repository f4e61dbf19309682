/**
 * What messages take that have not arrived whole, of one caller together (S33). grpc-js bounds each of them and not their sum: a
 * caller with all his streams in the middle of one would hold a gigabyte.
 *
 * Looked at a few times a second and not counted as it comes, so that messages cost nothing on their way. What counts is the memory: a
 * piece of one byte costs what an object costs, and holds all that was read from the socket with it.
 */
import { LockstepError } from '../../../common/ops/errors.ts';
import { dropUnfinished, resetCall, unfinishedPieces } from '../../../common/rpc/wire-stream.ts';

/** Between two looks: at 1 Gbit/s another 12 MB. */
const LOOK_MS = 100;
/** What a piece takes beside its bytes. */
const PIECE_BYTES = 160;

interface Watched {
  readonly caller: string;
  readonly call: object;
  readonly refuse: (error: LockstepError) => void;
  isRefused: boolean;
}

export class UnfinishedMessages {
  readonly #maxBytes: number;
  readonly #watched = new Set<Watched>();
  /** Only while there are calls. */
  #timer: NodeJS.Timeout | undefined;

  /** `maxBytes`: of one caller. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * @param caller who shares the bound with others of this name
   * @param call an intercepted call of grpc-js
   * @param refuse ends the call; told of at most once
   * @returns what to call when it is over
   */
  watch(caller: string, call: object, refuse: (error: LockstepError) => void): () => void {
    const watched: Watched = { caller, call, refuse, isRefused: false };
    this.#watched.add(watched);
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref();
    return () => {
      this.#watched.delete(watched);
      dropUnfinished(call);
    };
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    // Not where the last one goes: calls that come one by one would set it up each time.
    if (this.#watched.size === 0) this.close();
    const byCaller = Map.groupBy(this.#watched, ({ caller }) => caller);
    for (const calls of byCaller.values()) this.#bound(calls);
  }

  /** Ends the calls with the most, until the others are within the bound. */
  #bound(calls: readonly Watched[]): void {
    const seen = new Set<ArrayBufferLike>();
    const weights = calls.map((watched) => ({ watched, bytes: this.#weigh(watched.call, seen) }));
    let sum = weights.reduce((bytes, weight) => bytes + weight.bytes, 0);
    for (const { watched, bytes } of weights.toSorted((a, b) => b.bytes - a.bytes)) {
      if (sum <= this.#maxBytes) return;
      sum -= bytes;
      this.#end(watched);
    }
  }

  /** What other calls hold as well is counted for one of them. */
  #weigh(call: object, seen: Set<ArrayBufferLike>): number {
    const pieces = unfinishedPieces(call);
    let bytes = pieces.length * PIECE_BYTES;
    let last: ArrayBufferLike | undefined;
    for (const { buffer } of pieces) {
      if (bytes > this.#maxBytes) break;
      if (buffer === last || seen.has(buffer)) continue;
      last = buffer;
      seen.add(buffer);
      bytes += buffer.byteLength;
    }
    return bytes;
  }

  #end(watched: Watched): void {
    if (watched.isRefused) {
      // Its status waits behind answers that nobody reads.
      resetCall(watched.call);
      return;
    }
    watched.isRefused = true;
    const message = `messages that are not whole take more than ${this.#maxBytes} bytes; finish some before others are begun`;
    watched.refuse(new LockstepError('LIMIT_EXCEEDED', message));
  }
}
