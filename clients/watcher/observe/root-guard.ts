/**
 * Is the watched root still the one it was? Deleting is dangerous: a root that vanished, was emptied or was replaced
 * never becomes deletes (E52, E53). `judgeRoot` is pure; RootGuard asks the disk, through SafeRoot.
 */
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { LockstepError } from '../../../common/ops/errors.ts';

/** Emptying a tree of so few entries is everyday work, and easily undone. */
const HANDFUL_OF_ENTRIES = 5;

export interface RootFacts {
  /** Entries that the index holds, the root not counted. */
  readonly indexEntries: number;
  /** Names that the root's listing gave; undefined while it was not listed. */
  readonly listedEntries: number | undefined;
  /** As RootGuard spells it; undefined when nothing is remembered. */
  readonly identityBefore: string | undefined;
  /** Undefined when there is no root. */
  readonly identityNow: string | undefined;
  /** Whether `identityBefore` was taken by this process, or remembered from an earlier run. */
  readonly sameRun: boolean;
}

export type RootJudgement =
  | 'fine'
  /** Nothing is there although the index is not empty: stop, and ask. */
  | 'suspicious-empty'
  /** Stop. */
  | 'missing'
  /** Another directory is there: stop. */
  | 'replaced'
  /** Other numbers after a remount or restart: nothing is wrong yet, and nothing remembered may be trusted. */
  | 'compare-fully';

export function judgeRoot(facts: RootFacts): RootJudgement {
  const { identityBefore, identityNow } = facts;
  if (identityNow === undefined) return 'missing';
  if (facts.sameRun && identityBefore !== undefined && identityBefore !== identityNow) return 'replaced';
  if (facts.listedEntries === 0 && facts.indexEntries > HANDFUL_OF_ENTRIES) return 'suspicious-empty';
  if (identityBefore === identityNow) return 'fine';
  return identityBefore === undefined && facts.indexEntries === 0 ? 'fine' : 'compare-fully';
}

/** Call `check` before and after each scan: what the scan found counts only if both passed. */
export class RootGuard {
  readonly #root: SafeRoot;
  /** To be remembered for the next run; opaque. */
  readonly identity: string;

  constructor(root: SafeRoot) {
    this.#root = root;
    this.identity = `directory:${root.identity.dev}:${root.identity.ino}`;
  }

  /** How the root that an earlier run remembered relates to this one. */
  judgeRemembered(remembered: string | undefined, indexEntries: number, listedEntries: number): RootJudgement {
    const identityNow = this.identity;
    return judgeRoot({ indexEntries, listedEntries, identityBefore: remembered, identityNow, sameRun: false });
  }

  /**
   * Stops the run unless the operator's path still leads to the same directory.
   * @throws LockstepError ROOT_MISSING or ROOT_REPLACED; an errno error when it cannot be told, which means stop, too.
   */
  check(): void {
    switch (this.#root.checkRoot()) {
      case 'same':
        return;
      case 'missing':
        throw new LockstepError('ROOT_MISSING', `${this.#root.path} is gone; nothing was deleted on the server`);
      case 'replaced':
        throw new LockstepError(
          'ROOT_REPLACED',
          `another directory stands at ${this.#root.path}; nothing was sent; start again if this is intended`,
        );
    }
  }

  /**
   * To be called with what the root's listing gave, before anything is concluded from it.
   * @throws LockstepError ROOT_REPLACED when nothing is left of a tree that was not empty.
   */
  checkListing(listedEntries: number, indexEntries: number): void {
    const { identity } = this;
    const facts = { indexEntries, listedEntries, identityBefore: identity, identityNow: identity, sameRun: true };
    if (judgeRoot(facts) !== 'suspicious-empty') return;
    throw new LockstepError(
      'ROOT_REPLACED',
      `${this.#root.path} is empty, and held ${indexEntries} entries before; nothing was deleted on the server; ` +
        'is the file system mounted?',
    );
  }
}
