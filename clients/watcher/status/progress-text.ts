/**
 * What progress looks like: the words of the living line, as many of them as there is room for, and the fields of a JSON
 * line; those of the work also for whoever asks for the status. Pure.
 */
import { formatBytes, formatDuration } from '../../../common/ops/units.ts';
import { type BytesDone, secondsLeft } from './pace.ts';
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

/** What is being done now, how far and how fast: of a watcher in this process, or of one that was asked. */
export interface Work {
  readonly activity: Activity | undefined;
  readonly firstSyncDone: boolean;
  readonly entries: number;
  readonly scannedEntries: number;
  readonly pendingChanges: number;
  /** For the eye. */
  readonly bytes: BytesDone;
  readonly sentChanges: number;
  readonly sentBytes: number;
  readonly changesPerSecond: number;
  readonly bytesPerSecond: number;
  /** Undefined while that cannot be known. */
  readonly leftSeconds: number | undefined;
}

export function workOf(snapshot: WatcherSnapshot): Work {
  const { engine, course } = snapshot;
  const { bytes, pace } = course;
  const left = secondsLeft({ ...engine, pendingBytes: bytes.total - bytes.done }, pace);
  return {
    activity: activityOf(snapshot),
    firstSyncDone: engine.firstSyncDone,
    entries: engine.entries,
    scannedEntries: engine.scannedEntries,
    pendingChanges: engine.pendingChanges,
    bytes,
    sentChanges: engine.sentChanges,
    sentBytes: engine.sentContentBytes,
    changesPerSecond: pace.changesPerSecond,
    bytesPerSecond: pace.bytesPerSecond,
    leftSeconds: left === undefined ? undefined : Math.ceil(left),
  };
}

/** What a line never leaves out. */
const HEAD = 9;

/** The higher, the longer it stays where there is little room. */
interface Part {
  readonly text: string;
  readonly weight: number;
}

/** One line without its break, shorter than the columns. `nowMs` in milliseconds since 1970. */
export function progressText(snapshot: WatcherSnapshot, nowMs: number, columns = Number.POSITIVE_INFINITY): string {
  const { reason, engine } = snapshot;
  const parts = partsOf(snapshot, nowMs);
  if (engine.problemCount > 0) parts.push(part(7, countOf(engine.problemCount, 'problem', 'problems')));
  if (engine.degraded !== '') parts.push(part(0, `degraded: ${engine.degraded}`));
  if (reason !== '') parts.push(part(HEAD, reason));
  return fitted(parts, columns);
}

function partsOf(snapshot: WatcherSnapshot, nowMs: number): Part[] {
  const { phase, engine } = snapshot;
  if (phase === 'offline' || phase === 'paused' || phase === 'stopped') {
    const waiting = countOf(engine.pendingChanges, 'change waits', 'changes wait');
    return [part(HEAD, phase), ...(engine.pendingChanges > 0 ? [part(6, waiting)] : [])];
  }
  const work = workOf(snapshot);
  const { activity, bytes } = work;
  if (!engine.firstSyncDone && activity !== undefined) return firstSyncParts(work, activity);
  if (phase === 'in-step') return [part(HEAD, 'in step'), ...lastParts(snapshot, nowMs)];
  const behind = engine.pendingChanges > 0 ? `behind by ${engine.pendingChanges}` : (activity ?? 'syncing');
  const left = bytes.total - bytes.done;
  const toGo = left > 0 ? [part(4, `${formatBytes(left)} to go`)] : [];
  return [part(HEAD, behind), ...toGo, ...paceParts(work), ...lastParts(snapshot, nowMs)];
}

/** What is being done now, in one line; undefined when nothing is. */
export function workText(work: Work): string | undefined {
  const { activity } = work;
  if (activity === undefined) return undefined;
  return textOf(work.firstSyncDone ? [activityPart(activity), ...paceParts(work)] : firstSyncParts(work, activity));
}

/** What is found while it is still being looked for is not all there is: "12 of 40+ entries". */
function firstSyncParts(work: Work, activity: Activity): Part[] {
  const head = activityPart(activity);
  if (activity === 'connecting') return [head];
  if (activity === 'comparing') return [head, part(4, countOf(work.entries, 'entry', 'entries'))];
  const { scannedEntries, pendingChanges } = work;
  const more = activity === 'scanning' ? '+' : '';
  const done = Math.max(0, scannedEntries - pendingChanges);
  const bytes = `${formatBytes(work.bytes.done)} of ${formatBytes(work.bytes.total)}${more}`;
  return [
    head,
    part(4, `${done} of ${scannedEntries}${more} ${scannedEntries === 1 ? 'entry' : 'entries'}`),
    ...(work.bytes.total > 0 ? [part(5, bytes)] : []),
    ...(activity === 'making-durable' ? [] : paceParts(work)),
  ];
}

const activityPart = (activity: Activity) => part(HEAD, activity.replace('-', ' '));

function paceParts({ bytesPerSecond, leftSeconds }: Work): Part[] {
  return [
    ...(bytesPerSecond >= 1 ? [part(3, `${formatBytes(bytesPerSecond)}/s`)] : []),
    ...(leftSeconds === undefined ? [] : [part(6, `${formatDuration(leftSeconds * 1000)} left`)]),
  ];
}

function lastParts({ lastChangeMs, latencyMs, engine }: WatcherSnapshot, nowMs: number): Part[] {
  return [
    ...(lastChangeMs === 0 ? [] : [part(5, `last change ${ago(nowMs - lastChangeMs)}`)]),
    part(4, `rev ${engine.revision}`),
    ...(latencyMs > 0 ? [part(3, latencyText(latencyMs))] : []),
    part(2, countOf(engine.entries, 'entry', 'entries')),
  ];
}

export const latencyText = (latencyMs: number) => `latency ${formatDuration(latencyMs)}`;

const MINUTE_MS = 60_000;

/** In whole seconds, later in whole minutes: a text that moves with each look would not be read. */
export function ago(passedMs: number): string {
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
export function progressJson(snapshot: WatcherSnapshot): Record<string, unknown> {
  const { phase, reason, lastChangeMs, latencyMs, engine } = snapshot;
  return {
    state: phase,
    reason,
    revision: String(engine.revision),
    durable_revision: String(engine.durableRevision),
    entries: engine.entries,
    pending_changes: engine.pendingChanges,
    pending_bytes: engine.pendingBytes,
    last_change: lastChangeMs === 0 ? null : new Date(lastChangeMs).toISOString(),
    problems: engine.problemCount,
    ...workJson(workOf(snapshot), latencyMs),
  };
}

/** Of these fields those that tell of the work. */
export function workJson(work: Work, latencyMs: number): Record<string, unknown> {
  return {
    activity: work.activity ?? null,
    first_sync_done: work.firstSyncDone,
    scanned_entries: work.scannedEntries,
    sent_changes: work.sentChanges,
    sent_bytes: work.sentBytes,
    changes_per_second: Math.round(work.changesPerSecond),
    bytes_per_second: Math.round(work.bytesPerSecond),
    left_seconds: work.leftSeconds ?? null,
    latency_ms: latencyMs > 0 ? Number(latencyMs.toFixed(1)) : null,
  };
}
