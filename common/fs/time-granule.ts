/**
 * How long after a change of a file another one may leave it the very same times, so that its times do not tell that it was changed
 * again (E45; git calls such files racy). For operators' paths, not for tree paths.
 */
import { statfsSync } from 'node:fs';
import { release } from 'node:os';
import { errnoOf } from '../ops/errors.ts';

/** Up to ten milliseconds between two ticks of the kernel's clock, and as much again for clocks that are read in between. */
const TICKS_MS = 20;
const SLACK_MS = 10;

/** Magic numbers of statfs(2): file systems that keep times in whole seconds, or two. */
const SECONDS_OF_TYPE: ReadonlyMap<bigint, number> = new Map([
  [0x4d44n, 2], // FAT
  [0x2011bab0n, 2], // exFAT
  [0x4244n, 1], // HFS
  [0x482bn, 1], // HFS+
  [0xef51n, 1], // old ext2
  [0x137fn, 1], // minix
]);

/** Since Linux 6.13 their times are finer where somebody has looked at them (Documentation/filesystems/multigrain-ts.rst). */
const FINE_TYPES: ReadonlySet<bigint> = new Set([
  0xef53n, // ext4
  0x58465342n, // XFS
  0x9123683en, // btrfs
  0x01021994n, // tmpfs
]);

/** In milliseconds; 0 where each change that somebody could have missed has another time. */
export function timeGranuleMs(
  directory: string,
  platform: NodeJS.Platform = process.platform,
  kernel: string = release(),
): number {
  const type = typeOf(directory);
  const seconds = type === undefined ? undefined : SECONDS_OF_TYPE.get(type);
  if (seconds !== undefined) return seconds * 1000 + SLACK_MS;
  const isFine = platform === 'linux' && type !== undefined && FINE_TYPES.has(type) && isAtLeast(kernel, 6, 13);
  return isFine ? 0 : TICKS_MS;
}

function typeOf(directory: string): bigint | undefined {
  try {
    return BigInt.asUintN(32, statfsSync(directory, { bigint: true }).type);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    // It is told where it is opened.
    return undefined;
  }
}

function isAtLeast(kernel: string, major: number, minor: number): boolean {
  const [first = 0, second = 0] = kernel.split('.').map(Number.parseFloat);
  return first > major || (first === major && second >= minor);
}
