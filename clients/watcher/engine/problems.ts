/**
 * Entries that could not be synced, each with its reason: nothing is dropped in silence (E123). They are looked at again by
 * themselves, with a growing pause. Bounded: those beyond the bound are told apart and counted, not named, and the next whole scan
 * tries them again.
 */
import { digestOf } from '../../../common/content/digest.ts';
import { isInside, type TreePath } from '../../../common/tree/tree-path.ts';
import type { EngineProblem } from './messages.ts';

/** Of failures, and of what is left out by rule. */
const MAX_NAMED = 10_000;
/** Eight bytes each, and as much again for the set around them. */
const MAX_UNNAMED = 100_000;
/** Times out of range: an archive may bring many of them, and each is told of when it is seen. */
const MAX_TIMES = 1_000;
const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;
/** Enough to tell the unnamed ones apart. */
const MARK_BYTES = 6;

/** What cannot be synced: the entry itself, or, of a directory, what it holds. Each has its own cure. */
export type Aspect = 'entry' | 'names';

export interface DueProblem {
  readonly path: TreePath;
  readonly aspect: Aspect;
}

/** Whether what was said is to be told: of each once, and once that there are more than can be named. */
export type News = 'new' | 'known' | 'too many';

interface Failure extends EngineProblem {
  readonly aspect: Aspect;
  pauseMs: number;
  retryAtMs: number;
  /** It is tried again by itself, and its pause has grown. */
  isTried: boolean;
}

/**
 * Reasons that lie in what the entry is: looking again changes nothing until it changes, which is seen as an event. Not kept in step by
 * rule rather than by failure: reported, but the folder is in step without them.
 */
const BY_RULE: ReadonlySet<string> = new Set([
  'UNSUPPORTED_KIND',
  'OTHER_FILE_SYSTEM',
  'INVALID_TIME',
  'RESERVED_NAME',
]);

export class Problems {
  #failures = new Map<string, Failure>();
  #leftOut = new Map<string, EngineProblem>();
  /** Entries that are in step but for their time, which cannot be carried: they stay so until it is mended. */
  #times = new Map<TreePath, EngineProblem>();
  /**
   * Failures of before the last whole scan began, as far as they are not known to be over: what it finds again is no news, and its pause
   * goes on growing.
   */
  #formerFailures = new Map<string, Failure>();
  /** As much of what was left out, and of times. */
  #formerOthers: ReadonlySet<string> = new Set<string>();
  readonly #unnamed = new Set<number>();
  /** More failures than can be told apart, since the last whole scan began: until the next one nobody knows when they are over. */
  #hasLostCount = false;
  #hasToldTooMany = false;

  /** Problems that keep the folder from being in step; at least so many. */
  get count(): number {
    return this.#failures.size + this.#unnamed.size + (this.#hasLostCount ? 1 : 0);
  }

  /** Neither now nor before the last whole scan began. Times are not asked for: what is solved by a look is the entry. */
  get isEmpty(): boolean {
    return this.count + this.#leftOut.size + this.#formerFailures.size === 0;
  }

  add(path: TreePath, reason: string, message: string, nowMs: number, aspect: Aspect = 'entry'): News {
    const key = keyOf(path, aspect);
    if (BY_RULE.has(reason)) {
      const wasLeftOut = this.#leftOut.get(key)?.reason === reason;
      this.#remove(key);
      if (this.#leftOut.size >= MAX_NAMED) return this.#tooMany();
      this.#leftOut.set(key, { path, reason, message });
      return wasLeftOut || this.#formerOthers.has(key) ? 'known' : 'new';
    }
    const known = this.#failures.get(key) ?? this.#formerFailures.get(key);
    if (!this.#failures.has(key)) {
      this.#leftOut.delete(key);
      if (this.#failures.size >= MAX_NAMED) return this.#addUnnamed(key);
      this.#unnamed.delete(markOf(key));
    }
    const pauseMs = known === undefined ? FIRST_PAUSE_MS : known.isTried ? known.pauseMs : longer(known.pauseMs);
    this.#failures.set(key, { path, aspect, reason, message, pauseMs, retryAtMs: nowMs + pauseMs, isTried: false });
    return known?.reason === reason ? 'known' : 'new';
  }

  /** The entry itself is a problem, and is tried again by itself: when its pause is over, or by a whole scan. */
  isPaused(path: TreePath): boolean {
    if (this.#failures.has(path) || this.#formerFailures.has(path)) return true;
    return this.#unnamed.size > 0 && this.#unnamed.has(markOf(path));
  }

  addTime(path: TreePath, message: string): News {
    if (this.#times.has(path)) return 'known';
    if (this.#times.size >= MAX_TIMES) return this.#tooMany();
    this.#times.set(path, { path, reason: 'INVALID_TIME', message });
    return this.#formerOthers.has(timeKeyOf(path)) ? 'known' : 'new';
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
    return this.#remove(path);
  }

  /** The directory was listed. */
  solveNames(path: TreePath): void {
    this.#remove(keyOf(path, 'names'));
  }

  /** Nothing is there any more. */
  forget(path: TreePath): void {
    this.solve(path);
    this.solveNames(path);
    this.solveTime(path);
  }

  /** A whole scan begins and finds anew what there is. */
  forgetAll(): void {
    this.#formerFailures = this.#failures;
    this.#formerOthers = new Set([...this.#leftOut.keys(), ...[...this.#times.keys()].map(timeKeyOf)]);
    const { size } = this.#unnamed;
    if (size === 0 && this.#leftOut.size < MAX_NAMED && this.#times.size < MAX_TIMES) this.#hasToldTooMany = false;
    this.#failures = new Map();
    this.#leftOut = new Map();
    this.#times = new Map();
    this.#unnamed.clear();
    this.#hasLostCount = false;
  }

  /** What to look at again now. */
  takeDue(nowMs: number): DueProblem[] {
    const due: DueProblem[] = [];
    for (const problem of this.#failures.values()) {
      if (problem.retryAtMs > nowMs) continue;
      // Also where nothing comes of it: a deletion may be held back.
      problem.pauseMs = longer(problem.pauseMs);
      problem.retryAtMs = nowMs + problem.pauseMs;
      problem.isTried = true;
      due.push(problem);
    }
    return due;
  }

  get nextRetryMs(): number | undefined {
    let next: number | undefined;
    for (const { retryAtMs } of this.#failures.values()) next = Math.min(next ?? retryAtMs, retryAtMs);
    return next;
  }

  list(limit: number): EngineProblem[] {
    const list: EngineProblem[] = [];
    for (const problems of [this.#failures, this.#leftOut, this.#times])
      for (const { path, reason, message } of problems.values()) {
        if (list.length >= limit) break;
        list.push({ path, reason, message });
      }
    return list;
  }

  #addUnnamed(key: string): News {
    const mark = markOf(key);
    if (this.#unnamed.size < MAX_UNNAMED) this.#unnamed.add(mark);
    else if (!this.#unnamed.has(mark)) this.#hasLostCount = true;
    return this.#tooMany();
  }

  #tooMany(): News {
    if (this.#hasToldTooMany) return 'known';
    this.#hasToldTooMany = true;
    return 'too many';
  }

  /** Returns true when it was there. */
  #remove(key: string): boolean {
    const wasFormer = this.#formerFailures.delete(key);
    if (this.#failures.delete(key) || this.#leftOut.delete(key) || wasFormer) return true;
    return this.#unnamed.size > 0 && this.#unnamed.delete(markOf(key));
  }
}

function longer(pauseMs: number): number {
  return Math.min(MAX_PAUSE_MS, pauseMs * 2);
}

function keyOf(path: TreePath, aspect: Aspect): string {
  return aspect === 'entry' ? path : `${path}/`;
}

function timeKeyOf(path: TreePath): string {
  return `${path}//`;
}

function markOf(key: string): number {
  return digestOf('sha256', Buffer.from(key, 'latin1')).readUIntBE(0, MARK_BYTES);
}
