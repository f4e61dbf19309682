/**
 * Directories that are still to be looked through, and the one that is being looked through. Depth first, so that
 * what waits stays as small as the tree is deep.
 */
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { DirectoryScan } from '../observe/scanner.ts';

interface Waiting {
  readonly path: TreePath;
  /** When what led here was seen, monotonic. */
  seenMs: number;
  /** Look through what is below, too. */
  readonly recursive: boolean;
}

export interface Open extends Waiting {
  readonly scan: DirectoryScan;
}

export class ScanQueue {
  readonly #waiting: Waiting[] = [];
  /** What waits, by path: the same directory waits once for each scope, with the time of what led there first. */
  readonly #byPath = new Map<TreePath, Waiting>();
  #open: Open | undefined;
  #entries = 0;

  get isEmpty(): boolean {
    return this.#open === undefined && this.#waiting.length === 0;
  }

  get oldestSeenMs(): number | undefined {
    let oldest = this.#open?.seenMs;
    for (const { seenMs } of this.#waiting) oldest = Math.min(oldest ?? seenMs, seenMs);
    return oldest;
  }

  /** Entries of the directories opened so far. */
  get entries(): number {
    return this.#entries;
  }

  get open(): Open | undefined {
    return this.#open;
  }

  /** The one pushed last is looked through first. */
  push(path: TreePath, seenMs: number, recursive: boolean): void {
    const known = this.#byPath.get(path);
    const waiting = { path, seenMs: Math.min(seenMs, known?.seenMs ?? seenMs), recursive };
    if (known !== undefined && (known.recursive || !recursive)) {
      // Somebody may wait for what was seen earlier than what led here first.
      known.seenMs = waiting.seenMs;
      return;
    }
    this.#byPath.set(path, waiting);
    this.#waiting.push(waiting);
  }

  /** Directories of one listing, in byte order: they will be looked through in that order. */
  pushAll(paths: readonly TreePath[], seenMs: number): void {
    for (let i = paths.length - 1; i >= 0; i--) {
      const path = paths[i];
      if (path !== undefined) this.push(path, seenMs, true);
    }
  }

  takeNext(): Waiting | undefined {
    const next = this.#waiting.pop();
    if (next !== undefined && this.#byPath.get(next.path) === next) this.#byPath.delete(next.path);
    return next;
  }

  begin(waiting: Waiting, scan: DirectoryScan): Open {
    this.#entries += scan.entryCount;
    this.#open = { ...waiting, scan };
    return this.#open;
  }

  endOpen(): void {
    this.#open = undefined;
  }

  /** The open one begins anew later: what it was compared with has changed. */
  restartOpen(): void {
    const open = this.#open;
    if (open === undefined) return;
    this.#open = undefined;
    this.push(open.path, open.seenMs, open.recursive);
  }

  clear(): void {
    this.#waiting.length = 0;
    this.#byPath.clear();
    this.#open = undefined;
    this.#entries = 0;
  }
}
