/**
 * What a doctor asks of a directory: that it can be used, on which sort of file system it is, and how much room is left. For
 * operators' paths, not for tree paths. Judgements are pure.
 */
import { accessSync, constants, mkdirSync, readFileSync, rmdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { type FileSystemKind, type FreeSpace, fileSystemKind, freeSpace } from '../fs/free-space.ts';
import { errnoOf } from '../ops/errors.ts';
import { formatBytes } from '../ops/units.ts';
import { displayText } from '../tree/display-path.ts';
import type { Finding } from './finding.ts';

export interface PlaceNeeds {
  /** What the directory is: "replica", "state", "watched". */
  readonly role: string;
  readonly directory: string;
  readonly writable: boolean;
  /** It will be made when it is needed: then its nearest parent is looked at. */
  readonly mayBeMissing: boolean;
  /** What a file system on the network, or in memory, means for this role; undefined: nothing. */
  readonly network: { readonly message: string; readonly remedy: string } | undefined;
  readonly memory: { readonly message: string; readonly remedy: string } | undefined;
  /** Below it nothing can be written; undefined: nothing is written there. */
  readonly leastBytes: number | undefined;
}

const COMFORTABLE_BYTES = 2 ** 30;
const LEAST_INODES = 1000;
const COMFORTABLE_INODES = 20_000;

export function placeFindings(needs: PlaceNeeds): readonly Finding[] {
  const access = accessFinding(needs);
  const existing = nearestExisting(needs.directory);
  if (access.level === 'fail' || existing === undefined) return [access];
  const findings = [access, fileSystemFinding(needs, fileSystemKind(existing), fileSystemName(existing))];
  if (needs.leastBytes !== undefined)
    findings.push(...spaceFindings(needs.role, freeSpace(existing), needs.leastBytes));
  return findings;
}

export function fileSystemFinding({ role, network, memory }: PlaceNeeds, kind: FileSystemKind, name: string): Finding {
  const check = `${role} file system`;
  const trouble = kind === 'network' ? network : kind === 'memory' ? memory : undefined;
  const shown = kind === 'local' ? name : `${name} (${kind})`;
  if (trouble === undefined) return { check, level: 'ok', message: shown };
  return { check, level: 'warn', message: `${shown}: ${trouble.message}`, remedy: trouble.remedy };
}

export function spaceFindings(role: string, space: FreeSpace, leastBytes: number): readonly Finding[] {
  const { freeBytes, totalBytes, freeInodes } = space;
  const findings: Finding[] = [];
  // A tmpfs without a limit says that it has no bytes at all.
  if (totalBytes > 0) {
    const message = `${formatBytes(freeBytes)} of ${formatBytes(totalBytes)} free`;
    const level = freeBytes < leastBytes ? 'fail' : freeBytes < COMFORTABLE_BYTES ? 'warn' : 'ok';
    findings.push({ check: `${role} space`, level, message, ...remedyFor(level, 'make room, or use a larger disk') });
  }
  if (freeInodes !== undefined) {
    const level = freeInodes < LEAST_INODES ? 'fail' : freeInodes < COMFORTABLE_INODES ? 'warn' : 'ok';
    const message = `${freeInodes} more files can be made`;
    const remedy = 'delete files, or make the file system anew with more inodes';
    findings.push({ check: `${role} inodes`, level, message, ...remedyFor(level, remedy) });
  }
  return findings;
}

function remedyFor(level: Finding['level'], remedy: string): Pick<Finding, 'remedy'> {
  return level === 'ok' ? {} : { remedy };
}

function accessFinding({ role, directory, writable, mayBeMissing }: PlaceNeeds): Finding {
  const shown = displayText(directory);
  const stats = statOf(directory);
  if (stats === undefined) {
    const parent = nearestExisting(directory);
    if (!mayBeMissing) {
      return {
        check: role,
        level: 'fail',
        message: `${shown} does not exist`,
        remedy: 'name another directory, or make it',
      };
    }
    const isWritable = parent !== undefined && isAllowed(parent, constants.W_OK | constants.X_OK);
    const errno = isWritable ? whyNotMade(directory, parent) : undefined;
    if (isWritable && errno === undefined) {
      return { check: role, level: 'ok', message: `${shown} does not exist yet and can be made` };
    }
    const right = `give this user the right to write ${displayText(parent ?? '/')}, or choose another directory`;
    const message = `${shown} does not exist and cannot be made${errno === undefined ? '' : ` (${errno})`}`;
    return { check: role, level: 'fail', message, remedy: errno === undefined ? right : 'choose another directory' };
  }
  if (!stats.isDirectory()) {
    return { check: role, level: 'fail', message: `${shown} is not a directory`, remedy: 'name a directory' };
  }
  const wanted = constants.R_OK | constants.X_OK | (writable ? constants.W_OK : 0);
  if (isAllowed(directory, wanted)) return { check: role, level: 'ok', message: shown };
  const what = writable ? 'read and written' : 'read';
  const remedy = 'change its owner or mode, or run as another user';
  return { check: role, level: 'fail', message: `${shown} cannot be ${what} by this user`, remedy };
}

function isAllowed(path: string, wanted: number): boolean {
  try {
    accessSync(path, wanted);
    return true;
  } catch {
    // Whatever the reason is, it says no.
    return false;
  }
}

/**
 * Tries it, with the first of the names that are missing: rights alone do not say that a file system takes new names (/proc
 * takes none).
 */
function whyNotMade(directory: string, parent: string): string | undefined {
  let first = resolve(directory);
  while (dirname(first) !== parent) first = dirname(first);
  try {
    mkdirSync(first);
    rmdirSync(first);
    return undefined;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    // Somebody has made it, or uses it, meanwhile.
    return errno === 'EEXIST' || errno === 'ENOTEMPTY' || errno === 'EBUSY' ? undefined : errno;
  }
}

function statOf(path: string): ReturnType<typeof statSync> {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    // Something on the way is no directory, or may not be looked into: then it is not there for us.
    if (errnoOf(error) !== undefined) return undefined;
    throw error;
  }
}

/** The directory, or the first above it that is there. */
export function nearestExisting(path: string): string | undefined {
  for (let at = resolve(path); ; at = dirname(at)) {
    if (statOf(at) !== undefined) return at;
    if (at === dirname(at)) return undefined;
  }
}

/** "ext4"; "local" and its like where the system does not tell. */
function fileSystemName(path: string): string {
  try {
    const { dev } = statSync(path, { bigint: true });
    // The encoding of glibc's makedev.
    const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
    const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
    const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    const line = lines.findLast((text) => text.split(' ')[2] === `${major}:${minor}`);
    const name = line?.split(' - ')[1]?.split(' ')[0];
    if (name !== undefined && name !== '') return name;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    // Without /proc only the kind is known.
  }
  return fileSystemKind(path);
}
