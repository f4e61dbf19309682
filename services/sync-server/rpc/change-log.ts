/**
 * One log line, and one count, for each change that was applied to a folder.
 */
import type { Counter } from '../../../common/ops/metrics.ts';
import { type ChangeLogFields, type Logger, logChange } from '../../../common/ops/logger.ts';
import { displayText } from '../../../common/tree/display-path.ts';
import { displayPath, fromWirePath } from '../../../common/tree/tree-path.ts';
import type { AppliedBatch, Replica } from '../replica/replica.ts';
import { appliedChanges, type ChangeOperationName, type ChangeSummary, type SummaryDetail } from './batch-summary.ts';
import { FolderTraffic } from './folder-traffic.ts';

export class ChangeLog {
  readonly #folder: string;
  readonly #logger: Logger;
  readonly #changes: Counter;
  readonly #traffic: FolderTraffic;
  /** A batch that is sent again is answered again, and not logged again. */
  #newestRevision: bigint;

  constructor(replica: Replica, logger: Logger, changes: Counter, traffic = new FolderTraffic(replica.folder)) {
    this.#folder = replica.folder;
    this.#newestRevision = replica.info().headRevision;
    // Looking for secrets costs three times as much as the line itself, and these fields cannot hold any.
    this.#logger = logger.child({}, { redact: [] });
    this.#changes = changes;
    this.#traffic = traffic;
  }

  /** What `applied` needs to know of a batch, as the log's level is now and as somebody looks. */
  get detail(): SummaryDetail {
    return this.#isLogged || this.#traffic.needsPaths ? 'all' : 'operations';
  }

  /** `changes` are the batch's, by position; `durationMs` from its arrival to its answer. */
  applied(changes: readonly ChangeSummary[], batch: AppliedBatch, durationMs: number): void {
    const { revision } = batch;
    this.#traffic.answered(changes, batch, durationMs);
    if (revision <= this.#newestRevision) return;
    this.#newestRevision = revision;
    const isLogged = this.#isLogged;
    const counts = new Map<ChangeOperationName, number>();
    for (const change of appliedChanges(changes, batch)) {
      counts.set(change.operation, (counts.get(change.operation) ?? 0) + 1);
      if (isLogged) logChange(this.#logger, { ...fieldsOf(change), revision, ms: Math.round(durationMs * 10) / 10 });
    }
    // Finding a counter by its labels costs more than all else here.
    for (const [operation, count] of counts) this.#changes.add(count, { folder: this.#folder, operation });
  }

  get #isLogged(): boolean {
    return this.#logger.isLevelEnabled('info');
  }
}

function fieldsOf({ operation, path, from, sizeBytes }: ChangeSummary): ChangeLogFields {
  if (from !== undefined) return { op: operation, path: `${shown(from)} -> ${shown(path)}` };
  return { op: operation, path: shown(path), bytes: sizeBytes };
}

function shown(wirePath: string): string {
  try {
    return displayPath(fromWirePath(wirePath));
  } catch {
    // The replica has accepted another path than the one found here: the peer has written a field twice.
    return displayText(wirePath);
  }
}
