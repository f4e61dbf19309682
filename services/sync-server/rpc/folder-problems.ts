/**
 * Changes that a folder's replica refused and nobody has brought since: what an operator has to look at. What the
 * protocol sorts out by itself (a content to upload, a basis that is gone) is none.
 */
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { AppliedProblem } from '../replica/replica.ts';

type RefusalKind = Exclude<AppliedProblem['kind'], 'content-needed' | 'basis-mismatch'>;

/** Whether somebody should know of it. */
export function isRefusal(problem: AppliedProblem): problem is AppliedProblem & { readonly kind: RefusalKind } {
  return problem.kind !== 'content-needed' && problem.kind !== 'basis-mismatch';
}

export interface FolderProblem {
  readonly path: TreePath;
  readonly kind: RefusalKind;
  readonly reason: string;
  readonly message: string;
  /** Milliseconds since 1970. */
  readonly firstMs: number;
  readonly lastMs: number;
  /** How often. */
  readonly count: number;
}

const MAX_PROBLEMS = 100;
const MAX_MESSAGE_CHARS = 256;
/** A watcher that still has it brings it again sooner than that. */
const MAX_AGE_MS = 3_600_000;

export class FolderProblems {
  readonly #now: () => number;
  /** By path; the one that came last at the end. */
  readonly #problems = new Map<TreePath, FolderProblem>();

  /** `now` gives milliseconds since 1970. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  get count(): number {
    return this.#problems.size;
  }

  /** Newest first. */
  list(): readonly FolderProblem[] {
    const oldestMs = this.#now() - MAX_AGE_MS;
    for (const [path, { lastMs }] of this.#problems) if (lastMs < oldestMs) this.#problems.delete(path);
    return [...this.#problems.values()].reverse();
  }

  add(problem: AppliedProblem): void {
    if (!isRefusal(problem)) return;
    const { path, kind, reason, message } = problem;
    const before = this.#problems.get(path);
    const lastMs = this.#now();
    this.#problems.delete(path);
    this.#problems.set(path, {
      path,
      kind,
      reason,
      message: message.slice(0, MAX_MESSAGE_CHARS).toWellFormed(),
      firstMs: before?.firstMs ?? lastMs,
      lastMs,
      count: (before?.count ?? 0) + 1,
    });
    const [oldest] = this.#problems.keys();
    if (this.#problems.size > MAX_PROBLEMS && oldest !== undefined) this.#problems.delete(oldest);
  }

  /** A change of this path was applied. */
  solved(path: TreePath): void {
    this.#problems.delete(path);
  }
}
