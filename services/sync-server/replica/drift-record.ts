/**
 * A revision that no batch made: what the index was corrected to, in log and feed.
 */
import { displayPath, type TreePath } from '../../../common/tree/tree-path.ts';
import { nowNs } from './disk-identity.ts';
import type { FeedChange } from './replica.ts';
import type { ReplicaCore } from './replica-core.ts';

/** Each is named in the log, up to so many at once. */
const MAX_WARNINGS = 100;

/** Gives corrections of the index a revision of their own. Inside a transaction; the caller writes the log. */
export function recordDrift(core: ReplicaCore, paths: readonly TreePath[]): bigint {
  const { state, log, feed, logger } = core;
  const revision = state.revision + 1n;
  const timeNs = nowNs();
  log.append({ type: 'drift', revision, timeNs, paths });
  state.setHead(revision, undefined);
  feed.append({ revision, timeNs, changes: paths.map((path): FeedChange => ({ operation: 'drift', path })) });
  for (const path of paths.slice(0, MAX_WARNINGS))
    logger.warn({ path: displayPath(path) }, "the replica was changed behind the server's back");
  if (paths.length > MAX_WARNINGS)
    logger.warn({ more: paths.length - MAX_WARNINGS }, 'more of the replica was changed');
  return revision;
}

/** The log has a record that the index does not have. Only recovery makes that good, as after a crash. */
export class LogAheadError extends Error {
  constructor(cause: unknown) {
    super('what the log has did not reach the index', { cause });
  }
}

/** Ends a transaction in which drift was recorded, or nothing. @throws LogAheadError; what the log throws when it has taken nothing */
export function commitDrift({ log, feed, index }: Pick<ReplicaCore, 'log' | 'feed' | 'index'>): void {
  log.write();
  try {
    feed.flush();
    index.commit();
  } catch (cause) {
    throw new LogAheadError(cause);
  }
}
