/**
 * Is the replica what the source is? A fast synchronizer that leaves something out has not won. Never timed.
 */
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import { join } from 'node:path';

export interface CompareOptions {
  /** Read the files too, not only names, kinds, sizes and times. */
  readonly contents: boolean;
  /** Names at the root of the replica that belong to the synchronizer itself. */
  readonly ignoredAtRoot: readonly string[];
}

/** What differs, up to `LIMIT` lines; empty when nothing does. */
export function differencesBetween(source: string, replica: string, options: CompareOptions): readonly string[] {
  const differences: string[] = [];
  compareDirectories(source, replica, '', options, differences);
  return differences;
}

const LIMIT = 10;
/** Replicas are the same to the microsecond; half of one more for the rounding of doubles. */
const MTIME_TOLERANCE_MS = 0.0015;
const CHUNK_BYTES = 1024 * 1024;
const bufferOfSource = Buffer.alloc(CHUNK_BYTES);
const bufferOfReplica = Buffer.alloc(CHUNK_BYTES);

function compareDirectories(
  source: string,
  replica: string,
  path: string,
  options: CompareOptions,
  differences: string[],
): void {
  const inSource = readdirSync(source).sort();
  const present = new Set(readdirSync(replica));
  if (path === '') for (const name of options.ignoredAtRoot) present.delete(name);
  for (const name of inSource) {
    if (differences.length >= LIMIT) return;
    const child = path === '' ? name : `${path}/${name}`;
    if (!present.delete(name)) differences.push(`${child} is missing`);
    else compareEntries(join(source, name), join(replica, name), child, options, differences);
  }
  for (const name of present) if (differences.length < LIMIT) differences.push(`${path}/${name} is too much`);
}

function compareEntries(
  source: string,
  replica: string,
  path: string,
  options: CompareOptions,
  differences: string[],
): void {
  const ours = lstatSync(source);
  const theirs = lstatSync(replica);
  if ((ours.mode & 0o170777) !== (theirs.mode & 0o170777)) differences.push(`${path}: another kind or mode`);
  else if (ours.isDirectory()) compareDirectories(source, replica, path, options, differences);
  else if (ours.isSymbolicLink()) {
    if (readlinkSync(source) !== readlinkSync(replica)) differences.push(`${path}: another target`);
  } else if (ours.size !== theirs.size) differences.push(`${path}: ${theirs.size} bytes instead of ${ours.size}`);
  else if (Math.abs(ours.mtimeMs - theirs.mtimeMs) > MTIME_TOLERANCE_MS) differences.push(`${path}: another time`);
  else if (options.contents && !haveEqualContents(source, replica)) differences.push(`${path}: another content`);
}

function haveEqualContents(source: string, replica: string): boolean {
  const first = openSync(source, 'r');
  const second = openSync(replica, 'r');
  try {
    for (;;) {
      const got = readSync(first, bufferOfSource);
      const other = readSync(second, bufferOfReplica);
      if (!bufferOfSource.subarray(0, got).equals(bufferOfReplica.subarray(0, other))) return false;
      if (got === 0) return true;
    }
  } finally {
    closeSync(first);
    closeSync(second);
  }
}
