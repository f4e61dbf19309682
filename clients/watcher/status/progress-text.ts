/**
 * What progress looks like: the words of the living line, as many of them as there is room for, and the fields of a JSON
 * line. Pure.
 */
import { formatBytes, formatDuration } from '../../../common/ops/units.ts';
import type { EngineStatus } from '../engine/messages.ts';
import { type Pace, secondsLeft } from './pace.ts';
import type { WatcherSnapshot } from './watcher-model.ts';

export type Activity = 'connecting' | 'comparing' | 'scanning' | 'sending' | 'making-durable';

/** What is being done now; undefined when nothing is. */
export function activityOf({ phase, engine }: WatcherSnapshot): Activity | undefined {
  if (phase === 'offline' || phase === 'paused' || phase === 'stopped') return undefined;
  if (engine.phase === 'idle') {
    return engine.firstSyncDone || engine.durableRevision >= engine.revision ? undefined : 'making-durable';
  }
  if (phase === 'in-step' || engine.phase === 'paused' || engine.phase === 'stopped') return undefined;
  return engine.phase === 'starting' ? 'connecting' : engine.phase;
}

/** What a line never leaves out. */
const HEAD = 9;

/** The higher, the longer it stays where there is little room. */
interface Part {
  readonly text: string;
  readonly weight: number;
}

/** One line without its break, shorter than the columns. `nowMs` in milliseconds since 1970. */
export function progressText(
  snapshot: WatcherSnapshot,
  pace: Pace,
  nowMs: number,
  columns = Number.POSITIVE_INFINITY,
): string {
  const { reason, engine } = snapshot;
  const parts = partsOf(snapshot, pace, nowMs);
  if (engine.problemCount > 0) parts.push(part(7, countOf(engine.problemCount, 'problem', 'problems')));
  if (engine.degraded !== '') parts.push(part(0, `degraded: ${engine.degraded}`));
  if (reason !== '') parts.push(part(HEAD, reason));
  return fitted(parts, columns);
}

function partsOf(snapshot: WatcherSnapshot, pace: Pace, nowMs: number): Part[] {
  const { phase, engine } = snapshot;
  if (phase === 'offline' || phase === 'paused' || phase === 'stopped') {
    const waiting = countOf(engine.pendingChanges, 'change waits', 'changes wait');
    return [part(HEAD, phase), ...(engine.pendingChanges > 0 ? [part(6, waiting)] : [])];
  }
  const activity = activityOf(snapshot);
  if (!engine.firstSyncDone && activity !== undefined) return firstSyncParts(engine, activity, pace);
  if (phase === 'in-step') return [part(HEAD, 'in step'), ...lastParts(snapshot, nowMs)];
  const behind = engine.pendingChanges > 0 ? `behind by ${engine.pendingChanges}` : (activity ?? 'syncing');
  const bytes = engine.pendingBytes > 0 ? [part(4, `${formatBytes(engine.pendingBytes)} to go`)] : [];
  return [part(HEAD, behind), ...bytes, ...paceParts(engine, pace), ...lastParts(snapshot, nowMs)];
}

/** What is found while it is still being looked for is not all there is: "12 of 40+ entries". */
function firstSyncParts(engine: EngineStatus, activity: Activity, pace: Pace): Part[] {
  if (activity === 'connecting') return [part(HEAD, activity)];
  if (activity === 'comparing') return [part(HEAD, 'comparing'), part(4, countOf(engine.entries, 'entry', 'entries'))];
  const { scannedEntries, pendingChanges, pendingBytes, sentContentBytes } = engine;
  const more = activity === 'scanning' ? '+' : '';
  const done = Math.max(0, scannedEntries - pendingChanges);
  const bytes = `${formatBytes(sentContentBytes)} of ${formatBytes(sentContentBytes + pendingBytes)}${more}`;
  return [
    part(HEAD, activity.replace('-', ' ')),
    part(4, `${done} of ${scannedEntries}${more} ${scannedEntries === 1 ? 'entry' : 'entries'}`),
    ...(sentContentBytes + pendingBytes > 0 ? [part(5, bytes)] : []),
    ...(activity === 'making-durable' ? [] : paceParts(engine, pace)),
  ];
}

function paceParts(engine: EngineStatus, pace: Pace): Part[] {
  const left = secondsLeft(engine, pace);
  return [
    ...(pace.bytesPerSecond >= 1 ? [part(3, `${formatBytes(pace.bytesPerSecond)}/s`)] : []),
    ...(left === undefined ? [] : [part(6, `${formatDuration(Math.ceil(left) * 1000)} left`)]),
  ];
}

function lastParts({ lastChangeMs, latencyMs, engine }: WatcherSnapshot, nowMs: number): Part[] {
  return [
    ...(lastChangeMs === 0 ? [] : [part(5, `last change ${ago(nowMs - lastChangeMs)}`)]),
    part(4, `rev ${engine.revision}`),
    ...(latencyMs > 0 ? [part(3, `latency ${formatDuration(latencyMs)}`)] : []),
    part(2, countOf(engine.entries, 'entry', 'entries')),
  ];
}

const MINUTE_MS = 60_000;

/** In whole seconds, later in whole minutes: a text that moves with each look would not be read. */
function ago(passedMs: number): string {
  if (passedMs < 1000) return 'just now';
  const stepMs = passedMs < MINUTE_MS ? 1000 : MINUTE_MS;
  return `${formatDuration(Math.floor(passedMs / stepMs) * stepMs)} ago`;
}

/** When the text of the last change is not true any more, in milliseconds from now. */
export function nextAgoMs(passedMs: number): number {
  const stepMs = passedMs < MINUTE_MS ? 1000 : MINUTE_MS;
  return stepMs - (Math.max(0, passedMs) % stepMs);
}

const SEPARATOR = ' · ';

/** Leaves out what matters least. A line that wraps cannot be taken back: what is still too long is cut. */
function fitted(parts: readonly Part[], columns: number): string {
  let kept = parts;
  for (let weight = 0; weight < HEAD && textOf(kept).length >= columns; weight++) {
    kept = kept.filter((one) => one.weight > weight);
  }
  const text = textOf(kept);
  return text.length < columns ? text : `${text.slice(0, Math.max(0, columns - 2))}…`;
}

const textOf = (parts: readonly Part[]) => parts.map(({ text }) => text).join(SEPARATOR);

const part = (weight: number, text: string): Part => ({ weight, text });

function countOf(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** Names end with their units. Revisions are text: they may exceed what JSON numbers hold; what is not known is null. */
export function progressJson(snapshot: WatcherSnapshot, pace: Pace): Record<string, unknown> {
  const { phase, reason, lastChangeMs, latencyMs, engine } = snapshot;
  const left = secondsLeft(engine, pace);
  return {
    state: phase,
    activity: activityOf(snapshot) ?? null,
    reason,
    first_sync_done: engine.firstSyncDone,
    revision: String(engine.revision),
    durable_revision: String(engine.durableRevision),
    entries: engine.entries,
    scanned_entries: engine.scannedEntries,
    pending_changes: engine.pendingChanges,
    pending_bytes: engine.pendingBytes,
    sent_changes: engine.sentChanges,
    sent_bytes: engine.sentContentBytes,
    changes_per_second: Math.round(pace.changesPerSecond),
    bytes_per_second: Math.round(pace.bytesPerSecond),
    left_seconds: left === undefined ? null : Math.ceil(left),
    last_change: lastChangeMs === 0 ? null : new Date(lastChangeMs).toISOString(),
    latency_ms: latencyMs > 0 ? Number(latencyMs.toFixed(1)) : null,
    problems: engine.problemCount,
  };
}
