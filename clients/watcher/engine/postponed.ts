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
    let oldest: number | undefined;
    for (const seenMs of this.#seenMs.values()) oldest = Math.min(oldest ?? seenMs, seenMs);
    return oldest;
  }

  /** False when there are too many: then the caller has to look at everything sooner or later. */
  add(path: TreePath, seenMs: number, dueMs: number): boolean {
    if (this.#dueMs.size >= MAX_PATHS && !this.#dueMs.has(path)) return false;
    this.#dueMs.set(path, dueMs);
    this.#seenMs.set(path, Math.min(seenMs, this.#seenMs.get(path) ?? seenMs));
    return true;
  }

  /** Paths whose time has come, with the time at which what they wait for was seen. */
  takeDue(nowMs: number): readonly (readonly [path: TreePath, seenMs: number])[] {
    const due: [TreePath, number][] = [];
    for (const [path, dueMs] of this.#dueMs) if (dueMs <= nowMs) due.push([path, this.#seenMs.get(path) ?? nowMs]);
    for (const [path] of due) {
      this.#dueMs.delete(path);
      this.#seenMs.delete(path);
    }
    return due;
  }
}
