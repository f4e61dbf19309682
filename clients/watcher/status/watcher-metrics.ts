/**
 * The metrics of watched directories, read when somebody asks. docs/metrics.md says what each of them means. Labels are names
 * of folders and addresses of servers, which together are different for each directory of a process; never a file's name.
 */
import { DURATION_BOUNDS, type Histogram, type MetricsRegistry, type Sample } from '../../../common/ops/metrics.ts';
import type { PackedChanges } from '../engine/packed-changes.ts';
import { monotonicMs } from '../observe/hints.ts';
import type { AnsweredBatch } from '../push/change-stream.ts';
import type { SentBytes } from '../push/sent-bytes.ts';
import type { WatcherModel, WatcherSnapshot } from './watcher-model.ts';

export interface MeteredWatcher {
  readonly model: WatcherModel;
  readonly sent: SentBytes;
}

/** What a watcher tells as it happens. */
export interface WatcherMeter {
  readonly onAnswered: (batch: AnsweredBatch) => void;
  /** It is not watched any more: its samples end. */
  end(): void;
}

type Value = (snapshot: WatcherSnapshot, watcher: MeteredWatcher) => number;

export class WatcherMetrics {
  readonly #watchers = new Set<MeteredWatcher>();
  readonly #durations: Histogram;
  readonly #latencies: Histogram;

  constructor(registry: MetricsRegistry) {
    this.#durations = registry.histogram(
      'lockstep_watcher_batch_duration_seconds',
      "From a batch's sending to its answer",
      DURATION_BOUNDS,
    );
    this.#latencies = registry.histogram(
      'lockstep_watcher_change_latency_seconds',
      'From the moment a change was seen to its acknowledgement; of a batch the oldest',
      DURATION_BOUNDS,
    );
    this.#registerState(registry);
    this.#registerTraffic(registry);
  }

  add(watcher: MeteredWatcher): WatcherMeter {
    const labels = labelsOf(watcher);
    this.#watchers.add(watcher);
    const stopListening = watcher.model.subscribe((event) => {
      if (event.type === 'changes') this.#seen(event.changes, labels);
    });
    return {
      onAnswered: ({ durationMs }) => this.#durations.observe(durationMs / 1000, labels),
      end: () => {
        stopListening();
        this.#watchers.delete(watcher);
      },
    };
  }

  /** 0: it was there before anybody looked. */
  #seen({ milliseconds }: PackedChanges, labels: Sample['labels']): void {
    if (milliseconds > 0) this.#latencies.observe(milliseconds / 1000, labels);
  }

  #samplesOf(valueOf: Value): () => readonly Sample[] {
    return () =>
      [...this.#watchers].map((watcher) => ({
        labels: labelsOf(watcher),
        value: valueOf(watcher.model.snapshot, watcher),
      }));
  }

  #registerState(registry: MetricsRegistry): void {
    const gauge = (name: string, help: string, valueOf: Value) => registry.gauge(name, help, this.#samplesOf(valueOf));
    gauge('lockstep_watcher_in_step', '1 while the server has what is on disk', ({ engine }) =>
      engine.inStep ? 1 : 0,
    );
    gauge('lockstep_watcher_connected', '1 while it is connected', ({ phase }) => (phase === 'offline' ? 0 : 1));
    gauge('lockstep_watcher_degraded', '1 while changes are found by looking instead of by events', ({ engine }) =>
      engine.degraded === '' ? 0 : 1,
    );
    gauge('lockstep_watcher_revision', 'Newest revision that was acknowledged', ({ engine }) =>
      Number(engine.revision),
    );
    gauge('lockstep_watcher_durable_revision', 'Newest one that is durable', ({ engine }) =>
      Number(engine.durableRevision),
    );
    gauge('lockstep_watcher_entries', 'Entries in the folder', ({ engine }) => engine.entries);
    gauge('lockstep_watcher_sync_lag_seconds', 'For how long the oldest change has been waiting', ({ engine }) =>
      engine.pendingSinceMs === undefined ? 0 : Math.max(0, monotonicMs() - engine.pendingSinceMs) / 1000,
    );
    gauge('lockstep_watcher_dirty_paths', 'Paths that are to be looked at', ({ engine }) => engine.dirtyPaths);
    gauge('lockstep_watcher_pending_changes', 'Changes that wait', ({ engine }) => engine.pendingChanges);
    gauge('lockstep_watcher_pending_bytes', 'Bytes of contents that wait', ({ engine }) => engine.pendingBytes);
    gauge('lockstep_watcher_problems', 'Entries that could not be synced', ({ engine }) => engine.problemCount);
    gauge('lockstep_watcher_held_deletes', 'Deletions that a guard holds back', ({ engine }) => engine.heldDeletes);
    registry.total('lockstep_watcher_rescans_total', 'Looks through the whole tree, or a part of it', () =>
      [...this.#watchers].flatMap((watcher) =>
        watcher.model.snapshot.engine.rescans.map(({ scope, reason, count }) => ({
          labels: { ...labelsOf(watcher), scope, reason },
          value: count,
        })),
      ),
    );
    registry.total('lockstep_watcher_hook_runs_total', 'Runs of the --on-synced command, by how they ended', () =>
      [...this.#watchers].flatMap((watcher) =>
        Object.entries(watcher.model.snapshot.hookRuns).map(([result, value]) => ({
          labels: { ...labelsOf(watcher), result },
          value,
        })),
      ),
    );
    registry.total(
      'lockstep_watcher_guard_holds_total',
      'How often a guard has held deletions back',
      this.#samplesOf(({ guardHolds }) => guardHolds),
    );
  }

  #registerTraffic(registry: MetricsRegistry): void {
    const total = (name: string, help: string, valueOf: Value) => registry.total(name, help, this.#samplesOf(valueOf));
    total('lockstep_watcher_changes_total', 'Changes that were acknowledged', ({ engine }) => engine.sentChanges);
    // Not a counter: what an upload had brought is taken back when it breaks.
    registry.gauge(
      'lockstep_watcher_sent_bytes',
      'Bytes of contents that the server has taken',
      this.#samplesOf(({ engine }) => engine.sentContentBytes),
    );
    total('lockstep_watcher_wire_bytes_total', 'Bytes of batches and uploads as they went', (_, { sent }) => sent.wire);
    total(
      'lockstep_watcher_raw_bytes_total',
      'What those bytes stand for without compression and deltas',
      (_, { sent }) => sent.raw,
    );
    total('lockstep_watcher_saved_bytes_total', 'Bytes that did not have to be sent', (_, { sent }) => sent.saved);
  }
}

function labelsOf({ model: { identity } }: MeteredWatcher): Sample['labels'] {
  return { folder: identity.folder, server: identity.server };
}
