/**
 * What goes through one folder: what waits, what was applied, what was refused, which verifications run. The RPCs tell
 * it, the HTTP port reads it. Nothing here has a timer; while nobody looks, a batch costs a few additions.
 */
import { displayPath, fromWirePath, type TreePath } from '../../../common/tree/tree-path.ts';
import type { AppliedBatch, VerifyCounts } from '../replica/replica.ts';
import { appliedChanges, type ChangeSummary } from './batch-summary.ts';
import { type FolderProblem, FolderProblems, isRefusal } from './folder-problems.ts';

/** A batch that was answered. */
export interface AnsweredBatch {
  readonly folder: string;
  readonly batchId: Uint8Array;
  readonly revision: bigint;
  /** Changes that were refused; what the protocol sorts out by itself is not counted. */
  readonly problems: number;
  /** From its arrival to its answer. */
  readonly durationMs: number;
  /** Those that were applied; without paths when nobody who wants them listened as the batch came in. */
  readonly changes: readonly ChangeSummary[];
}

/** A batch, or an uploaded content: its way over the network. */
export interface Carried {
  /** As it came, in bytes. */
  readonly wireBytes: number;
  /** What it stands for, in bytes: without compression, deltas, and contents that were known. */
  readonly rawBytes: number;
}

export interface Verification {
  readonly startedAtMs: number;
  /** Milliseconds since 1970; undefined while it runs. */
  readonly endedAtMs: number | undefined;
  readonly counts: Omit<VerifyCounts, 'revision'>;
}

export type BatchListener = (batch: AnsweredBatch) => void;

interface QueuedBatch {
  readonly sizeBytes: number;
  readonly arrivedAtMs: number;
}

const NO_COUNTS = { entries: 0, contentBytes: 0, mismatches: 0 };

export class FolderTraffic {
  readonly #folder: string;
  /** In the order of arrival. */
  readonly #queued = new Set<QueuedBatch>();
  readonly #listeners = new Set<BatchListener>();
  #pathListeners = 0;
  readonly #problems = new FolderProblems();
  readonly #running = new Set<RunningVerification>();
  #lastVerification: Verification | undefined;
  #queuedBytes = 0;
  #changes = 0;
  #wireBytes = 0;
  #rawBytes = 0;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Bytes of batches that were received and not answered. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** For how long the oldest batch that is not answered has been waiting; 0 for none. */
  get lagMs(): number {
    const [oldest] = this.#queued;
    return oldest === undefined ? 0 : performance.now() - oldest.arrivedAtMs;
  }

  /** Since the start. */
  get totals(): Carried & { readonly changes: number } {
    return { changes: this.#changes, wireBytes: this.#wireBytes, rawBytes: this.#rawBytes };
  }

  get problems(): readonly FolderProblem[] {
    return this.#problems.list();
  }

  /** Those that run, else the last one. */
  get verifications(): readonly Verification[] {
    const running = [...this.#running].map(({ state }) => state);
    return running.length > 0 || this.#lastVerification === undefined ? running : [this.#lastVerification];
  }

  /** Whether anybody wants to know which paths a batch is about. */
  get needsPaths(): boolean {
    return this.#pathListeners > 0 || this.#problems.count > 0;
  }

  /** @returns a function to call when it is answered, or never will be; once or more often */
  queued(sizeBytes: number): () => void {
    const batch = { sizeBytes, arrivedAtMs: performance.now() };
    this.#queued.add(batch);
    this.#queuedBytes += sizeBytes;
    return () => {
      if (this.#queued.delete(batch)) this.#queuedBytes -= sizeBytes;
    };
  }

  carried({ wireBytes, rawBytes }: Carried): void {
    this.#wireBytes += wireBytes;
    this.#rawBytes += rawBytes;
  }

  /** `changes` are the batch's, by position. */
  answered(changes: readonly ChangeSummary[], batch: AppliedBatch, durationMs: number): void {
    const applied = appliedChanges(changes, batch);
    this.#changes += applied.length;
    if (this.#problems.count > 0) this.#forgetSolved(applied);
    for (const problem of batch.problems) this.#problems.add(problem);
    if (this.#listeners.size === 0) return;
    const { batchId, revision } = batch;
    const event: AnsweredBatch = {
      folder: this.#folder,
      batchId,
      revision,
      problems: batch.problems.filter(isRefusal).length,
      durationMs,
      changes: applied,
    };
    for (const listener of this.#listeners) listener(event);
  }

  /** `needs` says whether the listener wants to know paths, which costs some microseconds a change. @returns a function that ends it */
  onAnswered(listener: BatchListener, needs: 'paths' | 'counts' = 'paths'): () => void {
    const paths = needs === 'paths' ? 1 : 0;
    this.#listeners.add(listener);
    this.#pathListeners += paths;
    return () => {
      if (this.#listeners.delete(listener)) this.#pathListeners -= paths;
    };
  }

  beginVerification(): RunningVerification {
    const running = new RunningVerification((state) => {
      if (this.#running.delete(running)) this.#lastVerification = state;
    });
    this.#running.add(running);
    return running;
  }

  #forgetSolved(applied: readonly ChangeSummary[]): void {
    for (const { path, from } of applied) {
      for (const wirePath of from === undefined ? [path] : [path, from]) {
        const treePath = pathOf(wirePath);
        if (treePath !== undefined) this.#problems.solved(treePath);
      }
    }
  }
}

export class RunningVerification {
  readonly #startedAtMs = Date.now();
  readonly #onEnd: (state: Verification) => void;
  #counts: Verification['counts'] = NO_COUNTS;

  constructor(onEnd: (state: Verification) => void) {
    this.#onEnd = onEnd;
  }

  get state(): Verification {
    return { startedAtMs: this.#startedAtMs, endedAtMs: undefined, counts: this.#counts };
  }

  reached({ entries, contentBytes, mismatches }: Verification['counts']): void {
    this.#counts = { entries, contentBytes, mismatches };
  }

  end(): void {
    this.#onEnd({ ...this.state, endedAtMs: Date.now() });
  }
}

/** What people are shown of a path that a peer wrote, which the replica has accepted. */
export function shownPath(wirePath: string): string | undefined {
  const path = pathOf(wirePath);
  return path === undefined ? undefined : displayPath(path);
}

function pathOf(wirePath: string): TreePath | undefined {
  if (wirePath === '') return undefined;
  try {
    return fromWirePath(wirePath);
  } catch {
    // The replica has accepted another path than the one found here: the peer has written a field twice.
    return undefined;
  }
}
