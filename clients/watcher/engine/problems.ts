/**
 * Entries that could not be synced, each with its reason: nothing is dropped in silence (E123). They are looked at again by
 * themselves, with a growing pause. Bounded: beyond the bound they are counted, and the next whole scan finds them.
 */
import { isInside, type TreePath } from '../../../common/tree/tree-path.ts';
import type { EngineProblem } from './messages.ts';

const MAX_REMEMBERED = 10_000;
/** Times out of range: an archive may bring many of them, and each is told of when it is seen. */
const MAX_TIMES = 1_000;
const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;

/** What cannot be synced: the entry itself, or, of a directory, what it holds. Each has its own cure. */
export type Aspect = 'entry' | 'names';

export interface DueProblem {
  readonly path: TreePath;
  readonly aspect: Aspect;
}

interface Remembered extends EngineProblem {
  readonly aspect: Aspect;
  readonly pauseMs: number;
  retryAtMs: number;
}

/** Reasons that lie in what the entry is: looking again changes nothing until it changes, which is seen as an event. */
const LASTING: ReadonlySet<string> = new Set([
  'UNSUPPORTED_KIND',
  'OTHER_FILE_SYSTEM',
  'INVALID_TIME',
  'RESERVED_NAME',
]);
/** Not kept in step by rule rather than by failure: reported, but the folder is in step without them. */
const BY_RULE = LASTING;

export class Problems {
  readonly #problems = new Map<string, Remembered>();
  /** Entries that are in step but for their time, which cannot be carried: they stay so until it is mended. */
  readonly #times = new Map<TreePath, EngineProblem>();
  #beyondBound = 0;

  /** Problems that keep the folder from being in step. */
  get count(): number {
    let count = this.#beyondBound;
    for (const { reason } of this.#problems.values()) if (!BY_RULE.has(reason)) count++;
    return count;
  }

  /** Returns true when this was not known of the path. */
  add(path: TreePath, reason: string, message: string, nowMs: number, aspect: Aspect = 'entry'): boolean {
    const key = keyOf(path, aspect);
    const known = this.#problems.get(key);
    if (known === undefined && this.#problems.size >= MAX_REMEMBERED) {
      this.#beyondBound++;
      return true;
    }
    const pauseMs = known === undefined ? FIRST_PAUSE_MS : Math.min(MAX_PAUSE_MS, known.pauseMs * 2);
    const retryAtMs = LASTING.has(reason) ? Number.POSITIVE_INFINITY : nowMs + pauseMs;
    this.#problems.set(key, { path, aspect, reason, message, pauseMs, retryAtMs });
    return known === undefined || known.reason !== reason;
  }

  /** The entry itself is a problem, and is tried again by itself when its pause is over. */
  isPaused(path: TreePath): boolean {
    const { retryAtMs = Number.POSITIVE_INFINITY } = this.#problems.get(path) ?? {};
    return retryAtMs !== Number.POSITIVE_INFINITY;
  }

  /** Returns true when this was not known of the path. */
  addTime(path: TreePath, message: string): boolean {
    if (this.#times.has(path)) return false;
    if (this.#times.size < MAX_TIMES) this.#times.set(path, { path, reason: 'INVALID_TIME', message });
    return true;
  }

  /** The entry has another time, or is gone. */
  solveTime(path: TreePath, andBelow = false): void {
    if (this.#times.size === 0) return;
    this.#times.delete(path);
    if (!andBelow) return;
    for (const other of this.#times.keys()) if (isInside(other, path)) this.#times.delete(other);
  }

  /** The entry is in step now, but for its time. Returns true when it was a problem until now. */
  solve(path: TreePath): boolean {
    return this.#problems.size > 0 && this.#problems.delete(path);
  }

  /** The directory was listed. */
  solveNames(path: TreePath): void {
    if (this.#problems.size > 0) this.#problems.delete(keyOf(path, 'names'));
  }

  /** Nothing is there any more. */
  forget(path: TreePath): void {
    this.solve(path);
    this.solveNames(path);
    this.solveTime(path);
  }

  /** A whole scan begins and finds anew what there is. */
  forgetAll(): void {
    this.#problems.clear();
    this.#times.clear();
    this.#beyondBound = 0;
  }

  /** What to look at again now. */
  takeDue(nowMs: number): DueProblem[] {
    const due: DueProblem[] = [];
    for (const problem of this.#problems.values()) {
      if (problem.retryAtMs > nowMs) continue;
      problem.retryAtMs = nowMs + problem.pauseMs;
      due.push(problem);
    }
    return due;
  }

  get nextRetryMs(): number | undefined {
    let next = Number.POSITIVE_INFINITY;
    for (const { retryAtMs } of this.#problems.values()) next = Math.min(next, retryAtMs);
    return next === Number.POSITIVE_INFINITY ? undefined : next;
  }

  list(limit: number): EngineProblem[] {
    const list: EngineProblem[] = [];
    for (const problems of [this.#problems, this.#times])
      for (const { path, reason, message } of problems.values()) {
        if (list.length >= limit) break;
        list.push({ path, reason, message });
      }
    return list;
  }
}

function keyOf(path: TreePath, aspect: Aspect): string {
  return aspect === 'entry' ? path : `${path}/`;
}
