/**
 * Following the change feed: pulled from the applier as fast as the reader takes it, so that a slow reader costs no
 * memory; one that is slower than the feed is long gets COMPACTED (E112).
 */
import { untilAborted } from '../../../common/ops/async.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { ROOT } from '../../../common/tree/tree-path.ts';
import type { ApplierApi } from './applier-api.ts';
import type { FeedPosition, ReplicaInfo, RevisionChanges } from './replica.ts';

export interface FeedHead {
  info(): ReplicaInfo;
  /** Resolves at the next change of `info`. */
  changed(): Promise<void>;
  failure(): LockstepError | undefined;
}

/** Ends when the signal aborts. @throws COMPACTED */
export async function* watchChanges(
  applier: ApplierApi,
  head: FeedHead,
  from: FeedPosition | undefined,
  signal: AbortSignal,
): AsyncGenerator<RevisionChanges, void, void> {
  // Answered once the replica is ready.
  await applier.getEntry(ROOT);
  const { epoch, headRevision } = head.info();
  if (from !== undefined && from.epoch !== epoch) throw compacted('the epoch is another');
  let revision = from?.revision ?? headRevision;
  if (revision > headRevision) throw compacted(`the newest revision is ${headRevision}`);
  yield { epoch, revision, timeNs: 0n, changes: [] };
  while (!signal.aborted) {
    const changed = head.changed();
    const failure = head.failure();
    if (failure !== undefined) throw failure;
    if (head.info().epoch !== epoch) throw compacted('the epoch has changed');
    if (head.info().headRevision === revision) {
      await untilAborted(changed, signal).catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
      continue;
    }
    for (const item of await applier.readFeed(revision)) {
      if (signal.aborted) return;
      revision = item.revision;
      yield { epoch, ...item };
    }
  }
}

function compacted(why: string): LockstepError {
  return new LockstepError('COMPACTED', `the change feed does not reach back so far: ${why}; list again`);
}
