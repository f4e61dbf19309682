/**
 * How the watcher shows what it is doing: one living line on a terminal, log lines or JSON lines elsewhere. Looks at the
 * model's events; knows neither engine nor connection.
 */
import type { Logger } from '../../../common/ops/logger.ts';
import { nextAgoMs, progressJson, progressText } from './progress-text.ts';
import type { WatcherEvent, WatcherSnapshot } from './watcher-model.ts';

export type ProgressKind = 'line' | 'plain' | 'json' | 'off';

/** What `--progress auto` means here. */
export function progressKind(asked: 'auto' | 'plain' | 'json' | 'off', isTerminal: boolean): ProgressKind {
  if (asked !== 'auto') return asked;
  return isTerminal ? 'line' : 'plain';
}

/** A terminal whose last line may be rewritten. */
export interface LivingLineTerminal {
  readonly columns: number;
  write(text: string): void;
}

const LINE_INTERVAL_MS = 100;
const PLAIN_INTERVAL_MS = 10_000;
const JSON_INTERVAL_MS = 1_000;
/** In lines, syncing is told about only when it takes this long: the change's own line says that it happened. */
const PLAIN_PATIENCE_MS = 2_000;
const CLEAR_LINE = '\r\u001b[K';

export interface ProgressSinks {
  readonly logger: Logger;
  /** What each JSON line says besides; default nothing. */
  readonly fields?: Readonly<Record<string, string>>;
  /** For JSON lines. */
  readonly writeLine: (line: string) => void;
  /** For the living line. */
  readonly terminal: LivingLineTerminal;
}

export class Progress {
  readonly #kind: ProgressKind;
  readonly #sinks: ProgressSinks;
  readonly #now: () => number;
  readonly #wallClock: () => number;
  #shownMs = Number.NEGATIVE_INFINITY;
  #line = '';
  #latest: WatcherSnapshot | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** How long the last change is ago is said anew, also where nothing happens. */
  #agingTimer: NodeJS.Timeout | undefined;
  #loggedText = '';

  /** `now` is monotonic, in milliseconds; `wallClock` gives milliseconds since 1970. */
  constructor(
    kind: ProgressKind,
    sinks: ProgressSinks,
    now: () => number = () => performance.now(),
    wallClock: () => number = Date.now,
  ) {
    this.#kind = kind;
    this.#sinks = sinks;
    this.#now = now;
    this.#wallClock = wallClock;
  }

  /** For `WatcherModel.subscribe`. */
  readonly see = (event: WatcherEvent): void => {
    if (this.#kind === 'off' || (event.type !== 'state' && event.type !== 'progress')) return;
    this.#latest = event.snapshot;
    if (this.#kind === 'plain') {
      this.#seeInLines(event.type === 'state', event.snapshot);
      return;
    }
    const dueMs = this.#shownMs + this.#intervalMs() - this.#now();
    if (event.type === 'state' || dueMs <= 0) this.#show();
    else this.#showIn(dueMs);
  };

  /** Something else is about to be written to the same terminal. */
  clear(): void {
    if (this.#line !== '') this.#sinks.terminal.write(CLEAR_LINE);
  }

  /** … and has been written. */
  redraw(): void {
    if (this.#line !== '') this.#sinks.terminal.write(this.#line);
  }

  /** The last state stays on the screen. */
  close(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#agingTimer);
    if (this.#line !== '') this.#sinks.terminal.write('\n');
    this.#line = '';
  }

  #showIn(delayMs: number): void {
    this.#timer ??= setTimeout(() => this.#show(), delayMs).unref();
  }

  #intervalMs(): number {
    return this.#kind === 'line' ? LINE_INTERVAL_MS : JSON_INTERVAL_MS;
  }

  /** States that last are lines at once; work is a line when it takes long, and again now and then. */
  #seeInLines(isNews: boolean, { phase }: WatcherSnapshot): void {
    if (phase === 'syncing' || phase === 'starting') {
      const waitMs = this.#loggedText === '' || isNews ? PLAIN_PATIENCE_MS : PLAIN_INTERVAL_MS;
      this.#showIn(waitMs);
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (isNews) this.#show();
  }

  #show(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const snapshot = this.#latest;
    if (snapshot === undefined) return;
    this.#shownMs = this.#now();
    switch (this.#kind) {
      case 'line':
        this.#draw(snapshot);
        break;
      case 'plain':
        this.#log(snapshot);
        break;
      case 'json':
        this.#sinks.writeLine(JSON.stringify({ ...this.#sinks.fields, ...progressJson(snapshot) }));
        break;
      case 'off':
        break;
    }
  }

  #draw(snapshot: WatcherSnapshot): void {
    const { terminal } = this.#sinks;
    const nowMs = this.#wallClock();
    this.#line = progressText(snapshot, nowMs, terminal.columns);
    terminal.write(CLEAR_LINE + this.#line);
    clearTimeout(this.#agingTimer);
    const { lastChangeMs } = snapshot;
    if (lastChangeMs === 0) return;
    this.#agingTimer = setTimeout(() => this.#show(), nextAgoMs(nowMs - lastChangeMs)).unref();
  }

  #log(snapshot: WatcherSnapshot): void {
    // The connection's own line has said it, with more.
    if (snapshot.phase === 'offline') return;
    const text = progressText(snapshot, this.#wallClock());
    // In step again after a change or two: the revision alone is no news.
    const essence = snapshot.phase === 'in-step' ? `in step ${snapshot.reason}` : text;
    if (essence !== this.#loggedText) this.#sinks.logger.info({ state: snapshot.phase }, text);
    this.#loggedText = essence;
  }
}
