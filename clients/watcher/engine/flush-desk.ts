/**
 * Those who wait until all that was on disk at some moment is durable (E124).
 */
export class FlushDesk {
  readonly #waiting = new Map<number, number>();
  readonly #answer: (id: number, revision: bigint) => void;

  constructor(answer: (id: number, revision: bigint) => void) {
    this.#answer = answer;
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  /** `sinceMs`: everything that was seen up to here counts. */
  add(id: number, sinceMs: number): void {
    this.#waiting.set(id, sinceMs);
  }

  /** `oldestPendingMs`: when the oldest change that is not acknowledged was seen; infinite for none. */
  settle(oldestPendingMs: number, durableRevision: bigint): void {
    for (const [id, sinceMs] of this.#waiting) {
      if (oldestPendingMs <= sinceMs) continue;
      this.#waiting.delete(id);
      this.#answer(id, durableRevision);
    }
  }
}
