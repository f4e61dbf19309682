/**
 * The watcher's telemetry: a span for each batch that the server has answered, and the metrics of what it is doing. Loaded
 * only where a receiver is configured. Names of files never leave this process with it. docs/telemetry.md lists it all.
 */
import type { Logger } from '../../../common/ops/logger.ts';
import { MetricsRegistry } from '../../../common/ops/metrics.ts';
import { registerProcessMetrics } from '../../../common/ops/process-metrics.ts';
import type { TelemetrySettings } from '../../../common/telemetry/settings.ts';
import { Telemetry } from '../../../common/telemetry/telemetry.ts';
import type { AnsweredBatch } from '../push/change-stream.ts';
import { type MeteredWatcher, type WatcherMeter, WatcherMetrics } from './watcher-metrics.ts';

export interface WatcherTelemetryOptions extends MeteredWatcher {
  readonly settings: TelemetrySettings;
  readonly version: string;
  readonly logger: Logger;
}

export class WatcherTelemetry {
  readonly #telemetry: Telemetry;
  readonly #folder: string;
  readonly #meter: WatcherMeter;
  readonly #stopMeasuring: () => void;

  constructor({ settings, version, logger, ...watcher }: WatcherTelemetryOptions) {
    const registry = new MetricsRegistry();
    this.#folder = watcher.model.identity.folder;
    this.#meter = new WatcherMetrics(registry).add(watcher);
    this.#stopMeasuring = registerProcessMetrics(registry);
    this.#telemetry = new Telemetry({ settings, serviceName: 'sync-watcher', version, registry, logger });
  }

  readonly onAnswered = (batch: AnsweredBatch): void => {
    const { batchId, revision, sizeBytes, problems, durationMs } = batch;
    this.#meter.onAnswered(batch);
    this.#telemetry.batch({
      batchId,
      side: 'sender',
      durationMs,
      attributes: {
        'lockstep.folder': this.#folder,
        'lockstep.revision': revision,
        'lockstep.batch_bytes': sizeBytes,
        'lockstep.problems': problems,
      },
      failure: undefined,
    });
  };

  async close(): Promise<void> {
    await this.#telemetry.close();
    this.#stopMeasuring();
  }
}
