/**
 * One process per state directory (E107). For operators' paths, not for tree paths.
 *
 * Node has no flock, so the lock is an exclusive transaction on an empty SQLite database: SQLite takes a POSIX lock on
 * the file, which the kernel drops when the process ends, however it ends, and it keeps its own list of locks
 * within the process, where POSIX locks do not conflict. A pid file would outlive a crash.
 * POSIX locks also end when the process closes any other handle of the same file: nothing may open `lock` but this.
 */
import { accessSync, constants, readFileSync, unlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { errnoError, errnoOf, LockstepError } from '../ops/errors.ts';
import { writeFileAtomic } from './atomic-file.ts';

const LOCK_NAME = 'lock';
/** Beside the lock, because a locked database cannot be read: for messages only, may be stale or missing. */
const HOLDER_NAME = 'lock-holder.json';

/** Result codes of SQLite (https://www.sqlite.org/rescode.html); extended codes carry these in their low byte. */
const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
const SQLITE_FULL = 13;

export interface DirectoryLock {
  readonly directory: string;
  /** Lets the next process in. May be called again. */
  release(): void;
  [Symbol.dispose](): void;
}

/** Held locks, so that the collector never closes a database, and so drops a lock, that nobody refers to. */
const held = new Set<DatabaseSync>();

/**
 * Locks an existing directory for this process, at once or not at all. The files `lock` and `lock-holder.json` in it
 * belong to the lock; `lock` stays when it is released.
 * @param purpose what the holder is, for the message that a second one gets: "sync-server"
 * @throws LockstepError LOCKED naming the holder (details `holder_pid`); READ_ONLY, NO_SPACE, PERMISSION_DENIED or IO when locking is impossible.
 */
export function acquireDirectoryLock(directory: string, purpose: string): DirectoryLock {
  const holderPath = join(directory, HOLDER_NAME);
  const database = openLocked(directory, holderPath);
  held.add(database);
  const release = (): void => {
    if (!held.delete(database)) return;
    removeHolder(holderPath);
    database.close();
  };
  try {
    const holder: Holder = { pid: process.pid, purpose, host: hostname() };
    writeFileAtomic(holderPath, `${JSON.stringify(holder)}\n`, { mode: 0o644 });
  } catch (error) {
    release();
    throw errnoError(`lock ${directory}`, error);
  }
  return { directory, release, [Symbol.dispose]: release };
}

function openLocked(directory: string, holderPath: string): DatabaseSync {
  const path = join(directory, LOCK_NAME);
  // SQLite would open it for reading and lock nothing, without a word.
  if (isReadOnly(path)) throw new LockstepError('READ_ONLY', `cannot lock ${directory}: ${LOCK_NAME} is read-only`);
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(path, { timeout: 0 });
    database.exec('BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database?.close();
    const code = sqliteCodeOf(error);
    if (code === SQLITE_BUSY || code === SQLITE_LOCKED) throw lockedError(directory, readHolder(holderPath), error);
    if (code === SQLITE_FULL) {
      throw new LockstepError('NO_SPACE', `cannot lock ${directory}: its file system is full; make room`, {
        cause: error,
      });
    }
    throw new LockstepError('IO', `cannot lock ${directory}: it must exist, be writable, and support file locks`, {
      cause: error,
    });
  }
}

/** It is there and this process may not write it. */
function isReadOnly(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return false;
  } catch (error) {
    return errnoOf(error) === 'EROFS' || errnoOf(error) === 'EACCES';
  }
}

interface Holder {
  readonly pid: number;
  readonly purpose: string;
  readonly host: string;
}

function lockedError(directory: string, holder: Holder | undefined, cause: unknown): LockstepError {
  const name = holder === undefined ? 'another process' : `${holder.purpose} (process ${holder.pid} on ${holder.host})`;
  return new LockstepError('LOCKED', `${directory} is in use by ${name}; stop it, or use another state directory`, {
    cause,
    ...(holder === undefined ? {} : { details: { holder_pid: String(holder.pid) } }),
  });
}

/** Undefined when the holder has not said who it is yet, or nobody can read it: the message is then less precise. */
function readHolder(path: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
    if (typeof value !== 'object' || value === null) return undefined;
    const { pid, purpose, host } = value as Partial<Record<keyof Holder, unknown>>;
    if (typeof pid !== 'number' || typeof purpose !== 'string' || typeof host !== 'string') return undefined;
    return { pid, purpose, host };
  } catch {
    return undefined; // Only the message depends on it, and the lock itself has already said no.
  }
}

function removeHolder(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    // A stale holder only makes a later message imprecise, and is overwritten by the next one.
    if (errnoOf(error) === undefined) throw error;
  }
}

function sqliteCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined;
  return error.errcode & 0xff;
}
