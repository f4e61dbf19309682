/**
 * Changes that were sent and not yet acknowledged. What is acknowledged goes from here into the synced index; what is lost with
 * a session is looked at again. Bounded by the session's limit on unanswered bytes.
 */
import { parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { IndexUpdate } from '../index/synced-index.ts';
import type { AcknowledgedChange } from './messages.ts';

export interface SentChange {
  readonly operation: AcknowledgedChange['operation'];
  readonly path: TreePath;
  readonly from: TreePath | undefined;
  readonly contentBytes: number;
  readonly update: IndexUpdate;
}

export interface SentBatch {
  readonly batchId: Buffer;
  readonly changes: readonly SentChange[];
  readonly bytes: number;
  /** When the oldest of its changes was seen, monotonic. */
  readonly seenMs: number;
  /** It gives what is below some directory another past: nothing else may be planned until it is acknowledged. */
  readonly structural: boolean;
}

export class InFlight {
  readonly #batches = new Map<string, SentBatch>();
  readonly #paths = new Map<TreePath, number>();
  readonly #pathsIn = new Map<TreePath, Set<TreePath>>();
  readonly #leaving = new Map<TreePath, number>();
  readonly #touchedAgain = new Set<TreePath>();
  #bytes = 0;
  #changes = 0;
  #structural = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get changes(): number {
    return this.#changes;
  }

  get isEmpty(): boolean {
    return this.#batches.size === 0;
  }

  get hasStructural(): boolean {
    return this.#structural > 0;
  }

  /** Undefined when nothing is on its way. Batches are acknowledged in their order. */
  get oldestSeenMs(): number | undefined {
    for (const batch of this.#batches.values()) return batch.seenMs;
    return undefined;
  }

  add(batch: SentBatch): void {
    this.#batches.set(batch.batchId.toString('hex'), batch);
    this.#bytes += batch.bytes;
    this.#changes += batch.changes.length;
    if (batch.structural) this.#structural++;
    for (const path of leavingOf(batch)) this.#leaving.set(path, (this.#leaving.get(path) ?? 0) + 1);
    for (const path of pathsOf(batch)) {
      this.#paths.set(path, (this.#paths.get(path) ?? 0) + 1);
      if (path === ROOT) continue;
      const siblings = this.#pathsIn.get(parentOf(path));
      if (siblings === undefined) this.#pathsIn.set(parentOf(path), new Set([path]));
      else siblings.add(path);
    }
  }

  /**
   * True when a change of this path is on its way: then its past is not settled, and it must not be planned again yet. It
   * is remembered, and comes back from `settle`.
   */
  postpones(path: TreePath): boolean {
    if (!this.#paths.has(path)) return false;
    this.#touchedAgain.add(path);
    return true;
  }

  /** False while a change of this path is on its way, or one that takes away what is there together with a directory above. */
  isSettled(path: TreePath): boolean {
    if (this.#paths.has(path)) return false;
    if (this.#leaving.size === 0) return true;
    for (let at = path; at !== ROOT; at = parentOf(at)) if (this.#leaving.has(at)) return false;
    return true;
  }

  /** As `postpones`, for all paths in a directory. */
  postponeIn(directory: TreePath): void {
    for (const path of this.#pathsIn.get(directory) ?? []) this.#touchedAgain.add(path);
  }

  /** Takes an answered batch out. Undefined for one that is not known (any more). */
  settle(batchId: Uint8Array): { readonly batch: SentBatch; readonly lookAgain: readonly TreePath[] } | undefined {
    const key = Buffer.from(batchId).toString('hex');
    const batch = this.#batches.get(key);
    if (batch === undefined) return undefined;
    this.#batches.delete(key);
    this.#bytes -= batch.bytes;
    this.#changes -= batch.changes.length;
    if (batch.structural) this.#structural--;
    for (const path of leavingOf(batch)) {
      const count = (this.#leaving.get(path) ?? 1) - 1;
      if (count > 0) this.#leaving.set(path, count);
      else this.#leaving.delete(path);
    }
    const lookAgain: TreePath[] = [];
    for (const path of pathsOf(batch)) {
      const count = (this.#paths.get(path) ?? 1) - 1;
      if (count > 0) {
        this.#paths.set(path, count);
        continue;
      }
      this.#remove(path);
      if (this.#touchedAgain.delete(path)) lookAgain.push(path);
    }
    return { batch, lookAgain };
  }

  /** The session is gone. Returns the paths whose changes may or may not have arrived. */
  abandon(): TreePath[] {
    const paths = [...this.#paths.keys()];
    this.#batches.clear();
    this.#paths.clear();
    this.#pathsIn.clear();
    this.#leaving.clear();
    this.#touchedAgain.clear();
    this.#bytes = 0;
    this.#changes = 0;
    this.#structural = 0;
    return paths;
  }

  #remove(path: TreePath): void {
    this.#paths.delete(path);
    if (path === ROOT) return;
    const siblings = this.#pathsIn.get(parentOf(path));
    siblings?.delete(path);
    if (siblings?.size === 0) this.#pathsIn.delete(parentOf(path));
  }
}

/** Where there will be nothing, or something else. */
function* leavingOf(batch: SentBatch): Generator<TreePath> {
  for (const { operation, path, from } of batch.changes) {
    if (operation === 'delete') yield path;
    if (from !== undefined) yield from;
  }
}

function* pathsOf(batch: SentBatch): Generator<TreePath> {
  for (const { path, from } of batch.changes) {
    yield path;
    if (from !== undefined) yield from;
  }
}
