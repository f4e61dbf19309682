/**
 * A watcher's status for people and for programs. Pure.
 */
import { formatBytes, formatDuration, formatRate } from '../../../common/ops/units.ts';
import { displayText } from '../../../common/tree/display-path.ts';
import {
  type GetStatusResponse,
  WatcherActivity,
  type WatchEventsResponse,
  WatcherState,
} from '../../../gen/lockstep/watcher/v1/watcher_service.ts';
import { type Activity, ago, latencyText, type Work, workJson, workText } from './progress-text.ts';

/** Words for states, stable: programs compare them. */
export function stateName(state: WatcherState): string {
  switch (state) {
    case WatcherState.WATCHER_STATE_STARTING:
      return 'starting';
    case WatcherState.WATCHER_STATE_IN_STEP:
      return 'in step';
    case WatcherState.WATCHER_STATE_SYNCING:
      return 'syncing';
    case WatcherState.WATCHER_STATE_OFFLINE:
      return 'offline';
    case WatcherState.WATCHER_STATE_PAUSED:
      return 'paused';
    case WatcherState.WATCHER_STATE_STOPPED:
      return 'stopped';
    default:
      return 'unknown';
  }
}

/** Undefined for none, and for one of a newer watcher. */
function activityOf(activity: WatcherActivity): Activity | undefined {
  switch (activity) {
    case WatcherActivity.WATCHER_ACTIVITY_CONNECTING:
      return 'connecting';
    case WatcherActivity.WATCHER_ACTIVITY_COMPARING:
      return 'comparing';
    case WatcherActivity.WATCHER_ACTIVITY_SCANNING:
      return 'scanning';
    case WatcherActivity.WATCHER_ACTIVITY_SENDING:
      return 'sending';
    case WatcherActivity.WATCHER_ACTIVITY_MAKING_DURABLE:
      return 'making-durable';
    default:
      return undefined;
  }
}

function workOf(status: GetStatusResponse): Work {
  const sentBytes = Number(status.sentBytes);
  return {
    activity: activityOf(status.activity),
    firstSyncDone: status.firstSyncDone,
    entries: Number(status.entries),
    scannedEntries: Number(status.scannedEntries),
    pendingChanges: Number(status.pendingChanges),
    bytes: { done: sentBytes, total: sentBytes + Number(status.pendingBytes) },
    sentChanges: Number(status.sentChanges),
    sentBytes,
    changesPerSecond: status.changesPerSecond,
    bytesPerSecond: status.bytesPerSecond,
    leftSeconds: status.leftSeconds === 0 ? undefined : status.leftSeconds,
  };
}

/** Several lines without the last line break. `nowMs` in milliseconds since 1970. */
export function statusText(status: GetStatusResponse, nowMs: number): string {
  const forMs = Math.max(0, nowMs - Number(status.sinceMs));
  const reason = status.reason === '' ? '' : ` · ${displayText(status.reason)}`;
  const lines = [`${stateName(status.state)} for ${formatDuration(forMs)} · rev ${status.revision}${reason}`];
  const row = (name: string, value: string) => lines.push(`  ${name.padEnd(11)}  ${value}`);
  const work = workText(workOf(status));
  if (work !== undefined) row('doing', work);
  row('directory', displayText(status.directory));
  row('server', `${displayText(status.server)}, folder ${displayText(status.folder)}`);
  row('entries', String(status.entries));
  if (status.pendingChanges > 0n || status.pendingBytes > 0n) {
    const changes = `${status.pendingChanges} ${status.pendingChanges === 1n ? 'change' : 'changes'}`;
    // The bytes of what was only heard of are not known yet.
    row('behind by', status.pendingBytes > 0n ? `${changes}, ${formatBytes(Number(status.pendingBytes))}` : changes);
  }
  const lastMs = Number(status.lastChangeMs);
  const latency = status.latencyMs > 0 ? ` · ${latencyText(status.latencyMs)}` : '';
  row('last change', lastMs === 0 ? 'none since the start' : `${ago(nowMs - lastMs)}${latency}`);
  if (status.bandwidthLimit > 0n) row('limited to', formatRate(Number(status.bandwidthLimit)));
  if (status.changeSource !== '') row('events from', status.changeSource);
  if (status.degraded !== '') row('degraded', displayText(status.degraded));
  if (status.heldDeletes > 0n)
    row('held back', `${status.heldDeletes} deletions; confirm them with: sync-watcher resume`);
  if (status.onSyncedFailure !== '') row('on-synced', displayText(status.onSyncedFailure));
  row('process', `${status.pid}, version ${displayText(status.version)}`);
  if (status.problemCount > 0n || status.problems.length > 0) {
    // Those that it is in step without are not counted.
    if (status.problemCount > 0n) row('problems', String(status.problemCount));
    else row('apart from', status.problems.length === 1 ? '1 entry' : `${status.problems.length} entries`);
    for (const { path, message } of status.problems) lines.push(`    ${displayText(path)}: ${displayText(message)}`);
    const unnamed = status.problemCount - BigInt(status.problems.length);
    if (unnamed > 0n) lines.push(`    … and ${unnamed} more`);
  }
  return lines.join('\n');
}

/** Revisions are text: they may exceed what JSON numbers hold. */
export function statusJson(status: GetStatusResponse): Record<string, unknown> {
  return {
    state: stateName(status.state),
    in_step: status.state === WatcherState.WATCHER_STATE_IN_STEP && status.problemCount === 0n,
    reason: status.reason,
    directory: status.directory,
    server: status.server,
    folder: status.folder,
    revision: String(status.revision),
    durable_revision: String(status.durableRevision),
    entries: Number(status.entries),
    pending_changes: Number(status.pendingChanges),
    pending_bytes: Number(status.pendingBytes),
    since: new Date(Number(status.sinceMs)).toISOString(),
    last_change: status.lastChangeMs === 0n ? null : new Date(Number(status.lastChangeMs)).toISOString(),
    change_source: status.changeSource,
    degraded: status.degraded,
    bandwidth_limit: status.bandwidthLimit === 0n ? null : Number(status.bandwidthLimit),
    held_deletes: Number(status.heldDeletes),
    problem_count: Number(status.problemCount),
    problems: status.problems.map(({ path, reason, message }) => ({ path, reason, message })),
    rescans: { whole: rescansOf(status, 'whole'), part: rescansOf(status, 'part') },
    on_synced_failure: status.onSyncedFailure,
    pid: status.pid,
    version: status.version,
    ...workJson(workOf(status), status.latencyMs),
  };
}

/** Counts by reason. */
function rescansOf({ rescans }: GetStatusResponse, wanted: 'whole' | 'part'): Record<string, number> {
  const counts = rescans.filter(({ scope }) => scope === wanted);
  return Object.fromEntries(counts.map(({ reason, count }) => [reason, Number(count)]));
}

/** One event, as `sync-watcher events` prints it: `time`, `type` and `state` always, the rest where it means something. */
export function eventJson(event: WatchEventsResponse): Record<string, unknown> {
  const { type, operation, path, revision, message } = event;
  const head = { time: new Date(Number(event.timeMs)).toISOString(), type, state: stateName(event.state) };
  switch (type) {
    case 'state':
      return { ...head, revision: String(revision), reason: message };
    case 'change':
      return { ...head, operation, path, revision: String(revision) };
    case 'problem':
      return { ...head, path, message };
    default:
      // Of a newer watcher: whoever reads it may know more.
      return { ...head, operation, path, revision: String(revision), message };
  }
}
