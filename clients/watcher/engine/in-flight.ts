/**
 * Changes that were sent and not yet acknowledged. What is acknowledged goes from here into the synced index; what is lost with
 * a session is looked at again. Bounded by the session's limit on unanswered bytes, and in number.
 */
import { isBelowAny, isInside, parentOf, rebase, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { IndexUpdate } from '../index/synced-index.ts';
import type { AcknowledgedChange } from './messages.ts';
import { PathsByDirectory } from './paths-by-directory.ts';

/**
 * Each takes about a kilobyte here, however little it is on the wire. A server has a third of a second's work with as many, more than
 * it takes an answer to come.
 */
const MAX_CHANGES = 8_192;

export interface SentChange {
  readonly operation: AcknowledgedChange['operation'];
  readonly path: TreePath;
  readonly from: TreePath | undefined;
  readonly contentBytes: number;
  readonly update: IndexUpdate;
  /** Of a hard link: another name of the file. */
  readonly existing?: TreePath;
  /** A file that has other names here, and was sent as one of its own. */
  readonly isShared?: boolean;
}

export interface SentBatch {
  readonly batchId: Buffer;
  readonly changes: readonly SentChange[];
  readonly bytes: number;
  /** What they stand for, without compression and deltas. */
  readonly rawBytes: number;
  /** When the oldest of its changes was seen, monotonic. */
  readonly seenMs: number;
  /** It gives what is below some directory another past: nothing else may be planned until it is acknowledged. */
  readonly structural: boolean;
}

/** A path to look at again, and when the oldest reason for that was seen. */
export interface Touched {
  readonly path: TreePath;
  readonly seenMs: number;
}

export class InFlight {
  readonly #batches = new Map<string, SentBatch>();
  readonly #paths = new Map<TreePath, number>();
  readonly #byDirectory = new PathsByDirectory();
  /** Inodes of the directories among them. */
  readonly #directories = new Map<TreePath, bigint>();
  /** Where there is no directory (any more) when the change is applied. */
  readonly #leaving = new Map<TreePath, number>();
  /** Paths to look at again, with the time of the oldest reason: once their own change is answered … */
  readonly #touchedAgain = new Map<TreePath, number>();
  /** … or once it is settled what is above them. */
  readonly #waitingBelow = new Map<TreePath, number>();
  #oldestTouchedMs = Number.POSITIVE_INFINITY;
  #bytes = 0;
  #changes = 0;
  #structural = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get changes(): number {
    return this.#changes;
  }

  /** Nothing more is to be sent until some of it is answered. */
  isFull(maxBytes: number): boolean {
    return this.#bytes >= maxBytes || this.#changes >= MAX_CHANGES;
  }

  get isEmpty(): boolean {
    return this.#batches.size === 0;
  }

  get hasStructural(): boolean {
    return this.#structural > 0;
  }

  /** Of what is on its way, and of what waits for it. Undefined when nothing is. Batches are acknowledged in their order. */
  get oldestSeenMs(): number | undefined {
    for (const batch of this.#batches.values()) return Math.min(batch.seenMs, this.#oldestTouchedMs);
    return undefined;
  }

  add(batch: SentBatch): void {
    this.#batches.set(batch.batchId.toString('hex'), batch);
    this.#bytes += batch.bytes;
    this.#changes += batch.changes.length;
    if (batch.structural) this.#structural++;
    for (const path of leavingOf(batch)) this.#leaving.set(path, (this.#leaving.get(path) ?? 0) + 1);
    for (const { update } of batch.changes) {
      if (update.type !== 'put' || update.entry.kind !== 'directory' || update.identity === undefined) continue;
      this.#directories.set(update.entry.path, update.identity.ino);
    }
    for (const path of pathsOf(batch)) {
      this.#paths.set(path, (this.#paths.get(path) ?? 0) + 1);
      this.#byDirectory.add(path);
    }
  }

  /**
   * True when a change of this path is on its way, or one that replaces a directory above it: then its past is not
   * settled, and it must not be planned again yet. It is remembered, and comes back from `settle`.
   */
  postpones(path: TreePath, seenMs: number): boolean {
    if (this.#paths.has(path)) this.#remember(this.#touchedAgain, path, seenMs);
    else if (this.#isLeaving(parentOf(path))) this.#remember(this.#waitingBelow, path, seenMs);
    else return false;
    return true;
  }

  /** As `postpones`, for all paths in a directory. */
  postponeIn(directory: TreePath, seenMs: number): void {
    for (const path of this.#byDirectory.in(directory)) this.#remember(this.#touchedAgain, path, seenMs);
  }

  /**
   * The nearest directory, from this one up, that is on its way and by now is another one on the disk: until that is settled,
   * what is below belongs to neither.
   * @param inodeAt the inode of the directory that the disk has at a path, if that can be known
   */
  replacedAbove(
    directory: TreePath,
    inodeAt: (path: TreePath) => bigint | undefined | 'unknown',
  ): TreePath | undefined {
    if (this.#directories.size === 0) return undefined;
    for (let at = directory; at !== ROOT; at = parentOf(at)) {
      const sent = this.#directories.get(at);
      const now = sent === undefined ? undefined : inodeAt(at);
      if (sent !== now && now !== 'unknown') return at;
    }
    return undefined;
  }

  /**
   * The directories in, or below, which the server will have what it has below these now, when all that is on its way is
   * applied: a rename takes them elsewhere, or an entry out of them.
   */
  futureOf(directories: readonly TreePath[]): ReadonlySet<TreePath> {
    const futures = new Set(directories);
    for (const { changes, structural } of this.#batches.values()) {
      for (const { update } of changes) {
        if (update.type !== 'move') continue;
        const { from, to } = update;
        const isTakenOut = isBelowAny(from, futures) && !isBelowAny(to, futures);
        if (structural) {
          for (const future of futures) if (isInside(future, from)) futures.add(rebase(future, from, to));
        }
        if (isTakenOut) futures.add(parentOf(to));
      }
    }
    return futures;
  }

  /** Whether the server will have at the path what the index has there. */
  isSettled(path: TreePath): boolean {
    return !this.#paths.has(path) && !this.#isLeaving(parentOf(path));
  }

  /** Takes an answered batch out, and what waited for it. Undefined for one that is not known (any more). */
  settle(batchId: Uint8Array): { readonly batch: SentBatch; readonly lookAgain: readonly Touched[] } | undefined {
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
    const lookAgain: Touched[] = [];
    for (const path of pathsOf(batch)) {
      const count = (this.#paths.get(path) ?? 1) - 1;
      if (count > 0) {
        this.#paths.set(path, count);
        continue;
      }
      this.#remove(path);
      const seenMs = this.#touchedAgain.get(path);
      if (seenMs !== undefined) lookAgain.push({ path, seenMs });
      this.#touchedAgain.delete(path);
    }
    // Those that have to wait still will be told so again.
    for (const [path, seenMs] of this.#waitingBelow) lookAgain.push({ path, seenMs });
    this.#waitingBelow.clear();
    if (this.#touchedAgain.size === 0) this.#oldestTouchedMs = Number.POSITIVE_INFINITY;
    return { batch, lookAgain };
  }

  /** The session is gone. Returns the paths whose changes may or may not have arrived. */
  abandon(): TreePath[] {
    const paths = [...this.#paths.keys(), ...this.#waitingBelow.keys()];
    this.#batches.clear();
    this.#paths.clear();
    this.#directories.clear();
    this.#byDirectory.clear();
    this.#leaving.clear();
    this.#touchedAgain.clear();
    this.#waitingBelow.clear();
    this.#oldestTouchedMs = Number.POSITIVE_INFINITY;
    this.#bytes = 0;
    this.#changes = 0;
    this.#structural = 0;
    return paths;
  }

  #isLeaving(directory: TreePath): boolean {
    if (this.#leaving.size === 0) return false;
    for (let at = directory; at !== ROOT; at = parentOf(at)) if (this.#leaving.has(at)) return true;
    return false;
  }

  #remember(paths: Map<TreePath, number>, path: TreePath, seenMs: number): void {
    paths.set(path, Math.min(seenMs, paths.get(path) ?? seenMs));
    this.#oldestTouchedMs = Math.min(seenMs, this.#oldestTouchedMs);
  }

  #remove(path: TreePath): void {
    this.#paths.delete(path);
    this.#directories.delete(path);
    this.#byDirectory.delete(path);
  }
}

function* leavingOf(batch: SentBatch): Generator<TreePath> {
  for (const { operation, path, from } of batch.changes) {
    if (operation === 'delete' || operation === 'put' || operation === 'link' || operation === 'symlink') yield path;
    if (from !== undefined) yield from;
  }
}

function* pathsOf(batch: SentBatch): Generator<TreePath> {
  for (const { path, from } of batch.changes) {
    yield path;
    if (from !== undefined) yield from;
  }
}
