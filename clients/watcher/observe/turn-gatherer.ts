/**
 * Gathers what happens in one turn of the observer's event loop into one message: a thread boundary costs per
 * message. Adds no delay: the message leaves when the events that were ready have been read. Only while the engine is
 * busy and has not taken the last ones, hints wait here, where they are bounded, and not in its port, where they are not.
 */
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { BurstDetector } from './burst-detector.ts';
import type { ChangeEvents } from './change-source.ts';
import { DirtySet } from './dirty-set.ts';
import { type HintBatch, monotonicMs, type RescanCause } from './hints.ts';

/** What one turn brought. */
export interface ObserverTurn {
  readonly hints: HintBatch;
  /** Cookies that were seen; all hints of earlier changes are in this turn or came before, unless a scan is needed. */
  readonly cookies: readonly { readonly id: number; readonly scanNeeded: boolean }[];
  /** Undefined unless it changed: null for "all is well", else why the tree is not fully watched. */
  readonly degraded: string | null | undefined;
}

/** Messages that the engine may be behind with. */
const MAX_TURNS_UNDER_WAY = 64;

export class TurnGatherer implements ChangeEvents {
  readonly #post: (turn: ObserverTurn) => void;
  readonly #bursts: BurstDetector;
  readonly #dirty = new DirtySet();
  #turnsUnderWay = 0;
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
    if (this.#bursts.isBursting) return;
    if (name === undefined) this.#dirty.addDirectory(dir, false, 0);
    else this.#dirty.addName(dir, name, 0);
  }

  onTreeHint(dir: TreePath): void {
    this.#scheduleEnd();
    if (!this.#bursts.isBursting) this.#dirty.addDirectory(dir, true, 0);
  }

  beforeTurnEnd(task: () => void): void {
    this.#tasks.push(task);
    this.#scheduleEnd();
  }

  onOverflow(cause: RescanCause): void {
    this.#dirty.addEverything(cause, 0);
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

  /** The engine has taken a turn: the next one may leave. */
  onTurnTaken(): void {
    if (this.#turnsUnderWay-- >= MAX_TURNS_UNDER_WAY) this.#scheduleEnd();
  }

  close(): void {
    clearImmediate(this.#end);
    clearTimeout(this.#burstTimer);
  }

  #scheduleEnd(): void {
    this.#end ??= setImmediate(() => this.#endTurn());
  }

  #endTurn(): void {
    // What they add still belongs to this turn.
    for (const task of this.#tasks.splice(0)) task();
    this.#end = undefined;
    this.#reportBursts();
    if (this.#turnsUnderWay >= MAX_TURNS_UNDER_WAY) return;
    const isEmpty = this.#dirty.isEmpty && this.#cookies.length === 0 && this.#degraded === undefined;
    if (!isEmpty) this.#send();
  }

  #send(): void {
    const { everything, directories } = this.#dirty.takeAll();
    const hints = {
      directories: directories.map(({ dir, scope, names }) => ({
        dir,
        names: scope === 'names' ? [...names.keys()] : scope === 'directory' ? ('all' as const) : scope,
      })),
      everything: everything?.cause,
      observedAtMs: monotonicMs(),
    };
    const scanNeeded = everything !== undefined || this.#bursts.isUnreported;
    const cookies = this.#cookies.splice(0).map((id) => ({ id, scanNeeded }));
    const degraded = this.#degraded;
    this.#degraded = undefined;
    this.#turnsUnderWay++;
    this.#post({ hints, cookies, degraded });
  }

  #reportBursts(): void {
    const waitMs = this.#bursts.endTurn(monotonicMs());
    if (waitMs === undefined) return;
    if (waitMs === 0) {
      const detail = 'so many changes at once that the system may have dropped some';
      this.#dirty.addEverything({ reason: 'overflow', detail }, 0);
      return;
    }
    this.#burstTimer ??= setTimeout(() => {
      this.#burstTimer = undefined;
      this.#scheduleEnd();
    }, waitMs);
  }
}
