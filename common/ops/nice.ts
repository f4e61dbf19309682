/**
 * `--nice`: how much a program gives way to others. On Linux disks follow it as well: a process without an I/O priority of its own
 * has the one that belongs to its niceness (ioprio_set(2)), where the disk's scheduler knows priorities.
 */
import { readdirSync } from 'node:fs';
import { setPriority } from 'node:os';
import { describeError, LockstepError } from './errors.ts';

/** -20 (first of all) to 19 (last). @throws LockstepError USAGE */
export function parseNice(text: string): number {
  const nice = /^[+-]?\d{1,2}$/.test(text) ? Number(text) : Number.NaN;
  if (nice >= -20 && nice <= 19) return nice;
  throw new LockstepError('USAGE', `"${text}" is no niceness; write a number from -20 to 19, for example 10`);
}

/** For all threads that there are; those to come inherit it. @throws LockstepError USAGE where it is not permitted */
export function beNice(nice: number): void {
  for (const thread of threads()) {
    try {
      setPriority(thread, nice);
    } catch (error) {
      const errno = systemErrorOf(error);
      // It has ended since it was listed.
      if (errno === 'ESRCH') continue;
      const remedy = 'only root may go below what the process was started with; give a higher number';
      throw new LockstepError('USAGE', `cannot set --nice ${nice}: ${errno}; ${remedy}`);
    }
  }
}

/** `os` wraps the system's error in one of its own. */
function systemErrorOf(error: unknown): string {
  const info = error instanceof Error && 'info' in error ? error.info : undefined;
  const isNamed = typeof info === 'object' && info !== null && 'code' in info && typeof info.code === 'string';
  return isNamed ? String(info.code) : describeError(error);
}

/** Priorities are those of single threads on Linux; elsewhere 0 is the whole process. The main thread is the first. */
export function threads(): readonly number[] {
  try {
    return readdirSync('/proc/self/task').map(Number);
  } catch {
    // There is no such directory on this system.
    return [0];
  }
}
