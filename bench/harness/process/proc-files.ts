/**
 * What Linux tells about a process in /proc, as numbers. Pure but for `readProc`.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ: the unit of times in /proc, 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface ProcessTimes {
  /** User and system time of the process and its threads. */
  readonly ownSeconds: number;
  /** The same of its ended children, those that it waited for. */
  readonly reapedSeconds: number;
}

/** Decodes /proc/PID/stat. The second field is the program's name and may hold spaces and parentheses. */
export function parseStat(text: string): ProcessTimes {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  // Field 14 of proc(5) is utime; the first two fields are cut off here, and fields count from 1.
  const ticks = (field: number): number => Number(fields[field - 3] ?? 0);
  return {
    ownSeconds: (ticks(14) + ticks(15)) / TICKS_PER_SECOND,
    reapedSeconds: (ticks(16) + ticks(17)) / TICKS_PER_SECOND,
  };
}

export interface ProcessMemory {
  readonly residentBytes: number;
  /** The high-water mark of the resident memory. */
  readonly peakBytes: number;
}

/** Decodes /proc/PID/status. A process that has just ended has no memory any more. */
export function parseStatus(text: string): ProcessMemory {
  const kibibytes = (name: string): number => Number(new RegExp(`^${name}:\\s*(\\d+) kB`, 'm').exec(text)?.[1] ?? 0);
  return { residentBytes: kibibytes('VmRSS') * 1024, peakBytes: kibibytes('VmHWM') * 1024 };
}

/** A file of /proc, or undefined when its process is gone or there is no /proc. */
export function readProc(pid: number | 'self', file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    // Processes end at any time; elsewhere than on Linux nothing is measured.
    return undefined;
  }
}

/** The process and all that descend from it, as far as they live. */
export function processTree(pid: number): readonly number[] {
  const found = [pid];
  for (const parent of found) found.push(...childrenOf(parent));
  return found;
}

function childrenOf(pid: number): readonly number[] {
  let threads: readonly string[];
  try {
    threads = readdirSync(`/proc/${pid}/task`);
  } catch {
    // Gone, or no Linux.
    return [];
  }
  return threads
    .flatMap((thread) => (readProc(pid, `task/${thread}/children`) ?? '').split(' '))
    .filter((child) => child !== '')
    .map(Number);
}
