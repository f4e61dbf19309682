/**
 * Gauges about folders and the process, read when somebody asks.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { MetricsRegistry } from '../../../common/ops/metrics.ts';
import type { ScrubCounts } from '../replica/replica.ts';
import type { ServedFolder } from '../rpc/sync-context.ts';

/** A revision as a number: exact up to 2^53 commits, which is enough for a graph. */
export function registerFolderMetrics(registry: MetricsRegistry, folders: () => Iterable<ServedFolder>): void {
  const gauge = (name: string, help: string, valueOf: (folder: ServedFolder) => number) => {
    registry.gauge(name, help, () =>
      [...folders()].map((folder) => ({ labels: { folder: folder.replica.folder }, value: valueOf(folder) })),
    );
  };
  gauge('lockstep_head_revision', 'Newest revision', ({ replica }) => Number(replica.info().headRevision));
  gauge('lockstep_durable_revision', 'Newest durable revision', ({ replica }) =>
    Number(replica.info().durableRevision),
  );
  gauge('lockstep_entries', 'Entries in the folder', ({ replica }) => replica.info().entries);
  gauge('lockstep_content_bytes', 'Sum of the sizes of all files', ({ replica }) => replica.info().contentBytes);
  gauge('lockstep_folder_ready', '1 when the folder is ready, 0 when it is degraded or recovering', ({ replica }) =>
    replica.info().state === 'ready' ? 1 : 0,
  );
  const scrub = (name: string, help: string, valueOf: (counts: ScrubCounts) => number) => {
    registry.gauge(name, help, () =>
      [...folders()].flatMap(({ replica }) => {
        const counts = replica.info().scrub;
        return counts === undefined ? [] : [{ labels: { folder: replica.folder }, value: valueOf(counts) }];
      }),
    );
  };
  scrub('lockstep_scrub_passes', 'Readings of all contents since the start', ({ passes }) => passes);
  scrub('lockstep_scrub_bytes', 'Bytes of contents read again since the start', ({ contentBytes }) => contentBytes);
  scrub('lockstep_scrub_mismatches', 'Entries found wrong by that since the start', ({ mismatches }) => mismatches);
  gauge('lockstep_lease_held', '1 while a writer is connected', ({ leases }) => (leases.holder?.isConnected ? 1 : 0));
}

/** @returns a function that stops measuring */
export function registerProcessMetrics(registry: MetricsRegistry): () => void {
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  registry.gauge('lockstep_event_loop_delay_seconds', 'Event loop delay since the last reading, by quantile', () => {
    const samples = [50, 99, 100].map((percent) => ({
      labels: { quantile: String(percent / 100) },
      value: delay.count === 0 ? 0 : delay.percentile(percent) / 1e9,
    }));
    delay.reset();
    return samples;
  });
  registry.gauge('process_resident_memory_bytes', 'Resident memory', () => [
    { labels: {}, value: process.memoryUsage.rss() },
  ]);
  registry.gauge('process_start_time_seconds', 'Start of the process, since 1970', () => [
    { labels: {}, value: Math.round(Date.now() / 1000 - process.uptime()) },
  ]);
  return () => delay.disable();
}
