/**
 * When the whole tree is looked at, why, and for whom: what was seen before it began is found by it, and counts as
 * pending until it is through. Pure.
 */
import type { RescanCause } from '../observe/hints.ts';

export interface WholeScanClock {
  /** Between the end of one and the next. */
  readonly intervalMs: number;
  /** From 0 to below 1: scans of many watchers are not to fall together (E58). */
  readonly random: () => number;
}

const JITTER = 0.25;

export class WholeScan {
  readonly #clock: WholeScanClock;
  #state: 'wanted' | 'running' | 'done' = 'wanted';
  #cause: RescanCause = { reason: 'start', detail: 'start' };
  #seenMs: number;
  #dueMs = Number.POSITIVE_INFINITY;

  constructor(clock: WholeScanClock, nowMs: number) {
    this.#clock = clock;
    this.#seenMs = nowMs;
  }

  get state(): 'wanted' | 'running' | 'done' {
    return this.#state;
  }

  get cause(): RescanCause {
    return this.#cause;
  }

  /** When the oldest was seen of what it has to find; undefined when it is through. */
  get oldestSeenMs(): number | undefined {
    return this.#state === 'done' ? undefined : this.#seenMs;
  }

  /** When the interval is over; infinite while one is wanted or runs. */
  get dueMs(): number {
    return this.#dueMs;
  }

  /** One that runs begins anew, and still owes what it was to find. */
  want(cause: RescanCause, seenMs: number): void {
    this.#seenMs = Math.min(seenMs, this.oldestSeenMs ?? seenMs);
    this.#state = 'wanted';
    this.#cause = cause;
    this.#dueMs = Number.POSITIVE_INFINITY;
  }

  /** `waitingMs`: when the oldest was seen of what waits to be looked at, and will be found by this; infinite for none. */
  begin(waitingMs: number): void {
    this.#state = 'running';
    this.#seenMs = Math.min(this.#seenMs, waitingMs);
  }

  end(nowMs: number): void {
    const { intervalMs, random } = this.#clock;
    this.#state = 'done';
    this.#dueMs = nowMs + intervalMs * (1 + JITTER * (2 * random() - 1));
  }
}
