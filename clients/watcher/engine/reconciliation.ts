/**
 * Where the server stands, and what to compare to learn it: at the beginning of a session, and when the server
 * says that its replica drifted. While a comparison runs, nothing is sent.
 */
import type { Digest } from '../../../common/content/digest.ts';
import { ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { Position, SyncedIndex } from '../index/synced-index.ts';
import type { CompareAnswer, SessionFacts } from './messages.ts';
import { TreeComparison } from './tree-comparison.ts';

export interface ReconciliationEffects {
  readonly ask: (path: TreePath, treeDigest: Digest) => void;
  /** The index learned something about this directory: hold it against the disk. */
  readonly changed: (directory: TreePath) => void;
  readonly compared: (differences: number) => void;
  /** Which names share a file on the server is not known any more: look at everything. */
  readonly linksForgotten: () => void;
}

export class Reconciliation {
  readonly #effects: ReconciliationEffects;
  readonly #driftedIn = new Set<TreePath>();
  #running: TreeComparison | undefined;
  /** Where the server stands while the index does not know all of it. */
  #head: Position | undefined;

  constructor(effects: ReconciliationEffects) {
    this.#effects = effects;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Directories wait to be compared. */
  get isWanted(): boolean {
    return this.#driftedIn.size > 0;
  }

  /** Returns true when the index knows all that the server has; else a comparison begins. */
  beginSession(index: SyncedIndex, session: SessionFacts): boolean {
    const { position } = index;
    const head = { epoch: session.epoch, revision: session.headRevision, batchId: Buffer.from(session.headBatchId) };
    const isKnown =
      position.epoch === head.epoch && position.revision === head.revision && position.batchId.equals(head.batchId);
    // Equal trees say nothing of links.
    if (!isKnown && index.forgetLinks(ROOT)) this.#effects.linksForgotten();
    // Nor of the root's own permission bits and time, which a watcher that knows nothing sends anyway.
    const isNew = position.epoch === '';
    if (isKnown || (isNew && index.tree.treeDigest(ROOT).equals(session.rootTreeDigest))) {
      index.tree.transaction(() => index.setPosition(head));
      return true;
    }
    this.#head = head;
    this.#begin(index, [ROOT]);
    return false;
  }

  /** The server says that its replica was changed behind its back, below this directory. */
  wantDrifted(directory: TreePath): void {
    this.#driftedIn.add(directory);
  }

  beginDrifted(index: SyncedIndex): void {
    const directories = [...this.#driftedIn];
    this.#driftedIn.clear();
    for (const directory of directories) if (index.forgetLinks(directory)) this.#effects.changed(directory);
    this.#head ??= index.position;
    this.#begin(index, directories);
  }

  /**
   * The server has reached this revision. The index's position follows at once, but not over what it still has to learn: a
   * break before that must lead to a comparison. Call it inside the transaction of the updates.
   */
  reached(index: SyncedIndex, position: Position): void {
    const known = this.#head ?? index.position;
    if (position.revision <= known.revision) return;
    if (this.isRunning || this.isWanted) this.#head = position;
    else index.setPosition(position);
  }

  /** @throws what TreeComparison throws */
  take(index: SyncedIndex, answer: CompareAnswer): void {
    const running = this.#running;
    if (running === undefined) return;
    running.take(answer);
    if (!running.isDone) return;
    this.#running = undefined;
    const head = this.#head;
    if (!this.isWanted && head !== undefined) {
      index.tree.transaction(() => index.setPosition(head));
      this.#head = undefined;
    }
    this.#effects.compared(running.differences);
  }

  endSession(): void {
    this.#running = undefined;
    this.#head = undefined;
    this.#driftedIn.clear();
  }

  #begin(index: SyncedIndex, directories: readonly TreePath[]): void {
    const tree = new TreeComparison(index.tree, this.#effects);
    this.#running = tree;
    for (const directory of directories) tree.begin(directory);
  }
}
