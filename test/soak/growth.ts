/**
 * What a program takes of the machine over time, and whether that grows. Looked at in calm moments only: what is under way
 * takes memory and descriptors by right.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';

export interface Sample {
  readonly residentBytes: number;
  readonly descriptors: number;
  /** Those of directories not counted: open directories are kept for the next look, up to a bound, and a tree grows. */
  readonly otherDescriptors: number;
}

export interface Ceilings {
  /** At any calm moment. */
  readonly residentBytes: number;
  readonly descriptors: number;
  /** From the second quarter of a life to its last, as medians. A heap settles within the first. */
  readonly grownBytes: number;
  readonly grownOtherDescriptors: number;
}

/** Fewer are no trend. */
const MIN_SAMPLES = 8;

/** Undefined where the system does not tell. */
export function sampleOf(pid: number): Sample | undefined {
  try {
    const kibibytes = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    const descriptors = readdirSync(`/proc/${pid}/fd`);
    const others = descriptors.filter((fd) => !isDirectory(`/proc/${pid}/fd/${fd}`));
    if (kibibytes === undefined) return undefined;
    const counts = { descriptors: descriptors.length, otherDescriptors: others.length };
    return { residentBytes: Number(kibibytes) * 1024, ...counts };
  } catch {
    // No such system, or no such process any more.
    return undefined;
  }
}

/** What is wrong with one life of a program, in words; empty when nothing is. */
export function leaksIn(samples: readonly Sample[], ceilings: Ceilings): readonly string[] {
  const found: string[] = [];
  for (const what of ['residentBytes', 'descriptors'] as const) {
    const most = Math.max(0, ...samples.map((sample) => sample[what]));
    if (most > ceilings[what]) found.push(`${what}: ${most} is more than ${ceilings[what]}`);
  }
  if (samples.length < MIN_SAMPLES) return found;
  const quarter = Math.floor(samples.length / 4);
  const growths = [
    ['residentBytes', ceilings.grownBytes],
    ['otherDescriptors', ceilings.grownOtherDescriptors],
  ] as const;
  for (const [what, allowed] of growths) {
    const values = samples.map((sample) => sample[what]);
    const before = median(values.slice(quarter, 2 * quarter));
    const after = median(values.slice(-quarter));
    if (after - before > allowed) found.push(`${what}: grown from ${before} to ${after}`);
  }
  return found;
}

function isDirectory(path: string): boolean {
  // A descriptor that was closed meanwhile is none.
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? true;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
