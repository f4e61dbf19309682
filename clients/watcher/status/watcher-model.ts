/**
 * What the running watcher is doing, put together from what the engine and the connection say. The control service,
 * the progress display and the composition look at it; it knows none of them.
 */
import { type TreePath, toWirePath } from '../../../common/tree/tree-path.ts';
import type { EngineStatus } from '../engine/messages.ts';
import type { HookResult } from '../hooks/on-synced.ts';
import type { PackedChanges } from '../engine/packed-changes.ts';
import type { ConnectionState } from '../push/reconnect.ts';
import { type Course, CourseMeter, NO_COURSE } from './pace.ts';

/** As WatcherService.WatcherState, in the program's own words. */
export type WatcherPhase = 'starting' | 'in-step' | 'syncing' | 'offline' | 'paused' | 'stopped';

export interface WatcherIdentity {
  readonly directory: string;
  readonly server: string;
  readonly folder: string;
}

export interface WatcherSnapshot {
  readonly phase: WatcherPhase;
  /** Why, in one sentence, when it is not simply in step or syncing; else empty. */
  readonly reason: string;
  /** Milliseconds since 1970 at which the phase began. */
  readonly sinceMs: number;
  /** Milliseconds since 1970 of the last acknowledged change, 0 for none. */
  readonly lastChangeMs: number;
  /** From the moment the newest of those was seen to its acknowledgement, in milliseconds; 0 for what the first sync has found. */
  readonly latencyMs: number;
  readonly engine: EngineStatus;
  /** How far it is, and how fast. */
  readonly course: Course;
  /** How often a guard has stopped deletions since the start. */
  readonly guardHolds: number;
  /** How the user's command failed the last time, in one sentence; else empty. */
  readonly onSyncedFailure: string;
  /** How often it has run since the start, by how it ended. */
  readonly hookRuns: Readonly<Record<HookResult, number>>;
}

export type WatcherEvent =
  | { readonly type: 'state'; readonly snapshot: WatcherSnapshot }
  /** Numbers moved within the same phase. */
  | { readonly type: 'progress'; readonly snapshot: WatcherSnapshot }
  | { readonly type: 'changes'; readonly changes: PackedChanges }
  | { readonly type: 'problem'; readonly path: TreePath; readonly message: string };

const NOTHING_YET: EngineStatus = {
  phase: 'starting',
  inStep: false,
  firstSyncDone: false,
  revision: 0n,
  durableRevision: 0n,
  entries: 0,
  scannedEntries: 0,
  pendingChanges: 0,
  pendingBytes: 0,
  dirtyPaths: 0,
  pendingSinceMs: undefined,
  sentChanges: 0,
  sentContentBytes: 0,
  changeSource: '',
  rescans: [],
  degraded: '',
  problems: [],
  problemCount: 0,
  heldDeletes: 0,
  deleteLimit: 0,
  reason: '',
};

/** Which phase the two sides' words amount to, and why. Pure. */
export function phaseOf(
  engine: EngineStatus,
  connection: ConnectionState,
): { readonly phase: WatcherPhase; readonly reason: string } {
  if (engine.phase === 'stopped') return { phase: 'stopped', reason: engine.reason };
  if (engine.phase === 'paused' && engine.heldDeletes === 0) {
    return { phase: 'paused', reason: engine.reason || 'paused by request' };
  }
  if (connection.phase === 'offline') return { phase: 'offline', reason: `not connected to ${connection.reason}` };
  const isQuiet =
    engine.pendingChanges === 0 && (engine.phase === 'idle' || engine.phase === 'paused' || engine.inStep);
  if (engine.heldDeletes > 0 && isQuiet) return { phase: 'stopped', reason: engine.reason || heldReason(engine) };
  if (connection.phase === 'connecting') return { phase: engine.firstSyncDone ? 'syncing' : 'starting', reason: '' };
  if (engine.inStep && engine.pendingChanges === 0) return { phase: 'in-step', reason: '' };
  if (engine.phase === 'idle' && engine.pendingChanges === 0 && engine.problemCount > 0) {
    const what = engine.problemCount === 1 ? 'one entry' : `${engine.problemCount} entries`;
    return { phase: 'in-step', reason: `but ${what} could not be synced` };
  }
  const hasBegun = engine.firstSyncDone || engine.pendingChanges > 0 || engine.sentChanges > 0;
  return { phase: hasBegun ? 'syncing' : 'starting', reason: '' };
}

function heldReason({ heldDeletes }: EngineStatus): string {
  return `${heldDeletes} deletions are held back; if they are meant, confirm them with "sync-watcher resume"`;
}

export class WatcherModel {
  readonly identity: WatcherIdentity;
  readonly #now: () => number;
  readonly #monotonic: () => number;
  readonly #courseMeter = new CourseMeter();
  readonly #listeners = new Set<(event: WatcherEvent) => void>();
  #engine: EngineStatus = NOTHING_YET;
  #course = NO_COURSE;
  #connection: ConnectionState = { phase: 'connecting' };
  #phase: WatcherPhase = 'starting';
  #reason = '';
  #sinceMs: number;
  #lastChangeMs = 0;
  #latencyMs = 0;
  #onSyncedFailure = '';
  #guardHolds = 0;
  #hookRuns: Readonly<Record<HookResult, number>> = { ok: 0, failed: 0, timeout: 0 };
  /** Wire spelling of the problems that were told about. */
  #toldProblems = new Set<string>();

  /** `now` gives milliseconds since 1970, `monotonic` those of a clock that is never set. */
  constructor(
    identity: WatcherIdentity,
    now: () => number = Date.now,
    monotonic: () => number = () => performance.now(),
  ) {
    this.identity = identity;
    this.#now = now;
    this.#monotonic = monotonic;
    this.#sinceMs = now();
  }

  get snapshot(): WatcherSnapshot {
    return {
      phase: this.#phase,
      reason: this.#reason,
      sinceMs: this.#sinceMs,
      lastChangeMs: this.#lastChangeMs,
      latencyMs: this.#latencyMs,
      engine: this.#engine,
      course: this.#course,
      onSyncedFailure: this.#onSyncedFailure,
      guardHolds: this.#guardHolds,
      hookRuns: this.#hookRuns,
    };
  }

  /** @returns a function that ends the subscription. */
  subscribe(listener: (event: WatcherEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  engineSays(status: EngineStatus): void {
    if (status.heldDeletes > 0 && this.#engine.heldDeletes === 0) this.#guardHolds++;
    this.#engine = status;
    this.#refresh();
    this.#tellProblems(status);
  }

  connectionIs(state: ConnectionState): void {
    // A new attempt is no news: it is offline until it is connected.
    if (state.phase === 'connecting' && this.#connection.phase === 'offline') return;
    this.#connection = state;
    this.#refresh();
  }

  onSyncedEnded(failure: string, result: HookResult): void {
    this.#onSyncedFailure = failure;
    this.#hookRuns = { ...this.#hookRuns, [result]: this.#hookRuns[result] + 1 };
  }

  acknowledged(changes: PackedChanges): void {
    this.#lastChangeMs = this.#now();
    this.#latencyMs = this.#engine.firstSyncDone ? changes.milliseconds : 0;
    this.#tell({ type: 'changes', changes });
  }

  #refresh(): void {
    const { phase, reason } = phaseOf(this.#engine, this.#connection);
    const isNew = phase !== this.#phase || reason !== this.#reason;
    if (phase !== this.#phase) this.#sinceMs = this.#now();
    this.#phase = phase;
    this.#reason = reason;
    const isAtWork = phase === 'starting' || phase === 'syncing';
    this.#course = this.#courseMeter.follow(this.#engine, isAtWork, this.#monotonic());
    this.#tell({ type: isNew ? 'state' : 'progress', snapshot: this.snapshot });
  }

  #tellProblems(status: EngineStatus): void {
    const current = new Set<string>();
    for (const { path, message } of status.problems) {
      const key = `${toWirePath(path)}\n${message}`;
      current.add(key);
      if (!this.#toldProblems.has(key)) this.#tell({ type: 'problem', path, message });
    }
    this.#toldProblems = current;
  }

  #tell(event: WatcherEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
