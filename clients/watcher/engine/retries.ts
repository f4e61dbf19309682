/**
 * How often in a row something went wrong with a path that may well be right next time: it changed while it was read, or
 * the plan believed something else of the server. Pure: the clock is an argument.
 */
import type { TreePath } from '../../../common/tree/tree-path.ts';

/** How often a file may change under the reader before it is named as busy. */
const MAX_BUSY_TRIES = 20;
const MAX_WRONG_PLANS = 5;
/** Each costs a comparison of one directory, after which the plan should be right. */
const MAX_DRIFTS = 10;
/** Beyond it nothing more is tried without a word: what goes round for ever must not do so because there is much of it. */
const MAX_PATHS = 50_000;
/** What was not counted for so long has ended, well or because it is gone. */
const MAX_IDLE_MS = 600_000;
const SWEEP_INTERVAL_MS = 60_000;

interface Count {
  readonly times: number;
  readonly lastMs: number;
}

export class Retries {
  readonly #nowMs: () => number;
  readonly #counts = new Map<TreePath, Count>();
  /** When the table was last full, and looked through for what has ended. */
  #sweptMs = Number.NEGATIVE_INFINITY;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** True when it is time to name the file as busy; then it begins to count anew. */
  isBusy(path: TreePath): boolean {
    const times = this.#count(path);
    if (times !== undefined && times <= MAX_BUSY_TRIES) return false;
    this.#counts.delete(path);
    return true;
  }

  /** Whether to plan it once more without a word. */
  mayPlanAgain(path: TreePath): boolean {
    return this.#isBelow(MAX_WRONG_PLANS, path);
  }

  /** Whether to compare and send it once more without a word, after the server had found something else there. */
  mayDriftAgain(path: TreePath): boolean {
    return this.#isBelow(MAX_DRIFTS, path);
  }

  /** It went well. */
  forget(path: TreePath): void {
    if (this.#counts.size > 0) this.#counts.delete(path);
  }

  #isBelow(limit: number, path: TreePath): boolean {
    const times = this.#count(path);
    return times !== undefined && times % limit !== 0;
  }

  /** Undefined where there are too many to count this one, too. */
  #count(path: TreePath): number | undefined {
    const lastMs = this.#nowMs();
    const known = this.#counts.get(path);
    if (known === undefined && !this.#hasRoom(lastMs)) return undefined;
    const times = (known?.times ?? 0) + 1;
    this.#counts.set(path, { times, lastMs });
    return times;
  }

  #hasRoom(nowMs: number): boolean {
    if (this.#counts.size < MAX_PATHS) return true;
    if (nowMs - this.#sweptMs < SWEEP_INTERVAL_MS) return false;
    this.#sweptMs = nowMs;
    for (const [path, { lastMs }] of this.#counts) if (nowMs - lastMs >= MAX_IDLE_MS) this.#counts.delete(path);
    return this.#counts.size < MAX_PATHS;
  }
}
