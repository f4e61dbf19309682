/**
 * Reconciliation with the server: makes the synced index say what the server has, by asking for the directories
 * whose tree digests differ, from the root down. The disk is not looked at here; that is the scan's work, afterwards.
 */
import { CompareTreeResponse } from '../../../gen/lockstep/sync/v1/compare.ts';
import { fromWireEntry } from '../../../common/rpc/entry-codec.ts';
import { type Digest, digestFromBytes } from '../../../common/content/digest.ts';
import { LockstepError, type Reason } from '../../../common/ops/errors.ts';
import { type Entry, sameRecord } from '../../../common/tree/entry.ts';
import type { ChildRow, TreeIndex } from '../../../common/tree/tree-index.ts';
import { joinPath, nameOf, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { CompareAnswer } from './messages.ts';

/** Questions on their way at a time. */
const MAX_OUTSTANDING = 64;
const ROWS_PER_PAGE = 1000;

export interface ComparisonEffects {
  readonly ask: (path: TreePath, treeDigest: Digest) => void;
  /** The index learned something about the names of this directory: hold it against the disk. */
  readonly changed: (directory: TreePath) => void;
}

/** The question of one directory that was sent, and how far its answer was merged. */
interface Outstanding {
  readonly path: TreePath;
  lastName: string;
  /** The index's own children after `lastName`, a page of them. */
  readonly ours: OwnChildren;
}

/** Names of one directory of the index in order, paged; rows before the current one may be changed meanwhile. */
class OwnChildren {
  readonly #index: TreeIndex;
  readonly #directory: TreePath;
  #rows: readonly ChildRow[] = [];
  #next = 0;
  #after = '';
  #ended = false;

  constructor(index: TreeIndex, directory: TreePath) {
    this.#index = index;
    this.#directory = directory;
  }

  get current(): string | undefined {
    if (this.#next >= this.#rows.length && !this.#ended) {
      this.#rows = this.#index.childRows(this.#directory, { after: this.#after, limit: ROWS_PER_PAGE });
      this.#next = 0;
      this.#ended = this.#rows.length < ROWS_PER_PAGE;
    }
    return this.#rows[this.#next]?.name;
  }

  advance(): void {
    this.#after = this.current ?? this.#after;
    this.#next++;
  }
}

export class TreeComparison {
  readonly #index: TreeIndex;
  readonly #effects: ComparisonEffects;
  readonly #waiting: TreePath[] = [];
  readonly #outstanding: Outstanding[] = [];
  #differences = 0;

  constructor(index: TreeIndex, effects: ComparisonEffects) {
    this.#index = index;
    this.#effects = effects;
  }

  get isDone(): boolean {
    return this.#waiting.length === 0 && this.#outstanding.length === 0;
  }

  /** Index rows that were corrected so far. */
  get differences(): number {
    return this.#differences;
  }

  begin(directory: TreePath): void {
    this.#waiting.push(this.#nearestKnown(directory));
    this.#askMore();
  }

  /**
   * Takes in one answer, in a transaction of its own.
   * @throws LockstepError INVALID_ARGUMENT and others when the server answers what was not asked, or nonsense
   */
  take(answer: CompareAnswer): void {
    const asked = this.#outstanding[0];
    if (asked === undefined || asked.path !== answer.path) {
      throw new LockstepError('INVALID_ARGUMENT', 'the server answered a comparison that was not asked for');
    }
    if (answer.outcome === 'differs') this.#index.transaction(() => this.#merge(asked, answer));
    else if (answer.outcome === 'missing') this.#forget(asked.path);
    // Its own bits and time are in no digest.
    else if (asked.path === ROOT) this.#index.transaction(() => this.#mergeRoot(decoded(answer)));
    if (answer.last) this.#outstanding.shift();
    this.#askMore();
  }

  #askMore(): void {
    while (this.#outstanding.length < MAX_OUTSTANDING) {
      const path = this.#waiting.pop();
      if (path === undefined) return;
      if (path !== ROOT && this.#index.get(path)?.kind !== 'directory') continue;
      this.#outstanding.push({ path, lastName: '', ours: new OwnChildren(this.#index, path) });
      this.#effects.ask(path, this.#index.treeDigest(path));
    }
  }

  #merge(asked: Outstanding, answer: CompareAnswer): void {
    const response = decoded(answer);
    let changed = 0;
    for (const wire of response.children) {
      const { digest: treeDigest } = wire;
      const theirs = fromWireEntry(wire);
      const name = nameOf(theirs.path);
      if (parentOf(theirs.path) !== asked.path || name <= asked.lastName) {
        throw new LockstepError('INVALID_ARGUMENT', 'the server listed children out of order', { path: theirs.path });
      }
      changed += this.#removeUpTo(asked, name);
      asked.lastName = name;
      changed += this.#mergeEntry(theirs, treeDigest);
    }
    if (answer.last) {
      changed += this.#removeUpTo(asked, undefined);
      if (asked.path === ROOT) this.#mergeRoot(response);
    }
    this.#differences += changed;
    if (changed > 0) this.#effects.changed(asked.path);
  }

  #mergeRoot({ root }: CompareTreeResponse): void {
    if (root === undefined || this.#mergeEntry(fromWireEntry(root), undefined) === 0) return;
    this.#differences++;
    this.#effects.changed(ROOT);
  }

  /** Returns the number of rows corrected. */
  #mergeEntry(theirs: Entry, treeDigest: Uint8Array | undefined): number {
    const ours = this.#index.get(theirs.path);
    let corrected = 0;
    if (ours === undefined || !sameRecord(ours, theirs)) {
      this.#index.put(theirs, undefined);
      corrected = 1;
    }
    if (theirs.kind === 'directory' && theirs.path !== ROOT) {
      const digest = treeDigest === undefined ? undefined : digestFromBytes(treeDigest);
      if (digest === undefined || !digest.equals(this.#index.treeDigest(theirs.path))) this.#waiting.push(theirs.path);
    }
    return corrected;
  }

  /** Removes what only the index has before a name that the server has; without a name, all the rest. */
  #removeUpTo(asked: Outstanding, name: string | undefined): number {
    let removed = 0;
    for (let own = asked.ours.current; own !== undefined; own = asked.ours.current) {
      if (name !== undefined && own >= name) {
        if (own === name) asked.ours.advance();
        break;
      }
      asked.ours.advance();
      removed += this.#index.remove(joinPath(asked.path, own));
    }
    return removed;
  }

  /** The server has no such directory (any more): neither has the index, and its parent is to be looked at. */
  #forget(path: TreePath): void {
    if (path === ROOT) return;
    this.#differences += this.#index.remove(path);
    this.#effects.changed(parentOf(path));
  }

  #nearestKnown(directory: TreePath): TreePath {
    let known = directory;
    while (known !== ROOT && this.#index.get(known)?.kind !== 'directory') known = parentOf(known);
    return known;
  }
}

function decoded({ encoded }: CompareAnswer): CompareTreeResponse {
  try {
    return CompareTreeResponse.decode(encoded);
  } catch (cause) {
    throw new LockstepError('INVALID_ARGUMENT', 'the server sent a comparison that cannot be understood', { cause });
  }
}

/** A server alone can make `take` fail with these: by what it says, or by taking back in one answer what it said in another. */
const NONSENSE: ReadonlySet<Reason> = new Set([
  'INVALID_ARGUMENT',
  'INVALID_PATH',
  'INVALID_TIME',
  'LIMIT_EXCEEDED',
  'ENTRY_NOT_FOUND',
]);

/** Whether `take` failed because of the server, not of the index. */
export function isNonsense(error: unknown): error is LockstepError {
  return error instanceof LockstepError && NONSENSE.has(error.reason);
}
