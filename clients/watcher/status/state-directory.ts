/**
 * Where a watcher keeps what it knows: one state directory per watched directory, private to its user, and never inside
 * the tree that is watched. Also who may not be watched: a replica.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, realpathSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { acquireDirectoryLock, type DirectoryLock } from '../../../common/fs/file-lock.ts';
import { makeDirectories } from '../../../common/fs/make-directories.ts';
import { isWithin, replicaAround } from '../../../common/fs/nesting.ts';
import { writeFileAtomic } from '../../../common/fs/atomic-file.ts';
import { errnoError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { fromLaunchDirectory } from '../../../common/ops/launch-directory.ts';

const HOLDER_ID_NAME = 'holder-id';
const HOLDER_ID_BYTES = 16;

/**
 * `$XDG_STATE_HOME/lockstep/<name>-<hash>`, on Windows below `%LOCALAPPDATA%`, by the directory's real path, so that every way of
 * naming it leads there.
 */
export function defaultStateDirectory(
  directory: string,
  environment: Readonly<Record<string, string | undefined>>,
  platform: NodeJS.Platform = process.platform,
): string {
  const real = realPathOf(directory);
  const hash = createHash('sha256').update(real).digest('hex').slice(0, 16);
  const name =
    basename(real)
      .replace(/[^A-Za-z0-9._-]/g, '_')
      .slice(0, 40) || 'root';
  return join(stateHome(environment, platform), 'lockstep', `${name}-${hash}`);
}

function stateHome(
  { XDG_STATE_HOME: configured, LOCALAPPDATA: local }: Readonly<Record<string, string | undefined>>,
  platform: NodeJS.Platform,
): string {
  if (platform === 'win32') return local ?? join(homedir(), 'AppData', 'Local');
  // Relative ones are to be ignored (XDG Base Directory Specification).
  return configured?.startsWith('/') ? configured : join(homedir(), '.local', 'state');
}

/** The real path, also of what does not exist (any more): then that of the nearest parent that does. */
export function realPathOf(path: string): string {
  const absolute = fromLaunchDirectory(path);
  try {
    // Where names fold, only the system's own call knows which spelling is the entry's.
    return process.platform === 'linux' ? realpathSync(absolute) : realpathSync.native(absolute);
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    const parent = dirname(absolute);
    return parent === absolute ? absolute : join(realPathOf(parent), basename(absolute));
  }
}

/**
 * Checks the directory to be watched, and creates it if that was asked for. Returns its real path.
 * @throws LockstepError ROOT_MISSING; USAGE when it is no directory, holds the state directory, or belongs to a replica.
 */
export function prepareWatchedDirectory(directory: string, stateDirectory: string, create: boolean): string {
  const absolute = resolve(directory);
  const stats = statSync(absolute, { throwIfNoEntry: false });
  if (stats === undefined) {
    if (!create) {
      const remedy = 'give --create to have it made; nothing was deleted on the server';
      throw new LockstepError('ROOT_MISSING', `the directory ${absolute} does not exist; ${remedy}`);
    }
    try {
      makeDirectories(absolute);
    } catch (error) {
      throw new LockstepError('USAGE', `cannot create ${absolute}: ${errnoOf(error) ?? 'unknown error'}`, {
        cause: error,
      });
    }
  } else if (!stats.isDirectory()) {
    throw new LockstepError('USAGE', `${absolute} is not a directory; --dir names the directory to watch`);
  }
  const real = realPathOf(absolute);
  if (isWithin(realPathOf(stateDirectory), real)) {
    throw new LockstepError(
      'USAGE',
      `the state directory ${stateDirectory} lies inside ${absolute}; give --state a directory outside of it`,
    );
  }
  assertNoReplica(real);
  const replica = replicaAround(realPathOf(stateDirectory));
  if (replica !== undefined) {
    throw new LockstepError(
      'USAGE',
      `the state directory ${stateDirectory} lies inside ${replica}, which is a server's replica; give --state another`,
    );
  }
  return real;
}

/** E11: a replica and what lies in it are written by a server; watching them would feed its own writes back. */
function assertNoReplica(real: string): void {
  const replica = replicaAround(real);
  if (replica === undefined) return;
  const where = replica === real ? 'is' : `lies inside ${replica}, which is`;
  throw new LockstepError('USAGE', `${real} ${where} a server's replica; watch another directory`);
}

/**
 * Makes the state directory, mode 0700, and takes its lock.
 * @throws LockstepError LOCKED naming the process that watches already; USAGE when it cannot be made; IO.
 */
export function openStateDirectory(stateDirectory: string, directory: string): DirectoryLock {
  try {
    makeDirectories(stateDirectory, 0o700);
  } catch (error) {
    const errno = errnoOf(error) ?? 'unknown error';
    throw new LockstepError(
      'USAGE',
      `cannot make the state directory ${stateDirectory}: ${errno}; choose another with --state`,
    );
  }
  try {
    return acquireDirectoryLock(stateDirectory, 'sync-watcher');
  } catch (error) {
    if (!(error instanceof LockstepError) || error.reason !== 'LOCKED') throw error;
    const pid = error.details?.['holder_pid'];
    const who = pid === undefined ? 'another watcher' : `the watcher with process id ${pid}`;
    throw new LockstepError('LOCKED', `${directory} is being watched already by ${who}; stop that one first`);
  }
}

/** Identity of this state directory's index towards servers: made once, kept. */
export function holderIdOf(stateDirectory: string): Buffer {
  const path = join(stateDirectory, HOLDER_ID_NAME);
  try {
    const stored = Buffer.from(readFileSync(path, 'utf8').trim(), 'hex');
    if (stored.length === HOLDER_ID_BYTES) return stored;
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw errnoError(`read ${path}`, error);
  }
  // New, or damaged: then the lease is asked for as by a newcomer, which is what a lost index is.
  const made = randomBytes(HOLDER_ID_BYTES);
  writeFileAtomic(path, `${made.toString('hex')}\n`);
  return made;
}
