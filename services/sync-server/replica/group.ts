/**
 * Batches that are made durable together, on their way through the applier. Data only.
 */
import type { LockstepError } from '../../../common/ops/errors.ts';
import type { DecodedBatch } from './change.ts';
import type { Operation } from './operation.ts';
import type { AppliedBatch, AppliedProblem, FeedChange, IncomingBatch } from './replica.ts';

/** What became of one batch of a group. */
export type GroupResult =
  | { readonly outcome: 'applied'; readonly answer: AppliedBatch }
  | { readonly outcome: 'refused'; readonly error: LockstepError };

/** A batch with at least one accepted change. */
export interface AcceptedBatch {
  readonly incoming: IncomingBatch;
  readonly decoded: DecodedBatch;
  readonly revision: bigint;
  readonly timeNs: bigint;
  readonly operations: readonly Operation[];
  /** Refused changes, then those that the disk refused. */
  readonly problems: AppliedProblem[];
  readonly feed: FeedChange[];
}

/** A batch of a group, in order. */
export type PlannedBatch =
  | { readonly kind: 'accepted'; readonly batch: AcceptedBatch }
  | { readonly kind: 'answered'; readonly result: GroupResult };
