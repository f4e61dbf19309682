/**
 * What the RPCs count. Labels are folder names, which the operator chose, and fixed words; never anything of a peer.
 */
import { isReason } from '../../../common/ops/errors.ts';
import { type Counter, DURATION_BOUNDS, type Histogram, type MetricsRegistry } from '../../../common/ops/metrics.ts';
import type { AppliedProblem } from '../replica/replica.ts';

export interface ServerMetrics {
  readonly changes: Counter;
  readonly batches: Counter;
  readonly batchBytes: Counter;
  readonly batchDuration: Histogram;
  readonly problems: Counter;
  readonly refusedChanges: Counter;
  readonly uploadBytes: Counter;
  readonly uploads: Counter;
  readonly readBytes: Counter;
  readonly failedCalls: Counter;
}

/** The reason for a label: a fixed set of values, whatever the replica says. */
export function reasonLabel({ reason }: Pick<AppliedProblem, 'reason'>): string {
  return isReason(reason) ? reason : 'OTHER';
}

export function createServerMetrics(registry: MetricsRegistry): ServerMetrics {
  return {
    changes: registry.counter('lockstep_changes_total', 'Changes applied, by operation'),
    batches: registry.counter('lockstep_batches_total', 'Batches of changes applied, by folder'),
    batchBytes: registry.counter('lockstep_batch_bytes_total', 'Bytes of batches received, as they came'),
    batchDuration: registry.histogram(
      'lockstep_batch_duration_seconds',
      "From a batch's arrival to its answer",
      DURATION_BOUNDS,
    ),
    refusedChanges: registry.counter(
      'lockstep_refused_changes_total',
      'Changes that a guard or the disk refused, by reason',
    ),
    problems: registry.counter('lockstep_change_problems_total', 'Changes that were not applied, by kind'),
    uploadBytes: registry.counter('lockstep_upload_bytes_total', 'Bytes of literal data received by uploads'),
    uploads: registry.counter('lockstep_uploads_total', 'Contents that were uploaded completely'),
    readBytes: registry.counter('lockstep_read_bytes_total', 'Bytes of contents sent to readers'),
    failedCalls: registry.counter('lockstep_failed_calls_total', 'Calls that ended with an error, by RPC and reason'),
  };
}
