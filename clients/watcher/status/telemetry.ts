/**
 * The watcher's telemetry: a span for each batch that the server has answered, and metrics of what it is doing. Loaded
 * only where a receiver is configured. Names of files never leave this process with it. docs/telemetry.md lists it all.
 */
import type { Logger } from '../../../common/ops/logger.ts';
import { DURATION_BOUNDS, MetricsRegistry } from '../../../common/ops/metrics.ts';
import type { TelemetrySettings } from '../../../common/telemetry/settings.ts';
import { Telemetry } from '../../../common/telemetry/telemetry.ts';
import type { AnsweredBatch } from '../push/change-stream.ts';
import type { WatcherModel } from './watcher-model.ts';

export interface WatcherTelemetryOptions {
  readonly settings: TelemetrySettings;
  readonly version: string;
  readonly model: WatcherModel;
  readonly logger: Logger;
}

export class WatcherTelemetry {
  readonly #telemetry: Telemetry;
  readonly #folder: string;
  readonly #durations;

  constructor({ settings, version, model, logger }: WatcherTelemetryOptions) {
    const registry = new MetricsRegistry();
    this.#folder = model.identity.folder;
    this.#durations = registry.histogram(
      'lockstep_watcher_batch_duration_seconds',
      "From a batch's sending to its answer",
      DURATION_BOUNDS,
    );
    registerWatcherMetrics(registry, model);
    this.#telemetry = new Telemetry({ settings, serviceName: 'sync-watcher', version, registry, logger });
  }

  readonly onAnswered = ({ batchId, revision, sizeBytes, problems, durationMs }: AnsweredBatch): void => {
    const folder = this.#folder;
    this.#durations.observe(durationMs / 1000, { folder });
    this.#telemetry.batch({
      batchId,
      side: 'sender',
      durationMs,
      attributes: {
        'lockstep.folder': folder,
        'lockstep.revision': revision,
        'lockstep.batch_bytes': sizeBytes,
        'lockstep.problems': problems,
      },
      failure: undefined,
    });
  };

  close(): Promise<void> {
    return this.#telemetry.close();
  }
}

function registerWatcherMetrics(registry: MetricsRegistry, model: WatcherModel): void {
  const labels = { folder: model.identity.folder };
  const sample = (valueOf: () => number) => () => [{ labels, value: valueOf() }];
  const gauge = (name: string, help: string, valueOf: () => number) => registry.gauge(name, help, sample(valueOf));
  const total = (name: string, help: string, valueOf: () => number) => registry.total(name, help, sample(valueOf));
  const engine = () => model.snapshot.engine;
  gauge('lockstep_watcher_in_step', '1 while the server has what is on disk', () => (engine().inStep ? 1 : 0));
  gauge('lockstep_watcher_connected', '1 while it is connected', () => (model.snapshot.phase === 'offline' ? 0 : 1));
  gauge('lockstep_watcher_degraded', '1 while changes are found by looking instead of by events', () =>
    engine().degraded === '' ? 0 : 1,
  );
  gauge('lockstep_watcher_revision', 'Newest revision that was acknowledged', () => Number(engine().revision));
  gauge('lockstep_watcher_durable_revision', 'Newest one that is durable', () => Number(engine().durableRevision));
  gauge('lockstep_watcher_entries', 'Entries in the folder', () => engine().entries);
  gauge('lockstep_watcher_pending_changes', 'Changes that wait', () => engine().pendingChanges);
  gauge('lockstep_watcher_pending_bytes', 'Bytes of contents that wait', () => engine().pendingBytes);
  gauge('lockstep_watcher_problems', 'Entries that could not be synced', () => engine().problemCount);
  gauge('lockstep_watcher_held_deletes', 'Deletions that a guard holds back', () => engine().heldDeletes);
  total('lockstep_watcher_changes_total', 'Changes that were acknowledged', () => engine().sentChanges);
  // Not a counter: what an upload had brought is taken back when it breaks.
  gauge('lockstep_watcher_sent_bytes', 'Bytes of contents that the server has taken', () => engine().sentContentBytes);
}
