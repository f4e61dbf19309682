/**
 * Looks through the whole replica for what was changed behind the server's back, a slice at a time between batches (E94,
 * E97). The first pass after opening does so before anything is served; on a new index it fills it (E91).
 */
import { type TreePath, ROOT } from '../../../common/tree/tree-path.ts';
import { commitDrift, recordDrift } from './drift-record.ts';
import { assertRoot, type ReplicaCore } from './replica-core.ts';

export class DriftPass {
  readonly #core: ReplicaCore;
  readonly #steps: Generator<void, void, void>;
  readonly #isFilling: boolean;
  #corrected: TreePath[] = [];
  #isDone = false;

  constructor(core: ReplicaCore) {
    this.#core = core;
    this.#isFilling = !core.state.isComplete;
    this.#steps = core.reconciler.settleTree(ROOT, (path) => this.#corrected.push(path));
  }

  get isDone(): boolean {
    return this.#isDone;
  }

  /** Works for about `sliceMs`; returns the paths that were corrected. @throws LogAheadError, and what looking fails with */
  runSlice(sliceMs: number): readonly TreePath[] {
    const { index, root, state, log } = this.#core;
    assertRoot(this.#core);
    root.forgetAll();
    this.#corrected = [];
    index.begin();
    try {
      const endMs = performance.now() + sliceMs;
      do this.#isDone = this.#steps.next().done === true;
      while (!this.#isDone && performance.now() < endMs);
      const corrected = this.#isFilling ? [] : this.#corrected;
      if (corrected.length > 0) recordDrift(this.#core, corrected);
      if (this.#isFilling && this.#isDone) {
        state.setComplete();
        if (state.epoch === '') state.beginEpoch();
      }
      if (corrected.length > 0 || this.#isDone) state.saveHead();
      commitDrift(this.#core);
      return corrected;
    } catch (error) {
      this.#isDone = true;
      log.discard();
      index.rollback();
      state.reload();
      throw error;
    }
  }

  /** Gives up: closes what is open. */
  stop(): void {
    this.#isDone = true;
    this.#steps.return();
  }
}
