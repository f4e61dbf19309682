/**
 * The log's records as bytes. A record is valid as a whole or not at all (E90): a header with magic, type, length
 * and CRC-32 (over all but the CRC itself), then the payload. Pure.
 */
import { crc32 } from 'node:zlib';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { AppliedProblem } from './replica.ts';

export type LogRecord = BatchRecord | OutcomeRecord | DriftRecord;

/** A batch that was accepted: what makes it durable. */
export interface BatchRecord {
  readonly type: 'batch';
  readonly revision: bigint;
  readonly lease: bigint;
  /** When, by the server's clock, since 1970. */
  readonly timeNs: bigint;
  readonly form: 'batch' | 'compressed';
  /** Changes that were refused before anything was done; all others were meant to be applied. */
  readonly refused: readonly AppliedProblem[];
  /** The batch, as it came. */
  readonly encoded: Uint8Array;
}

/** Changes of a logged batch that then failed on the disk. Not synced by itself: replaying them meets the same failure. */
export interface OutcomeRecord {
  readonly type: 'outcome';
  readonly revision: bigint;
  readonly failed: readonly AppliedProblem[];
}

/** A revision that no batch made: the index was corrected to what the disk has. */
export interface DriftRecord {
  readonly type: 'drift';
  readonly revision: bigint;
  readonly timeNs: bigint;
  readonly paths: readonly TreePath[];
}

/** "LkLg" */
const MAGIC = 0x4c6b4c67;
export const HEADER_BYTES = 16;
const LENGTH_AT = 8;
const CRC_AT = 12;
const TYPES = { batch: 1, outcome: 2, drift: 3 } as const;
const NO_BYTES = Buffer.alloc(0);
const FORMS = { batch: 0, compressed: 1 } as const;

/** The record in one to two pieces; the last is the batch itself, not copied. */
export function encodeRecord(record: LogRecord): Uint8Array[] {
  switch (record.type) {
    case 'batch': {
      const refused = encodeProblems(record.refused);
      const head = Buffer.allocUnsafe(HEADER_BYTES + 32 + refused.length);
      let at = head.writeBigUInt64LE(record.revision, HEADER_BYTES);
      at = head.writeBigUInt64LE(record.lease, at);
      at = head.writeBigInt64LE(record.timeNs, at);
      at = head.writeUInt32LE(FORMS[record.form], at);
      at = head.writeUInt32LE(refused.length, at);
      refused.copy(head, at);
      return sealed(TYPES.batch, head, record.encoded);
    }
    case 'outcome': {
      const failed = encodeProblems(record.failed);
      const head = Buffer.allocUnsafe(HEADER_BYTES + 12);
      head.writeUInt32LE(failed.length, head.writeBigUInt64LE(record.revision, HEADER_BYTES));
      return sealed(TYPES.outcome, head, failed);
    }
    case 'drift': {
      // NUL cannot be part of a path.
      const paths = Buffer.from(record.paths.join('\0'), 'latin1');
      const head = Buffer.allocUnsafe(HEADER_BYTES + 20);
      let at = head.writeBigUInt64LE(record.revision, HEADER_BYTES);
      at = head.writeBigInt64LE(record.timeNs, at);
      head.writeUInt32LE(record.paths.length, at);
      return sealed(TYPES.drift, head, paths);
    }
  }
}

/** Paths are latin1 strings, which JSON carries as they are. */
function encodeProblems(problems: readonly AppliedProblem[]): Buffer {
  return problems.length === 0 ? NO_BYTES : Buffer.from(JSON.stringify(problems));
}

function sealed(type: number, head: Buffer, rest?: Uint8Array): Uint8Array[] {
  head.writeUInt32LE(MAGIC, 0);
  head.writeUInt32LE(type, 4);
  head.writeUInt32LE(head.length - HEADER_BYTES + (rest?.length ?? 0), LENGTH_AT);
  let crc = crc32(head.subarray(HEADER_BYTES), crc32(head.subarray(0, CRC_AT)));
  if (rest !== undefined) crc = crc32(rest, crc);
  head.writeUInt32LE(crc, CRC_AT);
  return rest === undefined || rest.length === 0 ? [head] : [head, rest];
}

export interface PlacedRecord {
  readonly record: LogRecord;
  /** Where the next one begins. */
  readonly end: number;
}

/** The record at `start`; undefined when there is no valid one. */
export function decodeRecordAt(buffer: Buffer, start: number): PlacedRecord | undefined {
  if (start + HEADER_BYTES > buffer.length || buffer.readUInt32LE(start) !== MAGIC) return undefined;
  const length = buffer.readUInt32LE(start + LENGTH_AT);
  const end = start + HEADER_BYTES + length;
  if (end > buffer.length) return undefined;
  const payload = buffer.subarray(start + HEADER_BYTES, end);
  if (crc32(payload, crc32(buffer.subarray(start, start + CRC_AT))) !== buffer.readUInt32LE(start + CRC_AT))
    return undefined;
  return { record: decodePayload(buffer.readUInt32LE(start + 4), payload), end };
}

/** Whether a valid record begins anywhere behind `start`: then what is at `start` is damage, not a torn tail (E91). */
export function hasRecordBehind(buffer: Buffer, start: number): boolean {
  const magic = Buffer.alloc(4);
  magic.writeUInt32LE(MAGIC);
  for (let at = buffer.indexOf(magic, start + 1); at >= 0; at = buffer.indexOf(magic, at + 1)) {
    if (decodeRecordAt(buffer, at) !== undefined) return true;
  }
  return false;
}

function decodePayload(type: number, payload: Buffer): LogRecord {
  const revision = payload.readBigUInt64LE(0);
  switch (type) {
    case TYPES.batch: {
      const refusedEnd = 32 + payload.readUInt32LE(28);
      return {
        type: 'batch',
        revision,
        lease: payload.readBigUInt64LE(8),
        timeNs: payload.readBigInt64LE(16),
        form: payload.readUInt32LE(24) === FORMS.compressed ? 'compressed' : 'batch',
        refused: decodeProblems(payload.subarray(32, refusedEnd)),
        encoded: payload.subarray(refusedEnd),
      };
    }
    case TYPES.outcome:
      return { type: 'outcome', revision, failed: decodeProblems(payload.subarray(12)) };
    case TYPES.drift: {
      const count = payload.readUInt32LE(16);
      const paths = count === 0 ? [] : (payload.toString('latin1', 20).split('\0') as TreePath[]);
      return { type: 'drift', revision, timeNs: payload.readBigInt64LE(8), paths };
    }
    default:
      // Its CRC is right: another version of this program wrote it.
      throw new LockstepError('LOG_DAMAGED', `the log has a record of the unknown type ${type}`);
  }
}

function decodeProblems(bytes: Buffer): readonly AppliedProblem[] {
  // Its CRC is right, so this program wrote it.
  return bytes.length === 0 ? [] : (JSON.parse(bytes.toString('utf8')) as AppliedProblem[]);
}
