/**
 * Notices that the kernel's event queue ran over, which Node never says (E27): libuv drops IN_Q_OVERFLOW. It reads
 * until the queue is empty within one turn of the event loop, and all watches of a loop share one queue; so a queue
 * that was full arrives as very many events in one turn. Pure: the clock is an argument.
 */

/** Share of the queue from which a turn counts as an overflow. Events of closed watches were dropped before the count. */
const SUSPICIOUS_SHARE = 0.25;

export class BurstDetector {
  readonly #threshold: number;
  readonly #minimumIntervalMs: number;
  #count = 0;
  #unreported = false;
  #reportedAtMs = Number.NEGATIVE_INFINITY;

  /** @param queueLength the kernel's `max_queued_events` */
  constructor(queueLength: number, minimumIntervalMs = 1000) {
    this.#threshold = Math.max(1, Math.floor(queueLength * SUSPICIOUS_SHARE));
    this.#minimumIntervalMs = minimumIntervalMs;
  }

  /** One event more in this turn. */
  count(): void {
    if (++this.#count >= this.#threshold) this.#unreported = true;
  }

  /** In this turn the events are so many that their hints are not worth keeping. */
  get isBursting(): boolean {
    return this.#count >= this.#threshold;
  }

  /** An overflow was noticed that `endTurn` did not let through yet. */
  get isUnreported(): boolean {
    return this.#unreported;
  }

  /**
   * To be called when a turn of the loop is over, and again when the returned time has passed.
   * @returns 0: report an overflow now; else the milliseconds after which to ask again; undefined: nothing to report
   */
  endTurn(nowMs: number): number | undefined {
    this.#count = 0;
    if (!this.#unreported) return undefined;
    const waitMs = this.#reportedAtMs + this.#minimumIntervalMs - nowMs;
    if (waitMs > 0) return waitMs;
    this.#unreported = false;
    this.#reportedAtMs = nowMs;
    return 0;
  }
}
