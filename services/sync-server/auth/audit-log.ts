/**
 * The audit log of one folder: `audit.jsonl` in its state directory, append-only, 0600, one JSON object a line (S37). Each
 * line carries the SHA-256 of the line before it, so that a line that was changed, taken out or put in shows; only the
 * loss of lines at the end does not, which is why `verifyAuditLog` tells the newest digest for keeping elsewhere.
 *
 * The server and `sync-server token` write the same file: an empty SQLite database beside it is the lock between them.
 * Lines are not synced one by one: after a power cut the last ones may be missing or torn.
 */
import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { readFully, writeFully } from '../../../common/fs/full-io.ts';
import { makeDirectories } from '../../../common/fs/make-directories.ts';
import { displayText } from '../../../common/tree/display-path.ts';

const FILE_NAME = 'audit.jsonl';
const LOCK_NAME = 'audit.lock';
/** How long a line waits for the other process's line. */
const LOCK_TIMEOUT_MS = 1000;
/** Texts of peers are cut to this, so that a line always fits into what is read to find the last one. */
const MAX_TEXT_CHARS = 256;
const TAIL_BYTES = 64 * 1024;
const CHUNK_BYTES = 256 * 1024;
const NEWLINE = 0x0a;
/** What the first line carries. */
const NO_LINE = '0'.repeat(64);

export const AUDITED = [
  'lease-acquired',
  'lease-refused',
  'access-denied',
  'authentication-failed',
  'token-created',
  'token-revoked',
  'folder-served',
  'folder-drained',
] as const;
export type Audited = (typeof AUDITED)[number];

export interface AuditEvent {
  /** "token:ID", "certificate:FINGERPRINT", "loopback", "uid:N" … */
  readonly who: string;
  /** Address of the peer, or "local". */
  readonly from: string;
  readonly folder: string;
  readonly what: Audited;
  /** Where the folder stood, where that means something. */
  readonly revision?: bigint | undefined;
  /** "ok", or the reason of the failure. */
  readonly result: string;
  /** More facts; never a secret. */
  readonly details?: Readonly<Record<string, string>> | undefined;
}

export class AuditLog {
  readonly #stateDirectory: string;
  readonly #now: () => number;
  #lock: DatabaseSync | undefined;

  /** Nothing is made before the first line. `now`: milliseconds since 1970. */
  constructor(stateDirectory: string, now: () => number = Date.now) {
    this.#stateDirectory = stateDirectory;
    this.#now = now;
  }

  /** @throws an errno or SQLite error when the line cannot be written */
  append(event: AuditEvent): void {
    const lock = this.#openLock();
    lock.exec('BEGIN EXCLUSIVE');
    try {
      this.#write(event);
    } finally {
      lock.exec('ROLLBACK');
    }
  }

  close(): void {
    this.#lock?.close();
    this.#lock = undefined;
  }

  #openLock(): DatabaseSync {
    if (this.#lock !== undefined) return this.#lock;
    makeDirectories(this.#stateDirectory, 0o700);
    this.#lock = new DatabaseSync(join(this.#stateDirectory, LOCK_NAME), { timeout: LOCK_TIMEOUT_MS });
    return this.#lock;
  }

  #write(event: AuditEvent): void {
    const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW;
    const fd = openSync(auditFileIn(this.#stateDirectory), flags, 0o600);
    try {
      const { previous, isTorn } = lastLineOf(fd);
      const line = `${isTorn ? '\n' : ''}${lineOf(event, this.#now(), previous)}\n`;
      const bytes = Buffer.from(line);
      writeFully(fd, bytes, 0, bytes.length, null);
    } finally {
      closeSync(fd);
    }
  }
}

export function auditFileIn(stateDirectory: string): string {
  return join(stateDirectory, FILE_NAME);
}

export interface AuditVerification {
  readonly lines: number;
  /** SHA-256 of the last line in hexadecimal, zeros for none. */
  readonly newestDigest: string;
  /** The first line, counted from 1, that is not what the one before it promises. */
  readonly damage: { readonly line: number; readonly message: string } | undefined;
}

/** Follows the chain to its end or to its first damage. @throws an errno error when the file cannot be read */
export function verifyAuditLog(stateDirectory: string): AuditVerification {
  let lines = 0;
  let newestDigest = NO_LINE;
  for (const { text, isWhole } of linesOf(auditFileIn(stateDirectory))) {
    const line = lines + 1;
    const previous = previousOf(text);
    if (!isWhole || previous === undefined) {
      return { lines, newestDigest, damage: { line, message: 'is torn or no line of an audit log' } };
    }
    if (previous !== newestDigest) {
      const message = 'does not follow the line before it: that one was changed, or lines are missing or were put in';
      return { lines, newestDigest, damage: { line, message } };
    }
    lines = line;
    newestDigest = digestOf(text);
  }
  return { lines, newestDigest, damage: undefined };
}

function lineOf(event: AuditEvent, nowMs: number, previous: string): string {
  const { who, from, folder, what, revision, result, details } = event;
  return JSON.stringify({
    at: new Date(nowMs).toISOString(),
    who: shown(who),
    from: shown(from),
    folder: shown(folder),
    what,
    ...(revision === undefined ? {} : { revision: String(revision) }),
    result: shown(result),
    ...(details === undefined
      ? {}
      : { details: Object.fromEntries(Object.entries(details).map(([key, value]) => [key, shown(value)])) }),
    previous,
  });
}

/** No raw control or bidirectional character reaches the terminal of whoever reads the file (S27). */
function shown(text: string): string {
  return displayText(text.slice(0, MAX_TEXT_CHARS).toWellFormed());
}

function lastLineOf(fd: number): { readonly previous: string; readonly isTorn: boolean } {
  const { size } = fstatSync(fd);
  if (size === 0) return { previous: NO_LINE, isTorn: false };
  const tail = Buffer.alloc(Math.min(size, TAIL_BYTES));
  const length = readFully(fd, tail, 0, tail.length, size - tail.length);
  const isTorn = tail[length - 1] !== NEWLINE;
  const line = tail.subarray(0, isTorn ? length : length - 1);
  return { previous: digestOf(line.subarray(line.lastIndexOf(NEWLINE) + 1)), isTorn };
}

function digestOf(line: Uint8Array): string {
  return createHash('sha256').update(line).digest('hex');
}

function previousOf(line: Buffer): string | undefined {
  try {
    const value: unknown = JSON.parse(line.toString('utf8'));
    if (typeof value !== 'object' || value === null || !('previous' in value)) return undefined;
    return typeof value.previous === 'string' ? value.previous : undefined;
  } catch {
    // The caller names the line.
    return undefined;
  }
}

/** The lines without their line feeds; a line that is longer than any of ours comes in pieces that are no lines. */
function* linesOf(path: string): Generator<{ readonly text: Buffer; readonly isWhole: boolean }> {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    let rest: Buffer = Buffer.alloc(0);
    const chunk = Buffer.alloc(CHUNK_BYTES);
    for (let count = readSync(fd, chunk); count > 0; count = readSync(fd, chunk)) {
      rest = Buffer.concat([rest, chunk.subarray(0, count)]);
      for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
        yield { text: rest.subarray(0, end), isWhole: true };
        rest = rest.subarray(end + 1);
      }
      if (rest.length > TAIL_BYTES) yield { text: rest, isWhole: false };
    }
    if (rest.length > 0) yield { text: rest, isWhole: false };
  } finally {
    closeSync(fd);
  }
}
