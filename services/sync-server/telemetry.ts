/**
 * The server's telemetry: a span for each batch that was answered, and its metrics. Loaded only where a receiver is
 * configured. Names of folders leave this process with it, names of files never do.
 */
import type { Logger } from '../../common/ops/logger.ts';
import type { MetricsRegistry } from '../../common/ops/metrics.ts';
import type { TelemetrySettings } from '../../common/telemetry/settings.ts';
import { Telemetry } from '../../common/telemetry/telemetry.ts';
import type { FolderTraffic } from './rpc/folder-traffic.ts';

export interface ServerTelemetryOptions {
  readonly settings: TelemetrySettings;
  readonly version: string;
  readonly registry: MetricsRegistry;
  readonly traffics: Iterable<FolderTraffic>;
  readonly logger: Logger;
}

/** @returns a function that sends what waits, and ends it */
export function startServerTelemetry({ traffics, ...options }: ServerTelemetryOptions): () => Promise<void> {
  const telemetry = new Telemetry({ ...options, serviceName: 'sync-server' });
  const ends = [...traffics].map((traffic) =>
    traffic.onAnswered(({ folder, batchId, revision, durationMs, changes, problems }) => {
      telemetry.batch({
        batchId,
        side: 'receiver',
        durationMs,
        attributes: {
          'lockstep.folder': folder,
          'lockstep.revision': revision,
          'lockstep.changes': changes.length,
          'lockstep.problems': problems,
        },
        failure: problems === 0 ? undefined : `${problems} changes were not applied`,
      });
    }, 'counts'),
  );
  return async () => {
    for (const end of ends) end();
    await telemetry.close();
  };
}
