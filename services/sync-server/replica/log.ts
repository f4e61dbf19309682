/**
 * The write-ahead log: segments of records, appended, synced once per group of batches, and removed when a checkpoint
 * has made the replica itself durable. Knows records, not what they mean.
 */
import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writevSync,
} from 'node:fs';
import { join } from 'node:path';
import { syncDirectory } from '../../../common/fs/atomic-file.ts';
import { fdatasync } from '../../../common/fs/descriptor.ts';
import { errnoError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { LogReserve } from './log-reserve.ts';
import { decodeRecordAt, encodeRecord, hasRecordBehind, type LogRecord } from './log-record.ts';
import type { AppliedProblem } from './replica.ts';

/** Linux' IOV_MAX is 1024. */
const MAX_PIECES = 1_000;
const SEGMENT_PATTERN = /^(\d{8})\.log$/;

/** What opening the log found. */
export interface LogFindings {
  /** True when records before the tail are unreadable: history was lost (E91). */
  readonly isDamaged: boolean;
  /** Bytes of a torn tail that were cut (E90). */
  readonly tornBytes: number;
}

export class Log {
  readonly findings: LogFindings;
  readonly #directory: string;
  #segments: number[];
  #fd: number;
  #segmentBytes: number;
  /** Of the newest segment; the older ones are synced as a whole. What was found when opening counts as not synced. */
  #syncedBytes = 0;
  #olderBytes: number;
  #pending: Uint8Array[] = [];
  readonly #reserve: LogReserve;
  /** Set by a failed sync: what the kernel dropped cannot be known, so nothing is believed any more (E86). */
  #failure: LockstepError | undefined;
  /** What is to be written once more, until that has succeeded: the segment that had it may be cut back already. */
  #unmended: Uint8Array | undefined;

  private constructor(directory: string, segments: number[], findings: LogFindings) {
    this.#directory = directory;
    this.#segments = segments;
    this.findings = findings;
    this.#reserve = new LogReserve(directory);
    this.#fd = openSync(
      this.#pathOf(this.#newest()),
      constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT,
      0o600,
    );
    this.#segmentBytes = fstatSync(this.#fd).size;
    this.#olderBytes = segments.slice(0, -1).reduce((sum, segment) => sum + sizeOf(this.#pathOf(segment)), 0);
  }

  /**
   * Opens the log, or begins one. A torn tail is cut off; damage before the tail ends what `records` gives, and what
   * lies behind it is set aside in files named `….damaged`.
   */
  static open(directory: string): Log {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const found = segmentsIn(directory);
    const { valid, findings } = examine(directory, found);
    const isNew = valid.length === 0;
    const log = new Log(directory, isNew ? [(found.at(-1) ?? 0) + 1] : valid, findings);
    syncDirectory(directory);
    return log;
  }

  /** Bytes that a recovery would read. */
  get sizeBytes(): number {
    return this.#olderBytes + this.#segmentBytes;
  }

  get segmentBytes(): number {
    return this.#segmentBytes;
  }

  /** All records, oldest first; their contents are views of a segment's bytes. Nothing may be appended meanwhile. */
  *records(): Generator<LogRecord, void, void> {
    for (const segment of this.#segments) {
      const bytes = readFileSync(this.#pathOf(segment));
      for (let placed = decodeRecordAt(bytes, 0); placed !== undefined; placed = decodeRecordAt(bytes, placed.end)) {
        yield placed.record;
      }
    }
  }

  /** Takes a record in. It is on its way to the disk after `write`, and there after `sync`. */
  append(record: LogRecord): void {
    this.#pending.push(...encodeRecord(record));
  }

  /**
   * Gives all appended records to the operating system.
   * @throws NO_SPACE, IO …; then none of them is in the log
   */
  write(): void {
    this.#assertSound();
    if (this.#pending.length === 0) return;
    const pieces = this.#pending;
    this.#pending = [];
    try {
      this.#writePieces(pieces);
    } catch (error) {
      // Deletes must still find room to be recorded, or the disk stays full for ever (E88).
      if (!this.#reserve.release()) throw errnoError('write the log', error);
      try {
        this.#writePieces(pieces);
      } catch (again) {
        throw errnoError('write the log', again);
      }
    }
    for (const piece of pieces) this.#segmentBytes += piece.length;
  }

  /** Forgets what was appended and not written. */
  discard(): void {
    this.#pending = [];
  }

  /** Makes everything written durable. @throws IO; the log is unusable from then on */
  sync(): void {
    this.#assertSound();
    try {
      fdatasync(this.#fd);
    } catch (error) {
      if (errnoOf(error) !== 'EINVAL') {
        const message = `syncing the log failed (${errnoOf(error)}): the disk may have lost data`;
        this.#failure = new LockstepError('IO', message, { cause: error });
        throw this.#failure;
      }
    }
    this.#syncedBytes = this.#segmentBytes;
  }

  /**
   * After a failure: what was not synced is written once more, into a new segment, because syncing again could
   * succeed without the data that the kernel dropped (E86).
   * @throws IO …; then the log is as unusable as before
   */
  mend(): void {
    if (this.#failure === undefined) return;
    const next = this.#newest() + 1;
    const [old, mending] = [this.#pathOf(this.#newest()), `${this.#pathOf(next)}.mending`];
    let fd = -1;
    try {
      this.#unmended ??= readFileSync(old).subarray(this.#syncedBytes, this.#segmentBytes);
      fd = openSync(mending, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_TRUNC, 0o600);
      writeAll(fd, [this.#unmended]);
      fdatasync(fd);
      // The same records must never stand in two segments. A crash behind this loses what was never said to be durable.
      truncateSync(old, this.#syncedBytes);
      fdatasync(this.#fd);
      renameSync(mending, this.#pathOf(next));
      syncDirectory(this.#directory);
    } catch (error) {
      if (fd >= 0) closeSync(fd);
      throw errnoError('mend the log', error);
    }
    this.#segments.push(next);
    this.#olderBytes += this.#syncedBytes;
    closeSync(this.#fd);
    this.#fd = fd;
    this.#segmentBytes = this.#unmended.length;
    this.#syncedBytes = this.#unmended.length;
    this.#unmended = undefined;
    this.#failure = undefined;
  }

  /** Begins a new segment; returns its number, for `removeBefore`. @throws as `sync` */
  rotate(): number {
    // A sync of the new segment says nothing about this one.
    if (this.#syncedBytes < this.#segmentBytes) this.sync();
    const next = this.#newest() + 1;
    const fd = openSync(this.#pathOf(next), constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT, 0o600);
    try {
      syncDirectory(this.#directory);
    } catch (error) {
      // The old segment goes on, and only the newest may end in the middle of a record.
      closeSync(fd);
      rmSync(this.#pathOf(next), { force: true });
      throw error;
    }
    closeSync(this.#fd);
    this.#fd = fd;
    this.#segments.push(next);
    this.#olderBytes += this.#segmentBytes;
    this.#segmentBytes = 0;
    this.#syncedBytes = 0;
    return next;
  }

  /** Removes the segments before this one: all that they say is durable elsewhere. */
  removeBefore(segment: number): void {
    const [old, kept] = [this.#segments.filter((s) => s < segment), this.#segments.filter((s) => s >= segment)];
    for (const number of old) {
      this.#olderBytes -= sizeOf(this.#pathOf(number));
      rmSync(this.#pathOf(number));
    }
    this.#segments = kept;
    this.#reserve.restore();
  }

  close(): void {
    if (this.#fd < 0) return;
    closeSync(this.#fd);
    this.#fd = -1;
  }

  #newest(): number {
    const newest = this.#segments.at(-1);
    if (newest === undefined) throw new LockstepError('INTERNAL', 'the log has no segment');
    return newest;
  }

  #pathOf(segment: number): string {
    return pathOf(this.#directory, segment);
  }

  #writePieces(pieces: readonly Uint8Array[]): void {
    try {
      for (let at = 0; at < pieces.length; at += MAX_PIECES) writeAll(this.#fd, pieces.slice(at, at + MAX_PIECES));
    } catch (error) {
      this.#cutBack();
      throw error;
    }
  }

  /** Half a group must not stay: the next one would stand behind garbage. */
  #cutBack(): void {
    try {
      // By its path, because Windows does not cut through a handle that only appends.
      truncateSync(this.#pathOf(this.#newest()), this.#segmentBytes);
    } catch (cause) {
      this.#failure = new LockstepError('IO', 'the log cannot be cut back after a failed write', { cause });
    }
  }

  #assertSound(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** Changes that the disk did not take, by the revision of their batch. */
export function failuresIn(log: Log): ReadonlyMap<bigint, readonly AppliedProblem[]> {
  const failures = new Map<bigint, readonly AppliedProblem[]>();
  for (const record of log.records()) if (record.type === 'outcome') failures.set(record.revision, record.failed);
  return failures;
}

function examine(directory: string, segments: readonly number[]): { valid: number[]; findings: LogFindings } {
  const valid: number[] = [];
  let expected: bigint | undefined;
  let tornBytes = 0;
  for (const [index, segment] of segments.entries()) {
    const path = pathOf(directory, segment);
    const bytes = readFileSync(path);
    let end = 0;
    let isContinuous = true;
    for (let placed = decodeRecordAt(bytes, 0); placed !== undefined; placed = decodeRecordAt(bytes, end)) {
      const { record } = placed;
      if (record.type !== 'outcome') {
        isContinuous = expected === undefined || record.revision === expected;
        if (!isContinuous) break;
        expected = record.revision + 1n;
      }
      end = placed.end;
    }
    valid.push(segment);
    if (isContinuous && end === bytes.length) continue;
    const isTail = isContinuous && index === segments.length - 1 && !hasRecordBehind(bytes, end);
    if (isTail) tornBytes = bytes.length - end;
    else setAside(directory, segments.slice(index), end);
    truncateSync(path, end);
    return { valid, findings: { isDamaged: !isTail, tornBytes } };
  }
  return { valid, findings: { isDamaged: false, tornBytes } };
}

/** Keeps what cannot be used for whoever wants to look at it; the folder is rebuilt from the replica instead. */
function setAside(directory: string, segments: readonly number[], end: number): void {
  for (const [index, segment] of segments.entries()) {
    const path = pathOf(directory, segment);
    const bytes = readFileSync(path);
    const fd = openSync(`${path}.damaged`, 'w', 0o600);
    try {
      writeAll(fd, [index === 0 ? bytes.subarray(end) : bytes]);
    } finally {
      closeSync(fd);
    }
    if (index > 0) rmSync(path);
  }
}

function writeAll(fd: number, pieces: readonly Uint8Array[]): void {
  let rest = pieces.filter((piece) => piece.length > 0);
  while (rest.length > 0) {
    let written = writevSync(fd, rest);
    if (written === 0) throw new LockstepError('IO', 'a write to the log wrote nothing');
    let whole = 0;
    for (let piece = rest[0]; piece !== undefined && written >= piece.length; piece = rest[whole]) {
      written -= piece.length;
      whole++;
    }
    const torn = rest[whole];
    rest = rest.slice(whole);
    if (torn !== undefined && written > 0) rest[0] = torn.subarray(written);
  }
}

function segmentsIn(directory: string): number[] {
  const numbers: number[] = [];
  for (const name of readdirSync(directory)) {
    const match = SEGMENT_PATTERN.exec(name);
    if (match?.[1] !== undefined) numbers.push(Number(match[1]));
  }
  return numbers.sort((a, b) => a - b);
}

function pathOf(directory: string, segment: number): string {
  return join(directory, `${String(segment).padStart(8, '0')}.log`);
}

function sizeOf(path: string): number {
  const fd = openSync(path, 'r');
  try {
    return fstatSync(fd).size;
  } finally {
    closeSync(fd);
  }
}
