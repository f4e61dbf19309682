/**
 * How many failures an address may have: a token bucket for each, in a map that cannot grow without bound (S19). Pure:
 * the clock comes in.
 */
export interface AttemptLimits {
  /** Failures at once. */
  readonly burst: number;
  /** Milliseconds until one more is allowed. */
  readonly refillMs: number;
  /** Addresses that are remembered; the one that was quiet for longest is forgotten first. */
  readonly maxAddresses: number;
}

interface Bucket {
  readonly tokens: number;
  readonly atMs: number;
}

export class AttemptLimiter {
  readonly #limits: AttemptLimits;
  readonly #now: () => number;
  /** In the order of their last failures. */
  readonly #buckets = new Map<string, Bucket>();

  /** `now`: milliseconds of any monotonic clock. */
  constructor(limits: AttemptLimits, now: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#now = now;
  }

  /** How many addresses are remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Counts a failure. False when the address has had too many. */
  tryTake(address: string): boolean {
    const { burst, refillMs, maxAddresses } = this.#limits;
    const atMs = this.#now();
    const before = this.#buckets.get(address);
    const tokens = before === undefined ? burst : Math.min(burst, before.tokens + (atMs - before.atMs) / refillMs);
    this.#buckets.delete(address);
    this.#buckets.set(address, { tokens: tokens >= 1 ? tokens - 1 : tokens, atMs });
    for (const [oldest] of this.#buckets) {
      if (this.#buckets.size <= maxAddresses) break;
      this.#buckets.delete(oldest);
    }
    return tokens >= 1;
  }
}
