/**
 * How often the tree, or a part of it, was looked through, and why: what an operator looks at when a watcher is busy without
 * changes. Pure.
 */
import type { RescanReason } from '../observe/hints.ts';

/** Why a directory was looked through without the whole tree. */
export type PartReason =
  /** It is new under its path, and so is all below. */
  | 'new-directory'
  /** It was renamed, with all below. */
  | 'renamed-directory'
  /** Another directory stands in its place, or it was unwatched for a while. */
  | 'replaced-directory'
  /** More of its names changed at once than are looked at one by one. */
  | 'many-names'
  /** Its `.syncignore` says something else. */
  | 'ignore-rules'
  /** It could not be listed, and is tried again. */
  | 'unreadable'
  /** The server turned out to have something else there. */
  | 'compared';

/** So many times since the start. */
export interface RescanCount {
  readonly scope: 'whole' | 'part';
  readonly reason: RescanReason | PartReason;
  readonly count: number;
}

export class Rescans {
  #counts: readonly RescanCount[] = [];

  /** Those that happened, in the order of their first time; the same array while nothing was added. */
  get counts(): readonly RescanCount[] {
    return this.#counts;
  }

  whole(reason: RescanReason): void {
    this.#add('whole', reason);
  }

  part(reason: PartReason): void {
    this.#add('part', reason);
  }

  #add(scope: RescanCount['scope'], reason: RescanCount['reason']): void {
    const isIt = (one: RescanCount) => one.scope === scope && one.reason === reason;
    this.#counts = this.#counts.some(isIt)
      ? this.#counts.map((one) => (isIt(one) ? { ...one, count: one.count + 1 } : one))
      : [...this.#counts, { scope, reason, count: 1 }];
  }
}
