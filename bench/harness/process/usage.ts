/**
 * Processor time and peak memory of a process and its descendants, while it runs. Linux only; elsewhere both are null.
 */
import { writeFileSync } from 'node:fs';
import { parseStat, parseStatus, processTree, readProc } from './proc-files.ts';

export interface Usage {
  readonly cpuSeconds: number | null;
  readonly peakBytes: number | null;
}

const POLL_INTERVAL_MS = 20;

/** Processor time that the process and its descendants, ended ones included, have used so far; null when unknown. */
export function cpuSecondsOf(pid: number): number | null {
  let seconds: number | null = null;
  for (const member of processTree(pid)) {
    const text = readProc(member, 'stat');
    if (text === undefined) continue;
    const times = parseStat(text);
    seconds = (seconds ?? 0) + times.ownSeconds + times.reapedSeconds;
  }
  return seconds;
}

/** Resident memory of the process and its descendants now; null when unknown. */
export function residentBytesOf(pid: number): number | null {
  let bytes: number | null = null;
  for (const member of processTree(pid)) {
    const text = readProc(member, 'status');
    if (text !== undefined) bytes = (bytes ?? 0) + parseStatus(text).residentBytes;
  }
  return bytes;
}

/**
 * Processor time of all children of this very process that have ended. What it grows by between the start and the end
 * of one child is exactly that child's, while no other child ends.
 */
export function reapedCpuSeconds(): number | null {
  const text = readProc('self', 'stat');
  return text === undefined ? null : parseStat(text).reapedSeconds;
}

/**
 * Watches one process from `start` until `stop`. The peak is the largest of any one process' own high-water mark, which
 * is exact, and of what all of them held together, looked at every 20 ms.
 */
export class UsageMeter {
  readonly #pid: number;
  #timer: NodeJS.Timeout | undefined;
  #cpuSecondsBefore: number | null = null;
  #peakBytes: number | null = null;

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** Forgets what was before. */
  start(): void {
    for (const member of processTree(this.#pid)) forgetPeak(member);
    this.#cpuSecondsBefore = cpuSecondsOf(this.#pid);
    this.#peakBytes = null;
    this.#look();
    clearInterval(this.#timer);
    this.#timer = setInterval(() => this.#look(), POLL_INTERVAL_MS);
  }

  stop(): Usage {
    clearInterval(this.#timer);
    this.#look();
    const cpuSeconds = cpuSecondsOf(this.#pid);
    const spent = cpuSeconds === null ? null : Math.max(0, cpuSeconds - (this.#cpuSecondsBefore ?? 0));
    return { cpuSeconds: spent, peakBytes: this.#peakBytes };
  }

  #look(): void {
    let together = 0;
    let single = 0;
    for (const member of processTree(this.#pid)) {
      const text = readProc(member, 'status');
      if (text === undefined) continue;
      const memory = parseStatus(text);
      together += memory.residentBytes;
      single = Math.max(single, memory.peakBytes);
    }
    const peak = Math.max(together, single);
    if (peak > 0) this.#peakBytes = Math.max(this.#peakBytes ?? 0, peak);
  }
}

/** Lets the high-water mark begin anew at what is resident now: proc(5), clear_refs. */
function forgetPeak(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5');
  } catch {
    // Not allowed, gone, or no Linux: the mark then counts from the start of the process.
  }
}
