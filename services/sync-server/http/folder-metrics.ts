/**
 * Metrics about folders, read when somebody asks. docs/metrics.md says what each of them means.
 */
import type { MetricsRegistry, Sample } from '../../../common/ops/metrics.ts';
import type { ReplicaInfo } from '../replica/replica.ts';
import type { ServedFolder } from '../rpc/sync-context.ts';

export interface FileSystemRoom {
  readonly freeBytes: number;
  readonly freeInodes: number | undefined;
}

export interface FolderMetricsOptions {
  readonly folders: () => Iterable<ServedFolder>;
  /** What the file system of a folder's replica has left; undefined when it does not say. */
  readonly room: (folder: string) => FileSystemRoom | undefined;
}

type Value = (served: ServedFolder, info: ReplicaInfo) => number | undefined;

export function registerFolderMetrics(registry: MetricsRegistry, { folders, room }: FolderMetricsOptions): void {
  const samplesOf = (valueOf: Value) => (): readonly Sample[] =>
    [...folders()].flatMap((served) => {
      const { replica } = served;
      const value = valueOf(served, replica.info());
      return value === undefined ? [] : [{ labels: { folder: replica.folder }, value }];
    });
  const gauge = (name: string, help: string, valueOf: Value) => registry.gauge(name, help, samplesOf(valueOf));
  const total = (name: string, help: string, valueOf: Value) => registry.total(name, help, samplesOf(valueOf));

  // A revision as a number is exact up to 2^53 commits, which is enough for a graph.
  gauge('lockstep_head_revision', 'Newest revision', (_, info) => Number(info.headRevision));
  gauge('lockstep_durable_revision', 'Newest durable revision', (_, info) => Number(info.durableRevision));
  gauge('lockstep_entries', 'Entries in the folder', (_, info) => info.entries);
  gauge('lockstep_content_bytes', 'Sum of the sizes of all files', (_, info) => info.contentBytes);
  gauge('lockstep_folder_ready', '1 when the folder is ready, 0 when it is degraded or recovering', (_, info) =>
    info.state === 'ready' ? 1 : 0,
  );
  gauge('lockstep_lease_held', '1 while a writer is connected', ({ leases }) => (leases.holder?.isConnected ? 1 : 0));
  gauge(
    'lockstep_sync_lag_seconds',
    'For how long the oldest batch that is not answered has been waiting',
    ({ traffic }) => traffic.lagMs / 1000,
  );
  gauge('lockstep_queue_bytes', 'Bytes of batches that are not answered', ({ traffic }) => traffic.queuedBytes);
  gauge(
    'lockstep_problems',
    'Entries that were refused and not brought since, at most 100',
    ({ traffic }) => traffic.problems.length,
  );

  total(
    'lockstep_owner_refusals_total',
    'How often an entry was left to another owner, because the system does not permit the one asked for',
    (_, { ownerRefusals }) => ownerRefusals,
  );

  total('lockstep_wire_bytes_total', 'Bytes of batches and uploads as they came', ({ traffic }) => {
    return traffic.totals.wireBytes;
  });
  total(
    'lockstep_raw_bytes_total',
    'What those bytes stand for without compression, deltas and known contents',
    ({ traffic }) => traffic.totals.rawBytes,
  );
  total('lockstep_saved_bytes_total', 'Bytes that did not have to be sent', ({ traffic }) => {
    return Math.max(0, traffic.totals.rawBytes - traffic.totals.wireBytes);
  });

  gauge('lockstep_log_bytes', 'What a recovery would read', (_, { log }) => log?.sizeBytes);
  total('lockstep_checkpoints_total', 'Checkpoints since the start', (_, { log }) => log?.checkpoints.count);
  gauge('lockstep_checkpoint_seconds', 'How long the last checkpoint took', (_, { log }) => {
    return log === undefined ? undefined : log.checkpoints.lastMs / 1000;
  });
  gauge(
    'lockstep_sync_in_doubt',
    "1 from a failed sync of the replica's file system until what it was for is on the disk",
    (_, { log }) => (log === undefined ? undefined : Number(log.isSyncInDoubt)),
  );
  total('lockstep_rewritten_files_total', 'Files written anew because a sync failed', (_, { log }) => {
    return log?.rewrittenFiles;
  });
  gauge('lockstep_free_bytes', 'What the file system has left', ({ replica }) => room(replica.folder)?.freeBytes);
  gauge('lockstep_free_inodes', 'Files that can still be created', ({ replica }) => room(replica.folder)?.freeInodes);

  total('lockstep_scrub_passes_total', 'Readings of all contents since the start', (_, { scrub }) => scrub?.passes);
  total('lockstep_scrub_bytes_total', 'Bytes of contents read again since the start', (_, { scrub }) => {
    return scrub?.contentBytes;
  });
  total('lockstep_scrub_mismatches_total', 'Entries found wrong by that', (_, { scrub }) => scrub?.mismatches);
  gauge('lockstep_scrub_progress_ratio', 'Part of the contents that the running pass has read', (_, info) => {
    const { scrub, contentBytes } = info;
    if (scrub === undefined) return undefined;
    return Math.min(1, (scrub.reading?.contentBytes ?? 0) / Math.max(1, contentBytes));
  });
  gauge('lockstep_verifications', 'Verifications that run', ({ traffic }) => {
    return traffic.verifications.filter(({ endedAtMs }) => endedAtMs === undefined).length;
  });
}
