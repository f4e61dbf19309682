/**
 * A hand-written decoder for Batch, which gives what the generated one gives, at a third of its cost for the change that
 * a first sync consists of: a file with its content inside. Knows the message only, neither server nor client.
 */
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { Batch, Change } from '../../gen/lockstep/sync/v1/change.ts';
import type { Entry, EntryKind, Owner } from '../../gen/lockstep/sync/v1/entry.ts';

const BATCH_ID = 0x0a;
const BATCH_CHANGE = 0x12;
const CHANGE_PUT_FILE = 0x0a;
const PUT_ENTRY = 0x0a;
const PUT_INLINE = 0x12;
const ENTRY_PATH = 0x0a;
const ENTRY_KIND = 0x10;
const ENTRY_MODE = 0x18;
const ENTRY_MTIME_NS = 0x20;
const ENTRY_SIZE = 0x28;
const ENTRY_DIGEST = 0x32;
const ENTRY_OWNER = 0x42;
const OWNER_UID = 0x08;
const OWNER_GID = 0x10;
const OWNER_USER = 0x1a;
const OWNER_GROUP = 0x22;

const NO_BYTES = Buffer.alloc(0);

/**
 * Contents and digests are views of `message`. Whatever is not in the plain form that encoders write goes to the
 * generated decoder, change by change, so that what is valid and what it means is for that to say.
 * @throws what `Batch.decode` throws for bytes that are no Batch
 */
export function decodeBatchMessage(message: Uint8Array): Batch {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  const cursor = new Cursor(bytes);
  const reader = new BinaryReader(bytes);
  const batch: Batch = { batchId: NO_BYTES, changes: [] };
  while (cursor.at < bytes.length) {
    const tag = bytes[cursor.at++];
    const start = cursor.at;
    const end = cursor.endOfField(bytes.length);
    if (end === NONE) return Batch.decode(message);
    if (tag === BATCH_ID) {
      batch.batchId = bytes.subarray(cursor.at, end);
      cursor.at = end;
    } else if (tag === BATCH_CHANGE) {
      const change = plainPut(cursor, end);
      if (change === undefined) {
        reader.pos = start;
        batch.changes.push(Change.decode(reader, reader.uint32()));
        cursor.at = reader.pos;
      } else batch.changes.push(change);
    } else return Batch.decode(message);
  }
  return batch;
}

/** A change that puts a file with an inline content, and nothing else: else undefined, wherever the cursor is then. */
function plainPut(cursor: Cursor, end: number): Change | undefined {
  const { bytes } = cursor;
  if (bytes[cursor.at++] !== CHANGE_PUT_FILE || cursor.endOfField(end) !== end) return undefined;
  if (bytes[cursor.at++] !== PUT_ENTRY) return undefined;
  const entryEnd = cursor.endOfField(end);
  const entry = entryEnd === NONE ? undefined : plainEntry(cursor, entryEnd);
  if (entry === undefined || bytes[cursor.at++] !== PUT_INLINE || cursor.endOfField(end) !== end) return undefined;
  const value = bytes.subarray(cursor.at, end);
  cursor.at = end;
  return { operation: { $case: 'putFile', value: { entry, content: { $case: 'inline', value } } } };
}

/** An entry with an ASCII path and without a link's target. */
function plainEntry(cursor: Cursor, end: number): Entry | undefined {
  const { bytes } = cursor;
  const entry: Entry = {
    path: '',
    kind: 0,
    mode: 0,
    mtimeNs: 0n,
    size: 0n,
    digest: NO_BYTES,
    target: NO_BYTES,
    owner: undefined,
  };
  while (cursor.at < end) {
    const tag = bytes[cursor.at++];
    if (tag === ENTRY_PATH || tag === ENTRY_DIGEST) {
      const fieldEnd = cursor.endOfField(end);
      if (fieldEnd === NONE) return undefined;
      if (tag === ENTRY_DIGEST) entry.digest = bytes.subarray(cursor.at, fieldEnd);
      else if (isAscii(bytes, cursor.at, fieldEnd)) entry.path = bytes.toString('latin1', cursor.at, fieldEnd);
      else return undefined;
      cursor.at = fieldEnd;
    } else if (tag === ENTRY_MTIME_NS) {
      const mtimeNs = cursor.longVarint(end);
      if (mtimeNs === undefined) return undefined;
      entry.mtimeNs = mtimeNs;
    } else if (tag === ENTRY_OWNER) {
      const fieldEnd = cursor.endOfField(end);
      // Twice means merged, which is for the generated decoder to do.
      const owner = fieldEnd === NONE || entry.owner !== undefined ? undefined : plainOwner(cursor, fieldEnd);
      if (owner === undefined) return undefined;
      entry.owner = owner;
    } else {
      const value = cursor.varint(end);
      if (value === NONE) return undefined;
      if (tag === ENTRY_KIND) entry.kind = value as EntryKind;
      else if (tag === ENTRY_MODE) entry.mode = value;
      else if (tag === ENTRY_SIZE) entry.size = BigInt(value);
      else return undefined;
    }
  }
  return entry;
}

/** An owner with small numbers and ASCII names. */
function plainOwner(cursor: Cursor, end: number): Owner | undefined {
  const { bytes } = cursor;
  const owner: Owner = { uid: 0, gid: 0, user: '', group: '' };
  while (cursor.at < end) {
    const tag = bytes[cursor.at++];
    const value = cursor.varint(end);
    if (value === NONE) return undefined;
    if (tag === OWNER_UID) owner.uid = value;
    else if (tag === OWNER_GID) owner.gid = value;
    else if (tag === OWNER_USER || tag === OWNER_GROUP) {
      const textEnd = cursor.at + value;
      if (textEnd > end || !isAscii(bytes, cursor.at, textEnd)) return undefined;
      owner[tag === OWNER_USER ? 'user' : 'group'] = bytes.toString('latin1', cursor.at, textEnd);
      cursor.at = textEnd;
    } else return undefined;
  }
  return owner;
}

const NONE = -1;
/** Four groups of seven bits: what 32-bit arithmetic holds, and every length and small number that is plain. */
const MAX_VARINT_BYTES = 4;
const scratch = new DataView(new ArrayBuffer(8));

class Cursor {
  readonly bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** Where the field that begins with its length ends; NONE when that is beyond `limit`, or unusually long. */
  endOfField(limit: number): number {
    const length = this.varint(limit);
    return length === NONE || length > limit - this.at ? NONE : this.at + length;
  }

  /** NONE when it is cut off, or longer than MAX_VARINT_BYTES. */
  varint(limit: number): number {
    let value = 0;
    for (let index = 0; index < MAX_VARINT_BYTES && this.at < limit; index++) {
      const byte = this.bytes[this.at++] ?? 0;
      value |= (byte & 0x7f) << (7 * index);
      if (byte < 0x80) return value;
    }
    return NONE;
  }

  /** 0 to 2^63-1; undefined when it is cut off or negative, which takes ten bytes. */
  longVarint(limit: number): bigint | undefined {
    const groups = [0, 0, 0];
    for (let index = 0; index < 9 && this.at < limit; index++) {
      const byte = this.bytes[this.at++] ?? 0;
      const group = Math.trunc(index / MAX_VARINT_BYTES);
      groups[group] = (groups[group] ?? 0) | ((byte & 0x7f) << (7 * (index % MAX_VARINT_BYTES)));
      if (byte >= 0x80) continue;
      const [low = 0, middle = 0, high = 0] = groups;
      scratch.setInt32(0, low | (middle << 28), true);
      scratch.setInt32(4, (middle >>> 4) | (high << 24), true);
      return scratch.getBigInt64(0, true);
    }
    return undefined;
  }
}

function isAscii(bytes: Buffer, start: number, end: number): boolean {
  let bits = 0;
  for (let at = start; at < end; at++) bits |= bytes[at] ?? 0;
  return bits < 0x80;
}
