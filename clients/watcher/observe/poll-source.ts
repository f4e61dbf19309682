/**
 * The change source where a file system gives no events (E23): it only says "look again", now and then.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChangeEvents, ChangeSource } from './change-source.ts';

/** Many watchers of one file server must not scan in step (E58). */
const JITTER = 0.25;

export class PollSource implements ChangeSource {
  readonly kind = 'poll';
  readonly blindness = 'polling';
  readonly #events: ChangeEvents;
  readonly #intervalMs: number;
  readonly #ending = new AbortController();
  #polling: Promise<void> | undefined;

  /** @param intervalMs between two scans, moved by up to a quarter at random */
  constructor(events: ChangeEvents, intervalMs: number) {
    this.#events = events;
    this.#intervalMs = intervalMs;
  }

  async start(): Promise<void> {
    this.#polling = this.#poll();
  }

  watchDirectories(): void {
    // Every scan finds all directories anyway.
  }

  forgetDirectories(): void {
    // There is nothing to let go of.
  }

  async close(): Promise<void> {
    this.#ending.abort();
    await this.#polling;
  }

  async #poll(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      const delayMs = this.#intervalMs * (1 + JITTER * (2 * Math.random() - 1));
      try {
        await sleep(delayMs, undefined, { signal });
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
      this.#events.onOverflow({ reason: 'polling', detail: 'polling' });
    }
  }
}
