/**
 * How the watcher shows what it is doing: one living line on a terminal, log lines or JSON lines elsewhere. Looks at the
 * model's events; knows neither engine nor connection.
 */
import type { Logger } from '../../../common/ops/logger.ts';
import { formatBytes } from '../../../common/ops/units.ts';
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

/** "syncing · 1200 of 5000 entries · 12 MB · 3.4 MB/s". Pure. */
export function progressText(snapshot: WatcherSnapshot, bytesPerSecond: number): string {
  const { phase, reason, engine } = snapshot;
  const parts: string[] = [];
  switch (phase) {
    case 'in-step':
      parts.push('in step', `rev ${engine.revision}`, countOf(engine.entries, 'entry', 'entries'));
      break;
    case 'starting':
      parts.push(
        engine.phase === 'comparing' ? 'comparing' : 'looking',
        countOf(engine.scannedEntries, 'entry', 'entries'),
      );
      break;
    case 'syncing':
      parts.push(
        engine.phase === 'comparing' ? 'comparing' : 'syncing',
        countOf(engine.scannedEntries, 'entry', 'entries'),
      );
      if (engine.pendingChanges > 0) parts.push(`${engine.pendingChanges} to go`);
      if (engine.pendingBytes > 0) parts.push(`${formatBytes(engine.pendingBytes)} to go`);
      parts.push(`${formatBytes(engine.sentContentBytes)} sent`);
      if (bytesPerSecond >= 1) parts.push(`${formatBytes(bytesPerSecond)}/s`);
      break;
    case 'offline':
    case 'paused':
    case 'stopped':
      parts.push(phase);
      if (engine.pendingChanges > 0) parts.push(countOf(engine.pendingChanges, 'change waits', 'changes wait'));
      break;
  }
  if (engine.problemCount > 0) parts.push(countOf(engine.problemCount, 'problem', 'problems'));
  if (engine.degraded !== '') parts.push(`degraded: ${engine.degraded}`);
  if (reason !== '') parts.push(reason);
  return parts.join(' · ');
}

function countOf(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** Bytes per second over the last seconds. */
class Rate {
  readonly #samples: { readonly timeMs: number; readonly bytes: number }[] = [];

  add(timeMs: number, bytes: number): number {
    this.#samples.push({ timeMs, bytes });
    while (this.#samples.length > 2 && timeMs - (this.#samples[0]?.timeMs ?? 0) > 3_000) this.#samples.shift();
    const first = this.#samples[0];
    if (first === undefined || timeMs - first.timeMs < 1) return 0;
    return Math.max(0, ((bytes - first.bytes) * 1000) / (timeMs - first.timeMs));
  }
}

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
  readonly #rate = new Rate();
  #shownMs = Number.NEGATIVE_INFINITY;
  #line = '';
  #bytesPerSecond = 0;
  #latest: WatcherSnapshot | undefined;
  #timer: NodeJS.Timeout | undefined;
  #loggedText = '';

  /** `now` is monotonic, in milliseconds. */
  constructor(kind: ProgressKind, sinks: ProgressSinks, now: () => number = () => performance.now()) {
    this.#kind = kind;
    this.#sinks = sinks;
    this.#now = now;
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
    else this.#timer ??= setTimeout(() => this.#show(), dueMs).unref();
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
    if (this.#line !== '') this.#sinks.terminal.write('\n');
    this.#line = '';
  }

  #intervalMs(): number {
    return this.#kind === 'line' ? LINE_INTERVAL_MS : JSON_INTERVAL_MS;
  }

  /** States that last are lines at once; work is a line when it takes long, and again now and then. */
  #seeInLines(isNews: boolean, { phase }: WatcherSnapshot): void {
    if (phase === 'syncing' || phase === 'starting') {
      const waitMs = this.#loggedText === '' || isNews ? PLAIN_PATIENCE_MS : PLAIN_INTERVAL_MS;
      this.#timer ??= setTimeout(() => this.#show(), waitMs).unref();
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
    this.#bytesPerSecond = this.#rate.add(this.#shownMs, snapshot.engine.sentContentBytes);
    switch (this.#kind) {
      case 'line':
        this.#draw(snapshot);
        break;
      case 'plain':
        this.#log(snapshot);
        break;
      case 'json':
        this.#sinks.writeLine(JSON.stringify({ ...this.#sinks.fields, ...jsonOf(snapshot, this.#bytesPerSecond) }));
        break;
      case 'off':
        break;
    }
  }

  #draw(snapshot: WatcherSnapshot): void {
    const { columns } = this.#sinks.terminal;
    const text = progressText(snapshot, this.#bytesPerSecond);
    // A line that wraps cannot be taken back.
    this.#line = text.length < columns ? text : `${text.slice(0, Math.max(0, columns - 2))}…`;
    this.#sinks.terminal.write(CLEAR_LINE + this.#line);
  }

  #log(snapshot: WatcherSnapshot): void {
    // The connection's own line has said it, with more.
    if (snapshot.phase === 'offline') return;
    const text = progressText(snapshot, this.#bytesPerSecond);
    // In step again after a change or two: the revision alone is no news.
    const essence = snapshot.phase === 'in-step' ? `in step ${snapshot.reason}` : text;
    if (essence !== this.#loggedText) this.#sinks.logger.info({ state: snapshot.phase }, text);
    this.#loggedText = essence;
  }
}

function jsonOf({ phase, reason, engine }: WatcherSnapshot, bytesPerSecond: number): Record<string, unknown> {
  return {
    state: phase,
    reason,
    revision: String(engine.revision),
    durable_revision: String(engine.durableRevision),
    entries: engine.entries,
    scanned_entries: engine.scannedEntries,
    pending_changes: engine.pendingChanges,
    pending_bytes: engine.pendingBytes,
    sent_changes: engine.sentChanges,
    sent_bytes: engine.sentContentBytes,
    bytes_per_second: Math.round(bytesPerSecond),
    problems: engine.problemCount,
  };
}
