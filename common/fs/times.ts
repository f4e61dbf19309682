/**
 * Modification times between the record's nanoseconds and what Node can set (E72, E73): `fs.utimes` takes seconds as
 * a double, which libuv splits into whole seconds and nanoseconds, both cut towards zero (`uv__fs_to_timespec`). On Windows it makes a
 * double of 100 ns since 1601 of it, whose steps are 1.6 us now (`TIME_T_TO_FILETIME`).
 */
import { LockstepError } from '../ops/errors.ts';
import { MODE_MASK } from '../tree/entry.ts';
import { fchmod, futimes } from './descriptor.ts';
import { holdsPermissionBits } from './permission-bits.ts';
import { statOf } from './stat.ts';

const NS_PER_SECOND = 1_000_000_000n;
const NS_PER_US = 1000n;
const NS_PER_MS = 1_000_000n;

/** Below this a double of seconds is finer than a microsecond: 2^33 s, in the year 2242. */
const MICROSECOND_END_NS = (1n << 33n) * NS_PER_SECOND;

/** Units of 100 ns from 1601, where Windows begins to count. */
const TICKS_TO_1970 = 116_444_736_000_000_000;

const PLATFORM = process.platform;

const INT64_MAX = (1n << 63n) - 1n;
const INT64_MIN = -(1n << 63n);

/**
 * True when the disk's time is the record's, as closely as this program promises to set it: to the microsecond (by
 * floor) from 1970 to 2242, to the millisecond elsewhere, and always on Windows.
 */
export function mtimeMatches(recordNs: bigint, diskNs: bigint, platform: NodeJS.Platform = PLATFORM): boolean {
  if (recordNs === diskNs) return true;
  const isFine = recordNs >= 0n && recordNs < MICROSECOND_END_NS && platform !== 'win32';
  const unit = isFine ? NS_PER_US : NS_PER_MS;
  return floorDivide(recordNs, unit) === floorDivide(diskNs, unit);
}

/**
 * A time in the form `fs.utimes` and its relatives take it, such that what reaches the disk matches `mtimeNs` in the
 * sense of `mtimeMatches`. Whole seconds arrive exactly. Before 1970 it is a string, which Node documents as another
 * spelling of the number; a negative number would be taken for "now".
 * @throws LockstepError INVALID_TIME outside of int64 nanoseconds (1677 to 2262).
 */
export function utimesArgument(mtimeNs: bigint, platform: NodeJS.Platform = PLATFORM): number | string {
  if (mtimeNs < INT64_MIN || mtimeNs > INT64_MAX) {
    throw new LockstepError('INVALID_TIME', `${mtimeNs} ns is outside of the range of modification times`);
  }
  const seconds = secondsFor(mtimeNs, platform);
  return seconds < 0 ? String(seconds) : seconds;
}

function secondsFor(mtimeNs: bigint, platform: NodeJS.Platform): number {
  const wholeSeconds = floorDivide(mtimeNs, NS_PER_SECOND);
  const base = Number(wholeSeconds);
  const nanoseconds = Number(mtimeNs - wholeSeconds * NS_PER_SECOND);
  const nearest = base + nanoseconds / 1e9;
  if (mtimeMatches(mtimeNs, timeOnDisk(nearest, platform), platform)) return nearest;
  // The nearest double fell below its microsecond. The one nearest to the middle of the microsecond cannot: it is off
  // by half a step at most, and a step is 0.95 us below 2^33 s.
  const middle = base + (Math.floor(nanoseconds / 1000) + 0.5) / 1e6;
  if (mtimeMatches(mtimeNs, timeOnDisk(middle, platform), platform)) return middle;
  // Where steps are longer and only the millisecond is promised.
  return base + (Math.floor(nanoseconds / 1e6) + 0.5) / 1e3;
}

/** What libuv makes of a double of seconds. */
function timeOnDisk(seconds: number, platform: NodeJS.Platform): bigint {
  if (platform === 'win32') return (BigInt(Math.trunc(seconds * 1e7 + TICKS_TO_1970)) - BigInt(TICKS_TO_1970)) * 100n;
  const whole = Math.trunc(seconds);
  return BigInt(whole) * NS_PER_SECOND + BigInt(Math.trunc((seconds - whole) * 1e9));
}

/**
 * Sets the modification time of an open file, and its access time to now.
 * @throws LockstepError INVALID_TIME when int64 or the file system cannot hold it; in the second case the kernel has
 *   set the nearest time that it can.
 */
export function setFdTimes(fd: number, mtimeNs: bigint): void {
  futimes(fd, accessTime(), utimesArgument(mtimeNs));
  if (mayBeClamped(mtimeNs)) assertHeld(mtimeNs, statOf(fd).mtimeNs);
}

/** Sets the permission bits of an open file, where there are any; bits outside of 0777 are dropped (E77). Not for O_PATH handles. */
export function setFdMode(fd: number, mode: number): void {
  if (holdsPermissionBits()) fchmod(fd, mode & MODE_MASK);
}

/** Now, for the access time, which cannot be left alone through Node and is not synchronized. */
export function accessTime(): number {
  return Date.now() / 1000;
}

/** Every Linux file system holds 1970 to 2038; beyond, the kernel may silently set the nearest time it can store. */
export function mayBeClamped(mtimeNs: bigint): boolean {
  return mtimeNs < 0n || mtimeNs >= (1n << 31n) * NS_PER_SECOND;
}

/** @throws LockstepError INVALID_TIME unless the time read back is the time that was set. */
export function assertHeld(mtimeNs: bigint, readBackNs: bigint): void {
  if (mtimeMatches(mtimeNs, readBackNs)) return;
  throw new LockstepError('INVALID_TIME', `this file system cannot hold the modification time ${mtimeNs} ns`);
}

function floorDivide(value: bigint, unit: bigint): bigint {
  const quotient = value / unit;
  return value < 0n && quotient * unit !== value ? quotient - 1n : quotient;
}
