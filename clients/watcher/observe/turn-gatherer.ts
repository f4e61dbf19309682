/**
 * Gathers what happens in one turn of the observer's event loop into one message: a thread boundary costs per
 * message. Adds no delay: the message leaves when the events that were ready have been read.
 */
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { BurstDetector } from './burst-detector.ts';
import type { ChangeEvents } from './change-source.ts';
import { type HintBatch, monotonicMs } from './hints.ts';

/** What one turn brought. */
export interface ObserverTurn {
  readonly hints: HintBatch;
  /** Cookies that were seen; all hints of earlier changes are in this turn or came before, unless a scan is needed. */
  readonly cookies: readonly { readonly id: number; readonly scanNeeded: boolean }[];
  /** Undefined unless it changed: null for "all is well", else why the tree is not fully watched. */
  readonly degraded: string | null | undefined;
}

/** Names of one directory in one turn beyond which only the directory is named. */
const MAX_NAMES = 512;

export class TurnGatherer implements ChangeEvents {
  readonly #post: (turn: ObserverTurn) => void;
  readonly #bursts: BurstDetector;
  /** Undefined values stand for the whole directory. */
  #directories = new Map<TreePath, Set<string> | undefined>();
  #everything: string | undefined;
  #tasks: (() => void)[] = [];
  #cookies: number[] = [];
  #degraded: string | null | undefined;
  #end: NodeJS.Immediate | undefined;
  #burstTimer: NodeJS.Timeout | undefined;

  constructor(post: (turn: ObserverTurn) => void, eventQueueLength: number) {
    this.#post = post;
    this.#bursts = new BurstDetector(eventQueueLength);
  }

  /** An overflow was noticed, and is not said yet because the last one was a moment ago. */
  get isOverflowPending(): boolean {
    return this.#bursts.isUnreported;
  }

  onRawEvent(): void {
    this.#bursts.count();
    this.#scheduleEnd();
  }

  onHint(dir: TreePath, name?: string): void {
    this.#scheduleEnd();
    if (this.#everything !== undefined || this.#bursts.isBursting) return;
    const names = this.#directories.get(dir);
    if (names === undefined) {
      if (name === undefined || !this.#directories.has(dir)) {
        this.#directories.set(dir, name === undefined ? undefined : new Set([name]));
      }
    } else if (name === undefined || names.size >= MAX_NAMES) {
      this.#directories.set(dir, undefined);
    } else {
      names.add(name);
    }
  }

  beforeTurnEnd(task: () => void): void {
    this.#tasks.push(task);
    this.#scheduleEnd();
  }

  onOverflow(reason: string): void {
    this.#everything ??= reason;
    this.#scheduleEnd();
  }

  onDegraded(reason: string | undefined): void {
    this.#degraded = reason ?? null;
    this.#scheduleEnd();
  }

  onCookie(id: number): void {
    this.#cookies.push(id);
    this.#scheduleEnd();
  }

  /** Sends what was gathered at once, instead of at the end of the turn. */
  flush(): void {
    for (const task of this.#tasks.splice(0)) task();
    clearImmediate(this.#end);
    this.#end = undefined;
    this.#reportBursts();
    const everything = this.#everything;
    const directories = everything === undefined ? this.#directories : new Map<TreePath, undefined>();
    const scanNeeded = everything !== undefined || this.#bursts.isUnreported;
    const cookies = this.#cookies.map((id) => ({ id, scanNeeded }));
    const degraded = this.#degraded;
    this.#directories = new Map();
    this.#everything = undefined;
    this.#cookies = [];
    this.#degraded = undefined;
    if (directories.size === 0 && everything === undefined && cookies.length === 0 && degraded === undefined) return;
    const hints = {
      directories: Array.from(directories, ([dir, names]) => ({ dir, names: names && [...names] })),
      everything,
      observedAtMs: monotonicMs(),
    };
    this.#post({ hints, cookies, degraded });
  }

  close(): void {
    clearImmediate(this.#end);
    clearTimeout(this.#burstTimer);
  }

  #scheduleEnd(): void {
    this.#end ??= setImmediate(() => this.flush());
  }

  #reportBursts(): void {
    const waitMs = this.#bursts.endTurn(monotonicMs());
    if (waitMs === undefined) return;
    if (waitMs === 0) {
      this.#everything ??= 'so many changes at once that the system may have dropped some';
      return;
    }
    this.#burstTimer ??= setTimeout(() => {
      this.#burstTimer = undefined;
      this.flush();
    }, waitMs);
  }
}
