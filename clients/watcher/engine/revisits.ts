/**
 * What is to be looked at: hints from outside, and paths that the engine itself wants to see again, at once or after a
 * while. Bounded: too many of them become a look at everything.
 */
import { nameOf, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { DirtySet } from '../observe/dirty-set.ts';
import { SELF_NAME } from '../observe/hints.ts';
import { Postponed } from './postponed.ts';

export class Revisits {
  readonly dirty = new DirtySet();
  readonly #postponed = new Postponed();

  get isEmpty(): boolean {
    return this.dirty.isEmpty && this.#postponed.count === 0;
  }

  /** Paths, as far as they are counted one by one. */
  get count(): number {
    const { names, directories } = this.dirty.counts;
    return this.#postponed.count + Math.max(names, directories);
  }

  /** When the oldest reason to look was seen. */
  get oldestSeenMs(): number | undefined {
    const [dirty, postponed] = [this.dirty.oldestMs, this.#postponed.oldestSeenMs];
    return dirty === undefined || postponed === undefined ? (dirty ?? postponed) : Math.min(dirty, postponed);
  }

  /** When the first of those that wait comes up. */
  get dueMs(): number | undefined {
    return this.#postponed.nextMs;
  }

  /** `seenMs`: when what is not done yet was seen. A flush that came later has to wait for it. */
  again(path: TreePath, seenMs: number): void {
    if (path === ROOT) this.dirty.addName(ROOT, SELF_NAME, seenMs);
    else this.dirty.addName(parentOf(path), nameOf(path), seenMs);
  }

  /** At `dueMs`. */
  later(path: TreePath, dueMs: number, seenMs: number): void {
    if (this.#postponed.add(path, seenMs, dueMs)) return;
    this.dirty.addEverything({ reason: 'many-changes', detail: 'too many files are changing' }, seenMs);
  }

  /** Those whose time has come join the others. */
  takeDue(nowMs: number): void {
    for (const [path, seenMs] of this.#postponed.takeDue(nowMs)) this.again(path, seenMs);
  }
}
