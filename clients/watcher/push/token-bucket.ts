/**
 * How much may be sent, and when: a token bucket (RFC 2697 without its second bucket) over the bytes of whole messages. A message goes as soon as the
 * bucket is not in debt, however large it is, and what it takes beyond the bucket's fill is paid back before the next one goes: a message
 * larger than the bucket could never go otherwise. Knows neither messages nor calls.
 */
import { Deferred } from '../../../common/ops/async.ts';

/** Time as a bucket sees it, so that tests need none. */
export interface Clock {
  /** Monotonic, in milliseconds. */
  nowMs(): number;
  /** @returns what takes the timer down. */
  after(delayMs: number, callback: () => void): () => void;
}

/** Changes go before contents: they are small, and somebody waits for them. */
export type Urgency = 'changes' | 'contents';

interface Waiter {
  readonly sizeBytes: number;
  readonly admitted: Deferred<void>;
}

/** What may go at once after a pause: so much of a second's worth. */
const BURST_SECONDS = 0.25;
/** How late a rate that changes by itself is noticed while something waits. */
const MAX_WAIT_MS = 1000;

const SYSTEM_CLOCK: Clock = {
  nowMs: () => performance.now(),
  after: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

export class TokenBucket {
  readonly #rate: () => number | undefined;
  readonly #clock: Clock;
  readonly #waiting: Readonly<Record<Urgency, Waiter[]>> = { changes: [], contents: [] };
  /** Negative while in debt. */
  #filledBytes = 0;
  #filledAtMs: number;
  #stopTimer: (() => void) | undefined;

  /** `rate` is asked each time: bytes per second, above 0; undefined for no limit. */
  constructor(rate: () => number | undefined, clock: Clock = SYSTEM_CLOCK) {
    this.#rate = rate;
    this.#clock = clock;
    this.#filledAtMs = clock.nowMs();
  }

  get hasLimit(): boolean {
    return this.#rate() !== undefined;
  }

  /**
   * Undefined when a message of this size may go now; else a promise that resolves when it may.
   * @throws the signal's reason, by the promise; then nothing was taken from the bucket.
   */
  admit(sizeBytes: number, urgency: Urgency, signal?: AbortSignal): Promise<void> | undefined {
    const rate = this.#rate();
    const isFirst =
      this.#waiting.changes.length === 0 && (urgency === 'changes' || this.#waiting.contents.length === 0);
    if (isFirst && this.#mayGo(rate)) {
      this.#take(sizeBytes, rate);
      return undefined;
    }
    return this.#queued(sizeBytes, urgency, signal);
  }

  /** The rate is another one now: who waits may go earlier, or later. */
  refresh(): void {
    const rate = this.#rate();
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    while (this.#mayGo(rate)) {
      const next = this.#waiting.changes.shift() ?? this.#waiting.contents.shift();
      if (next === undefined) return;
      this.#take(next.sizeBytes, rate);
      next.admitted.resolve();
    }
    if (rate === undefined || this.#waiting.changes.length + this.#waiting.contents.length === 0) return;
    const delayMs = Math.min(MAX_WAIT_MS, Math.ceil((-this.#filledBytes / rate) * 1000));
    this.#stopTimer = this.#clock.after(delayMs, () => this.refresh());
  }

  async #queued(sizeBytes: number, urgency: Urgency, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const queue = this.#waiting[urgency];
    const waiter: Waiter = { sizeBytes, admitted: new Deferred<void>() };
    queue.push(waiter);
    const onAbort = () => {
      const at = queue.indexOf(waiter);
      if (at >= 0) queue.splice(at, 1);
      waiter.admitted.reject(signal?.reason);
      this.refresh();
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    this.refresh();
    try {
      await waiter.admitted.promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  #mayGo(rate: number | undefined): boolean {
    if (rate === undefined) return true;
    const nowMs = this.#clock.nowMs();
    const gainedBytes = ((nowMs - this.#filledAtMs) / 1000) * rate;
    this.#filledAtMs = nowMs;
    this.#filledBytes = Math.min(this.#filledBytes + gainedBytes, rate * BURST_SECONDS);
    return this.#filledBytes >= 0;
  }

  #take(sizeBytes: number, rate: number | undefined): void {
    // What goes while there is no limit is no debt for later.
    if (rate === undefined) {
      this.#filledBytes = 0;
      this.#filledAtMs = this.#clock.nowMs();
    } else this.#filledBytes -= sizeBytes;
  }
}
