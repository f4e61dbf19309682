/**
 * What a batch is about, for the log: operation, path and size of each change. Looks only at those fields and copies
 * nothing, some microseconds a change, and a tenth of that for the operation alone; whether a batch is valid is for
 * the replica to say.
 */
import { decompressLiterals } from '../../../common/content/literals.ts';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { CompressedBatch } from '../../../gen/lockstep/sync/v1/change.ts';
import type { AppliedBatch } from '../replica/replica.ts';
import type { Limits } from './limits.ts';
import { ID_BYTES } from './wire-values.ts';

export const CHANGE_OPERATIONS = ['put', 'mkdir', 'symlink', 'metadata', 'move', 'delete', 'link'] as const;
export type ChangeOperationName = (typeof CHANGE_OPERATIONS)[number];

export interface ChangeSummary {
  readonly operation: ChangeOperationName;
  /** As the peer wrote it, unchecked; of a move the new one. */
  readonly path: string;
  /** Of a move, where the entry was. */
  readonly from: string | undefined;
  /** Of a file, the content's length in bytes. */
  readonly sizeBytes: number | undefined;
}

export interface BatchSummary {
  /** As the peer wrote it, in hexadecimal; empty when the bytes are no batch. */
  readonly batchId: string;
  /** By position. Empty when the bytes are no batch within the limits: then nothing is applied. */
  readonly changes: readonly ChangeSummary[];
}

const NO_BATCH: BatchSummary = { batchId: '', changes: [] };

/** `operations` leaves paths and sizes out: what the counters need when nothing is logged. */
export type SummaryDetail = 'all' | 'operations';

const SUMMARY_BYTES = 64;
const BATCH_ID = 1;
const BATCH_CHANGES = 2;
const COMPRESSED_SIZE = 2;
/** `PutFile.entry` and its like, `Move.from`, `Delete.path`. */
const FIRST_FIELD = 1;
const MOVE_TO = 2;
const ENTRY_PATH = 1;
const ENTRY_SIZE = 5;

export function summarizeBatch(
  encoded: Uint8Array,
  form: 'batch' | 'compressed',
  { maxBatchBytes, maxBatchChanges }: Pick<Limits, 'maxBatchBytes' | 'maxBatchChanges'>,
  detail: SummaryDetail = 'all',
): BatchSummary {
  const read = detail === 'all' ? readChange : readOperationName;
  try {
    const reader = new BinaryReader(form === 'batch' ? encoded : decompressed(encoded, maxBatchBytes));
    const changes: ChangeSummary[] = [];
    let batchId = '';
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field === BATCH_CHANGES) changes.push(read(reader, endOfMessage(reader)));
      else if (field === BATCH_ID) batchId = hexOf(reader.bytes());
      else reader.skip(wireType, field);
      if (changes.length > maxBatchChanges) return NO_BATCH;
    }
    return { batchId, changes };
  } catch {
    // The replica finds the same, and answers with what is wrong.
    return NO_BATCH;
  }
}

/** No more of it than a right one has: what is longer is refused. */
function hexOf(batchId: Uint8Array): string {
  return Buffer.from(batchId.buffer, batchId.byteOffset, Math.min(batchId.length, ID_BYTES)).toString('hex');
}

/** About what summaries take in memory, for whoever keeps them. A change of some bytes has one of this size, and paths. */
export function summariesBytes(changes: readonly ChangeSummary[]): number {
  let bytes = 0;
  for (const { path, from = '' } of changes) bytes += SUMMARY_BYTES + path.length + from.length;
  return bytes;
}

/** Those of a batch's changes that its answer does not name as a problem. */
export function appliedChanges(
  changes: readonly ChangeSummary[],
  { problems }: Pick<AppliedBatch, 'problems'>,
): readonly ChangeSummary[] {
  if (problems.length === 0) return changes;
  const refused = new Set(problems.map(({ index }) => index));
  return changes.filter((_, index) => !refused.has(index));
}

/** How long a batch is without compression, in bytes, as its sender says; for counting. */
export function plainBatchBytes(encoded: Uint8Array, form: 'batch' | 'compressed', maxBatchBytes: number): number {
  if (form === 'batch') return encoded.length;
  try {
    const reader = new BinaryReader(encoded);
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field === COMPRESSED_SIZE) return Math.min(Number(reader.uint64()), maxBatchBytes);
      reader.skip(wireType, field);
    }
  } catch {
    // The replica finds the same, and answers with what is wrong.
  }
  return encoded.length;
}

function decompressed(encoded: Uint8Array, maxBatchBytes: number): Uint8Array {
  const { data } = CompressedBatch.decode(encoded);
  return decompressLiterals(data, maxBatchBytes);
}

/** Fields of a Change have the numbers 1 to 7, in the order of the names. */
function readChange(reader: BinaryReader, end: number): ChangeSummary {
  let summary = UNKNOWN_OPERATION;
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    const operation = CHANGE_OPERATIONS[field - 1];
    if (operation === undefined) reader.skip(wireType, field);
    else summary = readOperation(reader, endOfMessage(reader), operation);
  }
  return summary;
}

const NO_DETAILS: ReadonlyMap<ChangeOperationName, ChangeSummary> = new Map(
  CHANGE_OPERATIONS.map((operation) => [operation, { operation, path: '', from: undefined, sizeBytes: undefined }]),
);
const UNKNOWN_OPERATION: ChangeSummary = { operation: 'put', path: '', from: undefined, sizeBytes: undefined };

function readOperationName(reader: BinaryReader, end: number): ChangeSummary {
  let summary = UNKNOWN_OPERATION;
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    const operation = CHANGE_OPERATIONS[field - 1];
    if (operation !== undefined) summary = NO_DETAILS.get(operation) ?? summary;
    reader.skip(wireType, field);
  }
  return summary;
}

function readOperation(reader: BinaryReader, end: number, operation: ChangeOperationName): ChangeSummary {
  let path = '';
  let from: string | undefined;
  let sizeBytes: number | undefined;
  while (reader.pos < end) {
    const [field, wireType] = reader.tag();
    if (operation === 'move' && field === FIRST_FIELD) from = reader.string();
    else if ((operation === 'move' && field === MOVE_TO) || (operation === 'delete' && field === FIRST_FIELD)) {
      path = reader.string();
    } else if (field === FIRST_FIELD) {
      const entryEnd = endOfMessage(reader);
      while (reader.pos < entryEnd) {
        const [entryField, entryWireType] = reader.tag();
        if (entryField === ENTRY_PATH) path = reader.string();
        else if (entryField === ENTRY_SIZE) sizeBytes = Number(reader.uint64());
        else reader.skip(entryWireType, entryField);
      }
    } else reader.skip(wireType, field);
  }
  return { operation, path, from, sizeBytes: operation === 'put' ? (sizeBytes ?? 0) : undefined };
}

function endOfMessage(reader: BinaryReader): number {
  const length = reader.uint32();
  return reader.pos + length;
}
