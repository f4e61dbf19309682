/**
 * Windows renames and removes nothing that a program has open, unless that program allows it. Virus scanners and indexers open what is
 * new for a moment, so it is tried a few times more; who keeps it open longer makes it a problem of that entry.
 */
import { blockFor } from '../ops/block.ts';
import { errnoOf } from '../ops/errors.ts';
import { SYSTEM } from './system.ts';

/** Together less than anybody notices, because nothing else is applied meanwhile. */
const WAITS_MS: readonly number[] = [1, 4, 16, 64];
const BUSY_ERRNOS: ReadonlySet<string | undefined> = new Set(['EBUSY', 'EPERM', 'EACCES']);

/** Does it, on Windows again and again for a short while when it is refused. @throws what the last try threw */
export function retryWhileBusy<T>(
  operation: () => T,
  system: NodeJS.Platform = SYSTEM,
  pause: (delayMs: number) => void = blockFor,
): T {
  for (const waitMs of system === 'win32' ? WAITS_MS : []) {
    try {
      return operation();
    } catch (error) {
      if (!BUSY_ERRNOS.has(errnoOf(error))) throw error;
    }
    pause(waitMs);
  }
  return operation();
}
