/**
 * Waiting for a state of something that another process does.
 */
import { setTimeout as sleep } from 'node:timers/promises';

export interface WaitOptions {
  readonly what: string;
  readonly deadlineMs: number;
  readonly intervalMs?: number;
  /** Throws when waiting has become pointless, for example because the process has ended. */
  readonly check?: () => void;
}

/** The first answer of `look` that is not undefined. */
export async function waitFor<T>(options: WaitOptions, look: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const end = performance.now() + options.deadlineMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    options.check?.();
    if (performance.now() > end) throw new Error(`waited ${options.deadlineMs / 1000} s in vain: ${options.what}`);
    await sleep(options.intervalMs ?? 5);
  }
}
