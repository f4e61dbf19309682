/**
 * When to read a file that goes on changing (E42, E43), and one that was just emptied (E40). The first change is acted
 * on at once; only what changes again and again waits, a little longer each time. Pure: the clock is an argument.
 */
import type { TreePath } from '../../../common/tree/tree-path.ts';

export interface HotFilesOptions {
  /** Files that are remembered; the ones touched longest ago are forgotten first. Default 4,096. */
  readonly capacity?: number | undefined;
  /** The pause after a second change in quick succession. Default 20 ms. */
  readonly firstPauseMs?: number | undefined;
  /** The longest pause. Default 1,000 ms. */
  readonly maxPauseMs?: number | undefined;
  /** A file that was left alone for this long is a calm one again. Default 2,000 ms. */
  readonly calmAfterMs?: number | undefined;
  /** How long a file that was cut to 0 bytes may wait for its new content. Default 50 ms. */
  readonly emptiedHoldMs?: number | undefined;
}

interface Heat {
  lastActedMs: number;
  /** The pause that must follow `lastActedMs`. */
  pauseMs: number;
}

export class HotFiles {
  readonly #capacity: number;
  readonly #firstPauseMs: number;
  readonly #maxPauseMs: number;
  readonly #calmAfterMs: number;
  readonly #emptiedHoldMs: number;
  /** Least recently touched first. */
  readonly #heat = new Map<TreePath, Heat>();
  /** When each file that is held back was first seen empty. */
  readonly #emptied = new Map<TreePath, number>();

  constructor(options: HotFilesOptions = {}) {
    this.#capacity = options.capacity ?? 4096;
    this.#firstPauseMs = options.firstPauseMs ?? 20;
    this.#maxPauseMs = options.maxPauseMs ?? 1000;
    this.#calmAfterMs = options.calmAfterMs ?? 2000;
    this.#emptiedHoldMs = options.emptiedHoldMs ?? 50;
  }

  /** Milliseconds to wait before acting on a change of `path`; 0 for at once. Never more than the longest pause. */
  delayFor(path: TreePath, nowMs: number): number {
    const heat = this.#heat.size === 0 ? undefined : this.#heat.get(path);
    if (heat === undefined) return 0;
    return Math.max(0, heat.lastActedMs + heat.pauseMs - nowMs);
  }

  /** A change of `path` was acted on: it was read and sent, or the read failed because it changed meanwhile. */
  acted(path: TreePath, nowMs: number): void {
    const heat = this.#heat.get(path);
    this.#heat.delete(path);
    const pauseMs = heat === undefined || this.#isCalm(heat, nowMs) ? 0 : this.#longer(heat.pauseMs);
    remember(this.#heat, path, { lastActedMs: nowMs, pauseMs }, this.#capacity);
  }

  /**
   * Milliseconds to hold back a file whose content was there before and is 0 bytes now: most programs write at once
   * what follows. 0 once the time is over: then it is sent as it is, and what is written later follows.
   */
  emptiedDelayFor(path: TreePath, nowMs: number): number {
    const sinceMs = this.#emptied.get(path);
    if (sinceMs === undefined) {
      remember(this.#emptied, path, nowMs, this.#capacity);
      return this.#emptiedHoldMs;
    }
    const delayMs = Math.max(0, sinceMs + this.#emptiedHoldMs - nowMs);
    if (delayMs === 0) this.#emptied.delete(path);
    return delayMs;
  }

  /** The file has content again, or is gone: cutting it once more starts a new hold. */
  filled(path: TreePath): void {
    if (this.#emptied.size > 0) this.#emptied.delete(path);
  }

  /** Nothing is known of `path` any more. */
  forget(path: TreePath): void {
    this.#heat.delete(path);
    this.#emptied.delete(path);
  }

  #isCalm(heat: Heat, nowMs: number): boolean {
    return nowMs - heat.lastActedMs >= Math.max(this.#calmAfterMs, 2 * heat.pauseMs);
  }

  #longer(pauseMs: number): number {
    return Math.min(this.#maxPauseMs, Math.max(this.#firstPauseMs, 2 * pauseMs));
  }
}

function remember<V>(map: Map<TreePath, V>, path: TreePath, value: V, capacity: number): void {
  map.set(path, value);
  if (map.size <= capacity) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    break;
  }
}
