/**
 * One log line, and one count, for each change of a folder, whoever made it. Reads the folder's change feed like any
 * other watcher of it: batches are not decoded here, and a log that is slow never holds the writer back.
 */
import { describeError, LockstepError } from '../../../common/ops/errors.ts';
import { type ChangeLogFields, type Logger, logChange } from '../../../common/ops/logger.ts';
import type { Counter } from '../../../common/ops/metrics.ts';
import { displayPath } from '../../../common/tree/tree-path.ts';
import type { FeedChange, Replica } from '../replica/replica.ts';

/** Answers that may be ahead of the feed. */
const MAX_REMEMBERED = 4096;

export class ChangeLog {
  readonly #replica: Replica;
  readonly #logger: Logger;
  readonly #changes: Counter;
  readonly #durationsMs = new Map<bigint, number>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(replica: Replica, logger: Logger, changes: Counter) {
    this.#replica = replica;
    this.#logger = logger;
    this.#changes = changes;
    this.#running = this.#run();
  }

  /** How long a batch took from its arrival to its answer; shown beside its changes. */
  answered(revision: bigint, durationMs: number): void {
    this.#durationsMs.set(revision, durationMs);
    if (this.#durationsMs.size <= MAX_REMEMBERED) return;
    const [oldest] = this.#durationsMs.keys();
    if (oldest !== undefined) this.#durationsMs.delete(oldest);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#follow();
        return;
      } catch (error) {
        if (signal.aborted) return;
        this.#logger.warn({ reason: describeError(error) }, 'some changes are not in this log');
        // Behind what the feed keeps: go on with what happens from now. Anything else will not get better.
        if (!(error instanceof LockstepError) || error.reason !== 'COMPACTED') return;
      }
    }
  }

  async #follow(): Promise<void> {
    for await (const { revision, changes } of this.#replica.watchChanges(undefined, this.#stop.signal)) {
      const ms = this.#durationsMs.get(revision);
      this.#durationsMs.delete(revision);
      for (const change of changes) {
        this.#changes.add(1, { folder: this.#replica.folder, operation: change.operation });
        logChange(this.#logger, { ...fieldsOf(change), revision, ms });
      }
    }
  }
}

function fieldsOf(change: FeedChange): ChangeLogFields {
  switch (change.operation) {
    case 'put': {
      const { entry } = change;
      const path = displayPath(entry.path);
      if (entry.kind === 'file') return { op: 'put', path, bytes: entry.sizeBytes };
      return { op: entry.kind === 'directory' ? 'mkdir' : 'symlink', path };
    }
    case 'metadata':
      return { op: 'metadata', path: displayPath(change.entry.path) };
    case 'move':
      return { op: 'move', path: `${displayPath(change.from)} -> ${displayPath(change.entry.path)}` };
    case 'delete':
    case 'drift':
      return { op: change.operation, path: displayPath(change.path) };
  }
}
