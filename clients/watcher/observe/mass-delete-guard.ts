/**
 * The brake on deletions (E54): more than `--max-delete` at once waits for a person. Creates and updates go on. Pure:
 * the clock is an argument.
 */
import type { DeleteLimit } from '../../../common/ops/units.ts';

/** Deletes within this time count as one act, in however many rounds they are seen. */
const WINDOW_MS = 60_000;

export interface MassDeleteLimit {
  readonly limit: DeleteLimit;
  /** However small the tree, so many are never held. */
  readonly floorEntries: number;
}

/** What holds when nothing is said: half of the tree, and at least 1,000 entries. */
export const DEFAULT_MASS_DELETE_LIMIT: MassDeleteLimit = {
  limit: { kind: 'percent', percent: 50 },
  floorEntries: 1000,
};

/** Deletes that were let go together. */
interface Act {
  readonly atMs: number;
  /** Those that nobody had to be asked about. */
  count: number;
  confirmedCount: number;
}

export class MassDeleteGuard {
  readonly #limit: MassDeleteLimit;
  /** Deletes that were let go within the window, oldest first. */
  #recent: Act[] = [];
  #recentCount = 0;
  /** Deletes that a person has confirmed and that were not made yet. */
  #confirmedCount = 0;
  #heldCount = 0;
  #limitEntries = 0;

  constructor(limit: MassDeleteLimit = DEFAULT_MASS_DELETE_LIMIT) {
    this.#limit = limit;
  }

  /** Deletes that wait for `confirm`, as of the last `admit`. */
  get heldCount(): number {
    return this.#heldCount;
  }

  /** How many may go within a minute, as of the last `admit` that held some. */
  get limitEntries(): number {
    return this.#limitEntries;
  }

  /**
   * Asks whether `count` deletes may go now. A `hold` concerns all of them; they are asked about again, with whatever
   * came meanwhile, at the next planning, and go without confirmation once there are few enough: files that came back
   * are no deletes.
   * @param totalEntries entries of the index before these deletes
   */
  admit(count: number, totalEntries: number, nowMs: number): 'go' | 'hold' {
    this.#expire(nowMs);
    if (count <= 0) {
      this.#heldCount = 0;
      return 'go';
    }
    const unconfirmed = Math.max(0, count - this.#confirmedCount);
    const allowed = this.#allowed(totalEntries);
    if (unconfirmed > 0 && this.#recentCount + unconfirmed > allowed) {
      this.#heldCount = count;
      this.#limitEntries = Math.floor(allowed);
      return 'hold';
    }
    this.#heldCount = 0;
    this.#confirmedCount = Math.max(0, this.#confirmedCount - count);
    this.#recent.push({ atMs: nowMs, count: unconfirmed, confirmedCount: count - unconfirmed });
    this.#recentCount += unconfirmed;
    return 'go';
  }

  /** So many of those that were let go last were not made, and will be asked about again: what was confirmed stays so. */
  notMade(count: number): void {
    let left = count;
    for (const act of this.#recent.toReversed()) {
      if (left <= 0) return;
      const unconfirmed = Math.min(left, act.count);
      const confirmed = Math.min(left - unconfirmed, act.confirmedCount);
      act.count -= unconfirmed;
      act.confirmedCount -= confirmed;
      this.#recentCount -= unconfirmed;
      this.#confirmedCount += confirmed;
      left -= unconfirmed + confirmed;
    }
  }

  /** A person agrees to the deletes that are held now, and to no more than these. */
  confirm(): void {
    this.#confirmedCount = this.#heldCount;
    this.#heldCount = 0;
  }

  /** The share is that of the tree as it was when the window began, or it would shrink while it is used up. */
  #allowed(totalEntries: number): number {
    const { limit, floorEntries } = this.#limit;
    const entries =
      limit.kind === 'entries' ? limit.entries : ((totalEntries + this.#recentCount) * limit.percent) / 100;
    return Math.max(floorEntries, entries);
  }

  #expire(nowMs: number): void {
    const kept = this.#recent.findIndex(({ atMs }) => nowMs - atMs < WINDOW_MS);
    const expired = this.#recent.splice(0, kept < 0 ? this.#recent.length : kept);
    for (const { count } of expired) this.#recentCount -= count;
  }
}
