/**
 * How often in a row something went wrong with a path that may well be right next time: it changed while it was read, or
 * the plan believed something else of the server.
 */
import type { TreePath } from '../../../common/tree/tree-path.ts';

/** How often a file may change under the reader before it is named as busy. */
const MAX_BUSY_TRIES = 20;
const MAX_WRONG_PLANS = 5;
/** Each costs a comparison of one directory, after which the plan should be right. */
const MAX_DRIFTS = 10;
/** Beyond it the counts begin anew, which only means a later word about it. */
const MAX_PATHS = 50_000;

export class Retries {
  readonly #counts = new Map<TreePath, number>();

  /** True when it is time to name the file as busy; then it begins to count anew. */
  isBusy(path: TreePath): boolean {
    if (this.#count(path) <= MAX_BUSY_TRIES) return false;
    this.#counts.delete(path);
    return true;
  }

  /** Whether to plan it once more without a word. */
  mayPlanAgain(path: TreePath): boolean {
    return this.#count(path) % MAX_WRONG_PLANS !== 0;
  }

  /** Whether to compare and send it once more without a word, after the server had found something else there. */
  mayDriftAgain(path: TreePath): boolean {
    return this.#count(path) % MAX_DRIFTS !== 0;
  }

  /** It went well. */
  forget(path: TreePath): void {
    if (this.#counts.size > 0) this.#counts.delete(path);
  }

  #count(path: TreePath): number {
    if (this.#counts.size >= MAX_PATHS) this.#counts.clear();
    const count = (this.#counts.get(path) ?? 0) + 1;
    this.#counts.set(path, count);
    return count;
  }
}
