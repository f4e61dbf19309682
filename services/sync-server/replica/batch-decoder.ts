/**
 * From the bytes of a batch to checked changes. Everything in here is hostile until it has passed (rule 6 of the
 * design): sizes before allocation, paths, kinds, modes, times, digests. Knows neither index nor disk.
 */
import { type Digest, type DigestFunction, digestFromBytes, digestOf } from '../../../common/content/digest.ts';
import { decompressLiterals } from '../../../common/content/literals.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { decodeBatchMessage } from '../../../common/rpc/batch-codec.ts';
import {
  checkedMode,
  checkedMtime,
  checkedOwner,
  checkedSize,
  fromWireEntry,
  kindFromWire,
} from '../../../common/rpc/entry-codec.ts';
import { MODE_MASK } from '../../../common/tree/entry.ts';
import { ownerKey } from '../../../common/tree/owner.ts';
import { fromWirePath, isInside, isReserved, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import {
  CompressedBatch,
  type LinkFile,
  type PutFile,
  type SetMetadata,
  type Change as WireChange,
} from '../../../gen/lockstep/sync/v1/change.ts';
import { Compressor, type Delta, EntryKind, type Entry as WireEntry } from '../../../gen/lockstep/sync/v1/entry.ts';
import type { Change, CheckedDelta, ContentSource, DecodedBatch, DeltaPart, FileEntry } from './change.ts';
import { type ChangeFailure, invalid, invalidOf } from './change-failure.ts';
import type { ReplicaLimits } from './replica-options.ts';

export const BATCH_ID_BYTES = 16;

export interface DecoderOptions {
  readonly digestFunction: DigestFunction;
  readonly limits: ReplicaLimits;
}

/**
 * Contents and literals in the result are views of `encoded` (or of what it was decompressed into).
 * @throws LockstepError INVALID_ARGUMENT when it is no such message, LIMIT_EXCEEDED when it is too long or has too many changes
 */
export function decodeBatch(encoded: Uint8Array, form: 'batch' | 'compressed', options: DecoderOptions): DecodedBatch {
  const { limits } = options;
  const serialized = form === 'compressed' ? decompressed(encoded, limits.maxBatchBytes) : encoded;
  if (serialized.length > limits.maxBatchBytes) throw tooLong(serialized.length, limits.maxBatchBytes);
  const batch = decodedAs('batch', () => decodeBatchMessage(serialized));
  if (batch.batchId.length !== BATCH_ID_BYTES) {
    throw new LockstepError(
      'INVALID_ARGUMENT',
      `a batch id has ${batch.batchId.length} bytes instead of ${BATCH_ID_BYTES}`,
    );
  }
  if (batch.changes.length > limits.maxBatchChanges) {
    const message = `a batch has ${batch.changes.length} changes, more than ${limits.maxBatchChanges}`;
    throw new LockstepError('LIMIT_EXCEEDED', message);
  }
  return {
    batchId: Buffer.from(batch.batchId),
    changes: batch.changes.map((change) => checkedOrFailure(change, options)),
  };
}

function decompressed(encoded: Uint8Array, maxBytes: number): Uint8Array {
  const message = decodedAs('compressed batch', () => CompressedBatch.decode(encoded));
  if (message.compressor !== Compressor.COMPRESSOR_ZSTD) {
    throw new LockstepError('INVALID_ARGUMENT', `a batch names the unknown compressor ${message.compressor}`);
  }
  if (message.size > BigInt(maxBytes)) throw tooLong(message.size, maxBytes);
  const size = Number(message.size);
  const data = decompressLiterals(message.data, size);
  if (data.length !== size) {
    throw new LockstepError('INVALID_ARGUMENT', `a compressed batch declares ${size} bytes and has ${data.length}`);
  }
  return data;
}

function decodedAs<T>(what: string, decode: () => T): T {
  try {
    return decode();
  } catch (cause) {
    throw new LockstepError('INVALID_ARGUMENT', `the bytes are not a ${what}`, { cause });
  }
}

function tooLong(length: number | bigint, maxBytes: number): LockstepError {
  return new LockstepError('LIMIT_EXCEEDED', `a batch has ${length} bytes, more than ${maxBytes}`);
}

function checkedOrFailure(wire: WireChange, options: DecoderOptions): Change | ChangeFailure {
  try {
    return checkedChange(wire, options);
  } catch (error) {
    return invalidOf(error, ROOT);
  }
}

function checkedChange({ operation }: WireChange, options: DecoderOptions): Change {
  switch (operation?.$case) {
    case 'putFile':
      return checkedPut(operation.value, options);
    case 'makeDirectory': {
      const entry = checkedEntry(operation.value.entry, options.limits);
      if (entry.kind !== 'directory') throw notOfKind(entry.path, 'directory');
      return { operation: 'mkdir', entry };
    }
    case 'makeSymlink': {
      const entry = checkedEntry(operation.value.entry, options.limits);
      if (entry.kind !== 'symlink') throw notOfKind(entry.path, 'symbolic link');
      return { operation: 'symlink', entry };
    }
    case 'setMetadata':
      return checkedMetadata(operation.value, options.limits);
    case 'move':
      return {
        operation: 'move',
        from: checkedPath(operation.value.from, options.limits),
        to: checkedPath(operation.value.to, options.limits),
      };
    case 'delete':
      return { operation: 'delete', path: checkedPath(operation.value.path, options.limits) };
    case 'linkFile':
      return checkedLink(operation.value, options.limits);
    case undefined:
      throw invalid('INVALID_ARGUMENT', ROOT, 'a change has no operation that this server knows');
  }
}

function checkedPut(put: PutFile, options: DecoderOptions): Change {
  const { limits, digestFunction } = options;
  const wire = required(put.entry);
  if (put.content?.$case !== 'inline') {
    const entry = checkedFile(wire, limits);
    return { operation: 'put', entry, content: checkedSource(put, entry, limits) };
  }
  const data = put.content.value;
  if (data.length > limits.maxInlineBytes) {
    throw invalid(
      'LIMIT_EXCEEDED',
      ROOT,
      `an inline content has ${data.length} bytes, more than ${limits.maxInlineBytes}`,
    );
  }
  const digest = digestOf(digestFunction, data);
  const entry = checkedFile(wire.digest.length === 0 ? { ...wire, digest } : wire, limits);
  if (entry.sizeBytes !== data.length) {
    throw invalid('INVALID_ARGUMENT', entry.path, `a content has ${data.length} bytes instead of ${entry.sizeBytes}`);
  }
  if (!entry.digest.equals(digest)) {
    throw invalid(
      'DIGEST_MISMATCH',
      entry.path,
      'an inline content does not have the digest that was announced for it',
    );
  }
  return { operation: 'put', entry, content: { type: 'inline', data } };
}

function checkedLink(link: LinkFile, limits: ReplicaLimits): Change {
  const entry = checkedFile(required(link.entry), limits);
  const existing = checkedPath(link.existingPath, limits);
  // What is below the path would go before it could be linked.
  if (isInside(existing, entry.path)) {
    throw invalid('INVALID_ARGUMENT', entry.path, 'a path is to be linked to itself or to what is below it');
  }
  return { operation: 'link', entry, existing };
}

function checkedSource(put: PutFile, entry: FileEntry, limits: ReplicaLimits): ContentSource {
  switch (put.content?.$case) {
    case 'stored':
      return { type: 'stored' };
    case 'delta':
      return { type: 'delta', delta: checkedDelta(put.content.value, entry, limits) };
    default:
      throw invalid('INVALID_ARGUMENT', entry.path, 'a file is put without a content');
  }
}

function checkedDelta(delta: Delta, entry: FileEntry, limits: ReplicaLimits): CheckedDelta {
  const basisPath = delta.basisPath === '' ? entry.path : checkedPath(delta.basisPath, limits);
  const basisDigest = checkedDigest(delta.basisDigest, entry.path);
  let sizeBytes = 0;
  const segments = delta.segments.map((segment): DeltaPart => {
    const basisOffset = checkedSize(segment.basisOffset, entry.path);
    const copyLength = checkedSize(segment.copyLength, entry.path);
    sizeBytes += copyLength + segment.literal.length;
    // Summed step by step: no partial sum may leave the exact integers either.
    if (!Number.isSafeInteger(basisOffset + copyLength) || sizeBytes > entry.sizeBytes) {
      throw invalid('INVALID_ARGUMENT', entry.path, 'the ranges of a delta exceed its size');
    }
    return { basisOffset, copyLength, literal: segment.literal };
  });
  if (sizeBytes !== entry.sizeBytes) {
    throw invalid('INVALID_ARGUMENT', entry.path, `a delta makes ${sizeBytes} bytes instead of ${entry.sizeBytes}`);
  }
  return { basisDigest, basisPath, segments };
}

function checkedDigest(bytes: Uint8Array, path: TreePath): Digest {
  const digest = digestFromBytes(bytes);
  if (digest === undefined) throw invalid('INVALID_ARGUMENT', path, `a digest has ${bytes.length} bytes instead of 32`);
  return digest;
}

function checkedMetadata({ entry: wire }: SetMetadata, limits: ReplicaLimits): Change {
  const entry = required(wire);
  const path = entry.path === '' ? ROOT : checkedPath(entry.path, limits);
  const kind = kindFromWire(entry.kind, path);
  return {
    operation: 'metadata',
    path,
    kind,
    mode: kind === 'symlink' ? MODE_MASK : checkedMode(entry.mode, path),
    mtimeNs: checkedMtime(entry.mtimeNs, path),
    // The root belongs to who set the server up: what lies in it is the server's own.
    ...(path === ROOT ? {} : ownerKey(checkedOwner(entry.owner, path))),
  };
}

function checkedFile(wire: WireEntry, limits: ReplicaLimits): FileEntry {
  if (wire.kind !== EntryKind.ENTRY_KIND_FILE) throw notOfKind(fromWirePath(wire.path, limits), 'file');
  const entry = checkedEntry(wire, limits);
  if (entry.kind !== 'file') throw notOfKind(entry.path, 'file');
  if (entry.sizeBytes > limits.maxContentBytes) {
    throw invalid(
      'LIMIT_EXCEEDED',
      entry.path,
      `a content of ${entry.sizeBytes} bytes is longer than ${limits.maxContentBytes}`,
    );
  }
  return entry;
}

function checkedEntry(wire: WireEntry | undefined, limits: ReplicaLimits) {
  const entry = fromWireEntry(required(wire), limits);
  assertNameable(entry.path);
  return entry;
}

/** @throws INVALID_PATH; the root and the server's own directory cannot be named (E03) */
function checkedPath(wire: string, limits: ReplicaLimits): TreePath {
  const path = fromWirePath(wire, limits);
  assertNameable(path);
  return path;
}

function assertNameable(path: TreePath): void {
  if (path === ROOT) throw invalid('INVALID_PATH', path, "the folder's root cannot be put, moved or deleted");
  if (isReserved(path)) throw invalid('INVALID_PATH', ROOT, "the server's own directory is not part of the folder");
}

function required(entry: WireEntry | undefined): WireEntry {
  if (entry === undefined) throw invalid('INVALID_ARGUMENT', ROOT, 'a change has no entry');
  return entry;
}

function notOfKind(path: TreePath, kind: string): ChangeFailure {
  return invalid('INVALID_ARGUMENT', path, `the entry is not a ${kind}`);
}
