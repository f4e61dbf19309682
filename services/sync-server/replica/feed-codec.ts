/**
 * A revision of the change feed as bytes: compact, because it is written for every change, and decoded only for
 * whoever watches. Pure; the file format of change-feed.ts.
 */
import { DIGEST_BYTES, type Digest } from '../../../common/content/digest.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { Entry } from '../../../common/tree/entry.ts';
import { ownerLength, readOwner, writeOwner } from '../../../common/tree/owner.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { FeedChange } from './replica.ts';

export interface FeedRevision {
  readonly revision: bigint;
  readonly timeNs: bigint;
  readonly changes: readonly FeedChange[];
}

const MAGIC = 0x4c6b4664;
const HEADER_BYTES = 28;
const OPERATIONS = ['put', 'metadata', 'move', 'delete', 'drift'] as const;
const KINDS = ['file', 'directory', 'symlink'] as const;
/** Added to the kind where an owner follows the entry; older feeds have none. */
const HAS_OWNER = 0x80;
/** Operation, kind, mode, mtime, size, lengths of path, source path and target. */
const FIXED_BYTES = 1 + 1 + 2 + 8 + 8 + 4 + 4 + 2;

export function encodeRevision({ revision, timeNs, changes }: FeedRevision): Buffer {
  let length = HEADER_BYTES;
  for (const change of changes) length += lengthOf(change);
  const bytes = Buffer.allocUnsafeSlow(length);
  let at = bytes.writeUInt32LE(MAGIC, 0);
  at = bytes.writeUInt32LE(length, at);
  at = bytes.writeBigUInt64LE(revision, at);
  at = bytes.writeBigInt64LE(timeNs, at);
  at = bytes.writeUInt32LE(changes.length, at);
  for (const change of changes) at = writeChange(bytes, at, change);
  return bytes;
}

function lengthOf(change: FeedChange): number {
  switch (change.operation) {
    case 'delete':
    case 'drift':
      return FIXED_BYTES + change.path.length;
    case 'put':
    case 'metadata':
      return FIXED_BYTES + entryLength(change.entry);
    case 'move':
      return FIXED_BYTES + entryLength(change.entry) + change.from.length;
  }
}

function entryLength(entry: Entry): number {
  const length = entry.path.length + (entry.owner === undefined ? 0 : ownerLength(entry.owner));
  if (entry.kind === 'file') return length + DIGEST_BYTES;
  return length + (entry.kind === 'symlink' ? entry.target.length : 0);
}

function writeChange(bytes: Buffer, start: number, change: FeedChange): number {
  const entry = 'entry' in change ? change.entry : undefined;
  const path = entry?.path ?? ('path' in change ? change.path : '');
  const from = change.operation === 'move' ? change.from : '';
  const target = entry?.kind === 'symlink' ? entry.target : undefined;
  let at = bytes.writeUInt8(OPERATIONS.indexOf(change.operation), start);
  const owned = entry?.owner === undefined ? 0 : HAS_OWNER;
  at = bytes.writeUInt8(entry === undefined ? 0 : KINDS.indexOf(entry.kind) | owned, at);
  at = bytes.writeUInt16LE(entry === undefined || entry.kind === 'symlink' ? 0 : entry.mode, at);
  at = bytes.writeBigInt64LE(entry?.mtimeNs ?? 0n, at);
  at = bytes.writeDoubleLE(entry?.kind === 'file' ? entry.sizeBytes : 0, at);
  at = bytes.writeUInt32LE(path.length, at);
  at = bytes.writeUInt32LE(from.length, at);
  at = bytes.writeUInt16LE(target?.length ?? 0, at);
  at += bytes.write(path, at, 'latin1');
  at += bytes.write(from, at, 'latin1');
  if (entry?.kind === 'file') at += entry.digest.copy(bytes, at);
  if (target !== undefined) at += target.copy(bytes, at);
  if (entry?.owner !== undefined) at = writeOwner(bytes, at, entry.owner);
  return at;
}

/** The length of the whole revision that begins at `start`; undefined when there is none. */
export function revisionLengthAt(bytes: Buffer, start: number): number | undefined {
  if (start + HEADER_BYTES > bytes.length || bytes.readUInt32LE(start) !== MAGIC) return undefined;
  const length = bytes.readUInt32LE(start + 4);
  return length < HEADER_BYTES || start + length > bytes.length ? undefined : length;
}

export function decodeRevision(bytes: Buffer, start: number): FeedRevision {
  const revision = bytes.readBigUInt64LE(start + 8);
  const timeNs = bytes.readBigInt64LE(start + 16);
  const count = bytes.readUInt32LE(start + 24);
  const changes: FeedChange[] = [];
  let at = start + HEADER_BYTES;
  for (let index = 0; index < count; index++) {
    const { change, end } = readChange(bytes, at);
    changes.push(change);
    at = end;
  }
  return { revision, timeNs, changes };
}

function readChange(bytes: Buffer, start: number): { change: FeedChange; end: number } {
  const operation = OPERATIONS[bytes.readUInt8(start)];
  const kindCode = bytes.readUInt8(start + 1);
  const kind = KINDS[kindCode & ~HAS_OWNER];
  const mode = bytes.readUInt16LE(start + 2);
  const mtimeNs = bytes.readBigInt64LE(start + 4);
  const sizeBytes = bytes.readDoubleLE(start + 12);
  const pathEnd = start + FIXED_BYTES + bytes.readUInt32LE(start + 20);
  const fromEnd = pathEnd + bytes.readUInt32LE(start + 24);
  const targetLength = bytes.readUInt16LE(start + 28);
  const path = bytes.toString('latin1', start + FIXED_BYTES, pathEnd) as TreePath;
  const from = bytes.toString('latin1', pathEnd, fromEnd) as TreePath;
  switch (operation) {
    case 'delete':
    case 'drift':
      return { change: { operation, path }, end: fromEnd };
    case undefined:
      throw damagedFeed();
    default:
      break;
  }
  const recordEnd = fromEnd + (kind === 'file' ? DIGEST_BYTES : targetLength);
  const rest = Buffer.from(bytes.subarray(fromEnd, recordEnd));
  const isOwned = (kindCode & HAS_OWNER) !== 0;
  const owner = isOwned ? readOwner(bytes, recordEnd) : undefined;
  if (isOwned && owner === undefined) throw damagedFeed();
  const end = recordEnd + (owner === undefined ? 0 : ownerLength(owner));
  const plain: Entry =
    kind === 'file'
      ? { path, kind, mode, mtimeNs, sizeBytes, digest: rest as Digest }
      : kind === 'symlink'
        ? { path, kind, mtimeNs, target: rest }
        : { path, kind: 'directory', mode, mtimeNs };
  const entry = owner === undefined ? plain : { ...plain, owner };
  return { change: operation === 'move' ? { operation, entry, from } : { operation, entry }, end };
}

function damagedFeed(): LockstepError {
  return new LockstepError('COMPACTED', 'the change feed is damaged; list again');
}
