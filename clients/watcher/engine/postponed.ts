/**
 * Paths that are to be looked at again at a later time. Bounded. The clock is the caller's.
 */
import type { TreePath } from '../../../common/tree/tree-path.ts';

const MAX_PATHS = 10_000;

export class Postponed {
  readonly #dueMs = new Map<TreePath, number>();
  readonly #seenMs = new Map<TreePath, number>();

  get count(): number {
    return this.#dueMs.size;
  }

  get nextMs(): number | undefined {
    let next: number | undefined;
    for (const dueMs of this.#dueMs.values()) next = Math.min(next ?? dueMs, dueMs);
    return next;
  }

  get oldestSeenMs(): number | undefined {
    for (const seenMs of this.#seenMs.values()) return seenMs;
    return undefined;
  }

  /** False when there are too many: then the caller has to look at everything sooner or later. */
  add(path: TreePath, nowMs: number, delayMs: number): boolean {
    if (this.#dueMs.size >= MAX_PATHS && !this.#dueMs.has(path)) return false;
    this.#dueMs.set(path, nowMs + delayMs);
    if (!this.#seenMs.has(path)) this.#seenMs.set(path, nowMs);
    return true;
  }

  takeDue(nowMs: number): TreePath[] {
    const due: TreePath[] = [];
    for (const [path, dueMs] of this.#dueMs) if (dueMs <= nowMs) due.push(path);
    for (const path of due) {
      this.#dueMs.delete(path);
      this.#seenMs.delete(path);
    }
    return due;
  }

  clear(): void {
    this.#dueMs.clear();
    this.#seenMs.clear();
  }
}
