/**
 * What the disk says about an inode, in the program's units. Knows no paths.
 */
import { type BigIntStats, constants, fstatSync } from 'node:fs';
import { LockstepError } from '../ops/errors.ts';
import { modeOnDisk } from './permission-bits.ts';

const MAX_INT64 = 2n ** 63n - 1n;
const MIN_INT64 = -(2n ** 63n);

/** `other` is a FIFO, socket or device: never opened, skipped and reported (E15). */
export type InodeKind = 'file' | 'directory' | 'symlink' | 'other';

export interface Stat {
  readonly kind: InodeKind;
  /** Permission bits with set-id and sticky bits, 0..0o7777; the usual ones where the system has none. */
  readonly mode: number;
  readonly dev: bigint;
  readonly ino: bigint;
  /** Content length of a file, length of a link's target; of no meaning elsewhere. */
  readonly sizeBytes: number;
  /** Nanoseconds since 1970, negative before, in the limits of int64; these and the next two. */
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly birthtimeNs: bigint;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
}

/**
 * The inode behind an open file.
 * @throws an errno error; LockstepError LIMIT_EXCEEDED for a file beyond 2^53-1 bytes.
 */
export function statOf(fd: number): Stat {
  return toStat(fstatSync(fd, { bigint: true }));
}

/** @throws LockstepError LIMIT_EXCEEDED for a file beyond 2^53-1 bytes. */
export function toStat(stats: BigIntStats): Stat {
  const mode = Number(stats.mode);
  const kind = kindOf(mode);
  const sizeBytes = Number(stats.size);
  if (kind === 'file' && !Number.isSafeInteger(sizeBytes)) {
    throw new LockstepError('LIMIT_EXCEEDED', `a file of ${stats.size} bytes is larger than 2^53-1 bytes`);
  }
  return {
    kind,
    mode: modeOnDisk(kind, mode),
    dev: stats.dev,
    ino: stats.ino,
    sizeBytes,
    mtimeNs: withinInt64(stats.mtimeNs),
    ctimeNs: withinInt64(stats.ctimeNs),
    birthtimeNs: withinInt64(stats.birthtimeNs),
    nlink: Number(stats.nlink),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
  };
}

/** File systems hold times beyond the year 2262; the indexes and the wire do not (E73). */
function withinInt64(timeNs: bigint): bigint {
  return timeNs > MAX_INT64 ? MAX_INT64 : timeNs < MIN_INT64 ? MIN_INT64 : timeNs;
}

function kindOf(mode: number): InodeKind {
  switch (mode & constants.S_IFMT) {
    case constants.S_IFREG:
      return 'file';
    case constants.S_IFDIR:
      return 'directory';
    case constants.S_IFLNK:
      return 'symlink';
    default:
      return 'other';
  }
}
