/**
 * Deletions, which are dangerous: a name counts as deleted only when its directory was listed without an error below a root whose
 * identity was proved; what a scan misses is looked at once more when the scan is over; and a brake stops masses (E52, E54, E56).
 */
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import { isBelowAny, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import type { MassDeleteGuard } from '../observe/mass-delete-guard.ts';
import type { RootGuard } from '../observe/root-guard.ts';
import type { Scanner } from '../observe/scanner.ts';
import type { Difference } from '../plan/difference.ts';

/** Deletions that are planned at a time. */
const MAX_DOOMED = 20_000;
const NAMES_AT_A_TIME = 1024;

/** A rename is told of by two events, which may be read apart, on a busy machine by some 15 ms. */
export const RENAME_MS = 50;

/** What came back, or went with something else, is not asked for again. */
const FORGOTTEN_MS = 20 * RENAME_MS;

export interface DeletionsOptions {
  readonly guard: MassDeleteGuard;
  readonly rootGuard: RootGuard;
  readonly nowMs: () => number;
  /** So many of so many are held back until they are confirmed. */
  readonly onHeld: (count: number, entries: number) => void;
}

/** Names of a directory that may be missing. */
interface Part {
  readonly directory: TreePath;
  readonly isAsked: (path: TreePath) => boolean;
  /** It was begun before. */
  readonly isRest: boolean;
}

export class Deletions {
  readonly #options: DeletionsOptions;
  /** Directories in which the scan missed names of the index. */
  readonly #vanishedIn = new Set<TreePath>();
  /** The last that was planned of more than are planned at a time: the next ones of its directory follow, whatever became of these. */
  #plannedUpTo: TreePath | undefined;
  /** Directories that may have been renamed, and when they were first looked for in vain. */
  readonly #missedMs = new Map<TreePath, number>();
  /** They were counted, and wait for a person. */
  #isHeld = false;
  /** Entries that were let go and not planned yet, when they were too many at a time. */
  #admittedRest = 0;

  constructor(options: DeletionsOptions) {
    this.#options = options;
  }

  /** Something is to be counted, or deleted. What is held is not pending. */
  get hasPending(): boolean {
    return !this.#isNothingSuspected && !this.#isHeld;
  }

  get heldCount(): number {
    return this.#options.guard.heldCount;
  }

  /** What is held is more than these entries within a minute. */
  get limitEntries(): number {
    return this.#options.guard.limitEntries;
  }

  /** A person agrees to what is held. */
  confirm(): void {
    this.#options.guard.confirm();
    this.#isHeld = false;
  }

  /** The server has refused so many of those that were let go: they count when they are tried again, not twice. */
  refused(entries: number): void {
    this.#options.guard.notMade(entries);
  }

  /** Something else was deleted, or came back: what is held is to be counted anew. */
  recount(): void {
    this.#isHeld = false;
  }

  /** The scan missed something in this directory. It may have been renamed: that is known only when all was looked at. */
  suspect(directory: TreePath): void {
    this.#vanishedIn.add(directory);
    this.#isHeld = false;
  }

  /** A whole scan begins, and finds again what is missing. */
  forgetAll(): void {
    this.#vanishedIn.clear();
    this.#plannedUpTo = undefined;
    this.#admittedRest = 0;
    this.#isHeld = false;
  }

  /**
   * Whether the deletions among these may be sent at once. What may not is suspected, and counted together with all else.
   * @param isLookedThrough false while directories wait to be looked through: what is missing may have been renamed to there
   * @throws LockstepError ROOT_MISSING, ROOT_REPLACED
   */
  admits(differences: readonly Difference[], index: TreeIndex, isLookedThrough: boolean): boolean {
    const gone = differences.filter(({ now, before }) => now === undefined && before !== undefined);
    if (gone.length === 0) return true;
    const paths = new Set(gone.map(({ path }) => path));
    // What is below another one is counted with that.
    const uppermost = gone.filter(({ path }) => !isBelowAny(path, paths));
    const count = uppermost.reduce((sum, { path }) => sum + index.countSubtree(path), 0);
    if (isLookedThrough && this.#isNothingSuspected && this.#admit(count, index)) return true;
    for (const { path } of gone) this.suspect(parentOf(path));
    return false;
  }

  /**
   * Directories with something in them that have been missing for so short a time that their new names may be still to be heard of:
   * to delete them now would send all of it anew. They are to be looked for again in `RENAME_MS`. How old the hint is that led to
   * them says nothing: it may be of before the rename.
   */
  mayBeRenamed(differences: readonly Difference[], index: TreeIndex): readonly Difference[] {
    const nowMs = this.#options.nowMs();
    // The oldest come first.
    for (const [path, missedMs] of this.#missedMs) {
      if (nowMs - missedMs <= FORGOTTEN_MS) break;
      this.#missedMs.delete(path);
    }
    const found = new Set(differences.map(({ now }) => now?.identity.ino));
    return differences.filter(({ path, before, now }) => {
      const isLost = now === undefined && before?.kind === 'directory' && !found.has(before.identity?.ino);
      if (!isLost || index.countSubtree(path) <= 1) return false;
      const missedMs = this.#missedMs.get(path) ?? nowMs;
      this.#missedMs.set(path, missedMs);
      return nowMs - missedMs < RENAME_MS;
    });
  }

  /**
   * Looks once more where something was missing. Returns what still is, as far as it may be deleted; call again while
   * `hasPending`, once this is answered. What is refused does not come again by itself. @throws LockstepError ROOT_MISSING, ROOT_REPLACED
   */
  take(scanner: Scanner, index: TreeIndex): readonly Difference[] {
    const doomed: Difference[] = [];
    const begun: TreePath[] = [];
    let [count, going] = [0, 0];
    for (const { directory, isAsked, isRest } of this.#parts()) {
      if (doomed.length < MAX_DOOMED && !isRest) begun.push(directory);
      for (const difference of missingIn(directory, scanner)) {
        if (!isAsked(difference.path)) continue;
        const entries = index.countSubtree(difference.path);
        count += entries;
        if (doomed.length >= MAX_DOOMED) continue;
        doomed.push(difference);
        going += entries;
      }
    }
    const wasHeld = this.heldCount;
    const rest = this.#admittedRest;
    const isAdmitted = (rest > 0 && count <= rest) || this.#admit(Math.max(0, count - rest), index);
    this.#isHeld = !isAdmitted;
    if (!isAdmitted) {
      if (this.heldCount !== wasHeld) this.#options.onHeld(count, index.count());
      return [];
    }
    this.#admittedRest = count - going;
    this.#plannedUpTo = doomed[MAX_DOOMED - 1]?.path;
    for (const directory of begun) this.#vanishedIn.delete(directory);
    return doomed;
  }

  get #isNothingSuspected(): boolean {
    return this.#vanishedIn.size === 0 && this.#plannedUpTo === undefined;
  }

  /** What is left of a directory comes first; if that was suspected anew meanwhile, what comes before that in it has its turn with the others. */
  *#parts(): Generator<Part> {
    const last = this.#plannedUpTo;
    const begun = last === undefined ? undefined : parentOf(last);
    if (last !== undefined && begun !== undefined)
      yield { directory: begun, isAsked: (path) => path > last, isRest: true };
    for (const directory of this.#vanishedIn)
      yield { directory, isAsked: (path) => directory !== begun || last === undefined || path <= last, isRest: false };
  }

  #admit(count: number, index: TreeIndex): boolean {
    if (count > 0) this.#options.rootGuard.check();
    return this.#options.guard.admit(count, index.count(), this.#options.nowMs()) === 'go';
  }
}

function* missingIn(directory: TreePath, scanner: Scanner): Generator<Difference> {
  const scan = scanner.open(directory);
  while (scan !== undefined && !scan.done) {
    for (const difference of scan.next(NAMES_AT_A_TIME).differences)
      if (difference.now === undefined && difference.before !== undefined) yield difference;
  }
}
