/**
 * Watched directories about which an event came since they were last looked at, and whether another directory may be
 * in their place now. That cannot be told from the disk alone: inode numbers are used again at once, and births have the
 * clock's granularity. Pure.
 */
import type { WatchNode } from './watch-tree.ts';

interface Counts {
  own: number;
  inParent: number;
}

export class DisturbedDirectories {
  readonly #counts = new Map<WatchNode, Counts>();
  /** They were not at their path when last looked at, and since when: their watch may be dead. */
  readonly #missing = new Map<WatchNode, number>();

  get isEmpty(): boolean {
    return this.#counts.size === 0;
  }

  /** One event, which came through the directory's own watch or through that of its parent. */
  note(node: WatchNode, isOwn: boolean): void {
    const counts = this.#counts.get(node) ?? { own: 0, inParent: 0 };
    if (isOwn) counts.own++;
    else counts.inParent++;
    this.#counts.set(node, counts);
  }

  /**
   * What to look at, once. Another mode or time gives one event on each side; an end gives two of its own, and with
   * the birth that follows, two in the parent.
   */
  take(): { readonly node: WatchNode; readonly maybeAnother: boolean }[] {
    const taken = Array.from(this.#counts, ([node, { own, inParent }]) => ({
      node,
      maybeAnother: own > 1 || inParent > 1 || this.#missing.has(node),
    }));
    this.#counts.clear();
    return taken;
  }

  setMissing(node: WatchNode, nowMs: number): void {
    if (!this.#missing.has(node)) this.#missing.set(node, nowMs);
  }

  get missingCount(): number {
    return this.#missing.size;
  }

  /** Those that have been missing since before `beforeMs`; they count as missing no more. */
  takeMissing(beforeMs: number): WatchNode[] {
    const taken = [...this.#missing].filter(([, sinceMs]) => sinceMs < beforeMs).map(([node]) => node);
    for (const node of taken) this.#missing.delete(node);
    return taken;
  }

  /** The node's watch is new. @returns whether it was missing */
  setPresent(node: WatchNode): boolean {
    return this.#missing.delete(node);
  }

  clear(): void {
    this.#counts.clear();
    this.#missing.clear();
  }
}
