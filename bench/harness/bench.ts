/**
 * What every case gets: how large, how often, where the data goes, and who starts processes.
 */
import type { ProcessRegistry } from './process/running-process.ts';
import type { Rooms } from './rooms.ts';

export interface Bench {
  /** 1 for the sizes of the table; less for a quick trial. */
  readonly scale: number;
  /** How often each contender runs, unless the case says how often itself. */
  readonly runs: number | null;
  /** Where our processes leave CPU profiles; null when none are wanted. */
  readonly profileDirectory: string | null;
  /** Data of the cases: on a memory file system where there is one. */
  readonly rooms: Rooms;
  /** The same on the machine's own disk. */
  readonly diskRooms: Rooms;
  readonly processes: ProcessRegistry;
  /** What is kept between benchmarks, such as downloaded packages. */
  readonly cacheDirectory: string;
  /** Progress, for who waits. */
  readonly say: (line: string) => void;
}

/** A number of the table, made smaller by the scale, but not below `least`. */
export function scaled(bench: Bench, number: number, least = 1): number {
  return Math.max(least, Math.round(number * bench.scale));
}

/** Thrown by a case that cannot be measured here, for a reason that is nobody's fault. */
export class Skipped extends Error {}
