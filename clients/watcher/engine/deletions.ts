/**
 * Deletions, which are dangerous: a name counts as deleted only when its directory was listed without an error below a root whose
 * identity was proved; what a scan misses is looked at once more when the scan is over; and a brake stops masses (E52, E54, E56).
 */
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { monotonicMs } from '../observe/hints.ts';
import type { MassDeleteGuard } from '../observe/mass-delete-guard.ts';
import type { RootGuard } from '../observe/root-guard.ts';
import type { Scanner } from '../observe/scanner.ts';
import type { Difference } from '../plan/difference.ts';

/** Deletions that are planned at a time. */
const MAX_DOOMED = 20_000;
const NAMES_AT_A_TIME = 1024;

export interface DeletionsOptions {
  readonly guard: MassDeleteGuard;
  readonly rootGuard: RootGuard;
  /** So many of so many are held back until they are confirmed. */
  readonly onHeld: (count: number, entries: number) => void;
}

export class Deletions {
  readonly #options: DeletionsOptions;
  /** Directories in which the scan missed names of the index. */
  readonly #vanishedIn = new Set<TreePath>();
  /** The rest of what was let go, when it was too much to be planned at a time. */
  #isAdmitted = false;

  constructor(options: DeletionsOptions) {
    this.#options = options;
  }

  get hasPending(): boolean {
    return this.#vanishedIn.size > 0;
  }

  get heldCount(): number {
    return this.#options.guard.heldCount;
  }

  /** Goes on with what is held. */
  confirm(): void {
    this.#options.guard.confirm();
  }

  /** The scan missed something in this directory. It may have been renamed: that is known only when all was looked at. */
  suspect(directory: TreePath): void {
    this.#vanishedIn.add(directory);
  }

  forgetAll(): void {
    this.#vanishedIn.clear();
    this.#isAdmitted = false;
  }

  /** Whether the deletions among these may be sent. @throws LockstepError ROOT_MISSING, ROOT_REPLACED */
  admits(differences: readonly Difference[], index: TreeIndex): boolean {
    let count = 0;
    for (const { path, now, before } of differences) {
      if (now === undefined && before !== undefined) count += index.countSubtree(path);
    }
    return this.#admit(count, index);
  }

  /**
   * Looks once more where something was missing. Returns what still is, as far as it may be deleted; call again while
   * `hasPending`, once this is acknowledged. @throws LockstepError ROOT_MISSING, ROOT_REPLACED
   */
  take(scanner: Scanner, index: TreeIndex): readonly Difference[] {
    const doomed: Difference[] = [];
    let count = 0;
    for (const directory of this.#vanishedIn) {
      const scan = scanner.open(directory);
      while (scan !== undefined && !scan.done) {
        for (const difference of scan.next(NAMES_AT_A_TIME).differences) {
          if (difference.now !== undefined || difference.before === undefined) continue;
          count += index.countSubtree(difference.path);
          if (doomed.length < MAX_DOOMED) doomed.push(difference);
        }
      }
    }
    const isAdmitted = this.#isAdmitted || this.#admit(count, index);
    this.#isAdmitted = isAdmitted && doomed.length === MAX_DOOMED;
    if (!this.#isAdmitted) this.#vanishedIn.clear();
    return isAdmitted ? doomed : [];
  }

  #admit(count: number, index: TreeIndex): boolean {
    if (count > 0) this.#options.rootGuard.check();
    if (this.#options.guard.admit(count, index.count(), monotonicMs()) === 'go') return true;
    this.#options.onHeld(count, index.count());
    return false;
  }
}
