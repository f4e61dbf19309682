/**
 * When the whole tree is looked at, why, and for whom: what was seen before it began is found by it, and counts as
 * pending until it is through. One that is wanted while another one runs comes behind that: a scan that began anew each time
 * would never end where the reasons come faster than it does. Pure.
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
  /** Wanted while one runs, which may have passed by what this has to find. */
  #next: { readonly cause: RescanCause; readonly seenMs: number } | undefined;

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
    return this.#state === 'done' ? undefined : Math.min(this.#seenMs, this.#next?.seenMs ?? this.#seenMs);
  }

  /** When the interval is over; infinite while one is wanted or runs. */
  get dueMs(): number {
    return this.#dueMs;
  }

  want(cause: RescanCause, seenMs: number): void {
    if (this.#state === 'running') {
      this.#next = { cause, seenMs: Math.min(seenMs, this.#next?.seenMs ?? seenMs) };
      return;
    }
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
    const next = this.#next;
    this.#next = undefined;
    if (next !== undefined) return this.want(next.cause, next.seenMs);
    this.#dueMs = nowMs + intervalMs * (1 + JITTER * (2 * random() - 1));
  }
}
