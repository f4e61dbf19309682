/**
 * Writes a serialized `Batch` message straight into the buffer that is sent, file contents included: they are read
 * from disk into their final place, and never copied. The layout is that of proto/lockstep/sync/v1/change.proto; a
 * property test holds it against the generated code.
 */
import { EntryKind, Owner as WireOwner } from '../../../gen/lockstep/sync/v1/entry.ts';
import type { Digest } from '../../../common/content/digest.ts';
import type { EntryRecord, FileRecord } from '../../../common/tree/entry.ts';
import type { MayHaveOwner, Owner } from '../../../common/tree/owner.ts';
import { type TreePath, toWirePath } from '../../../common/tree/tree-path.ts';

const BATCH_ID_BYTES = 16;
const DIGEST_BYTES = 32;

/** Tags: field number * 8 + wire type. */
const VARINT = 0;
const LENGTH_DELIMITED = 2;
const tag = (field: number, wireType: number): number => field * 8 + wireType;
const BATCH_ID = tag(1, LENGTH_DELIMITED);
const BATCH_CHANGES = tag(2, LENGTH_DELIMITED);
const CHANGE_PUT_FILE = tag(1, LENGTH_DELIMITED);
const CHANGE_MAKE_DIRECTORY = tag(2, LENGTH_DELIMITED);
const CHANGE_MAKE_SYMLINK = tag(3, LENGTH_DELIMITED);
const CHANGE_SET_METADATA = tag(4, LENGTH_DELIMITED);
const CHANGE_MOVE = tag(5, LENGTH_DELIMITED);
const CHANGE_DELETE = tag(6, LENGTH_DELIMITED);
const CHANGE_LINK_FILE = tag(7, LENGTH_DELIMITED);
const HOLDER_ENTRY = tag(1, LENGTH_DELIMITED);
const PUT_INLINE = tag(2, LENGTH_DELIMITED);
const PUT_STORED = tag(3, LENGTH_DELIMITED);
const PUT_DELTA = tag(4, LENGTH_DELIMITED);
const ENTRY_PATH = tag(1, LENGTH_DELIMITED);
const ENTRY_KIND = tag(2, VARINT);
const ENTRY_MODE = tag(3, VARINT);
const ENTRY_MTIME_NS = tag(4, VARINT);
const ENTRY_SIZE = tag(5, VARINT);
const ENTRY_DIGEST = tag(6, LENGTH_DELIMITED);
const ENTRY_TARGET = tag(7, LENGTH_DELIMITED);
const ENTRY_OWNER = tag(8, LENGTH_DELIMITED);
const LINK_EXISTING = tag(2, LENGTH_DELIMITED);
const MOVE_FROM = tag(1, LENGTH_DELIMITED);
const MOVE_TO = tag(2, LENGTH_DELIMITED);
const DELETE_PATH = tag(1, LENGTH_DELIMITED);

/** What a file's record says before its content was read. */
export interface FileHead extends MayHaveOwner {
  readonly mode: number;
  readonly mtimeNs: bigint;
  readonly sizeBytes: number;
}

/** Most bytes that one change takes beside its path, its target and its content. */
const CHANGE_OVERHEAD_BYTES = 160;

export class BatchWriter {
  readonly batchId: Buffer;
  #buffer: Buffer;
  #position = 0;
  #changes = 0;

  /** `capacityBytes` is where to begin; the buffer grows when a change does not fit. */
  constructor(batchId: Buffer, capacityBytes: number) {
    this.batchId = batchId;
    this.#buffer = Buffer.allocUnsafeSlow(capacityBytes + BATCH_ID_BYTES + 2);
    this.#byte(BATCH_ID);
    this.#bytes(batchId);
  }

  get sizeBytes(): number {
    return this.#position;
  }

  get changes(): number {
    return this.#changes;
  }

  /**
   * A file with its content. `read` puts exactly `head.sizeBytes` bytes into the given buffer at the given place, behind
   * which one byte more may be touched, and returns the digest, or undefined when the change is not to be written
   * after all.
   */
  putInline(path: TreePath, head: FileHead, read: (buffer: Buffer, offset: number) => Digest | undefined): boolean {
    const wirePath = toWirePath(path);
    const pathBytes = Buffer.byteLength(wirePath);
    const entryBytes = fileEntryBytes(pathBytes, head);
    const contentBytes = 1 + varintBytes(head.sizeBytes) + head.sizeBytes;
    const start = this.#begin(CHANGE_PUT_FILE, holderBytes(entryBytes) + contentBytes);
    const digestAt = this.#fileEntry(wirePath, pathBytes, entryBytes, head);
    this.#byte(PUT_INLINE);
    this.#varint(head.sizeBytes);
    const digest = read(this.#buffer, this.#position);
    if (digest === undefined) {
      this.#position = start;
      return false;
    }
    this.#buffer.set(digest, digestAt);
    this.#position += head.sizeBytes;
    this.#changes++;
    return true;
  }

  /** A file whose content the server has, or will build from a delta: `delta` is a serialized `Delta`. */
  putStored(path: TreePath, head: FileHead, digest: Digest, delta?: Uint8Array): void {
    const wirePath = toWirePath(path);
    const pathBytes = Buffer.byteLength(wirePath);
    const entryBytes = fileEntryBytes(pathBytes, head);
    const source = delta ?? NO_BYTES;
    this.#begin(CHANGE_PUT_FILE, holderBytes(entryBytes) + lengthDelimitedBytes(source.length));
    const digestAt = this.#fileEntry(wirePath, pathBytes, entryBytes, head);
    digest.copy(this.#buffer, digestAt);
    this.#byte(delta === undefined ? PUT_STORED : PUT_DELTA);
    this.#bytes(source);
    this.#changes++;
  }

  /** A further name of the file at `existing`, which the server has with this record. */
  linkFile(path: TreePath, record: FileRecord, existing: TreePath): void {
    const wirePath = toWirePath(path);
    const pathBytes = Buffer.byteLength(wirePath);
    const entryBytes = fileEntryBytes(pathBytes, record);
    const wireExisting = toWirePath(existing);
    const existingBytes = Buffer.byteLength(wireExisting);
    this.#begin(CHANGE_LINK_FILE, holderBytes(entryBytes) + lengthDelimitedBytes(existingBytes));
    const digestAt = this.#fileEntry(wirePath, pathBytes, entryBytes, record);
    record.digest.copy(this.#buffer, digestAt);
    this.#text(LINK_EXISTING, wireExisting, existingBytes);
    this.#changes++;
  }

  makeDirectory(path: TreePath, record: EntryRecord): void {
    this.#entryChange(CHANGE_MAKE_DIRECTORY, path, record);
  }

  makeSymlink(path: TreePath, record: EntryRecord): void {
    this.#entryChange(CHANGE_MAKE_SYMLINK, path, record);
  }

  setMetadata(path: TreePath, record: EntryRecord): void {
    this.#entryChange(CHANGE_SET_METADATA, path, record);
  }

  move(from: TreePath, to: TreePath): void {
    const [a, b] = [toWirePath(from), toWirePath(to)];
    const [aBytes, bBytes] = [Buffer.byteLength(a), Buffer.byteLength(b)];
    this.#begin(CHANGE_MOVE, lengthDelimitedBytes(aBytes) + lengthDelimitedBytes(bBytes));
    this.#text(MOVE_FROM, a, aBytes);
    this.#text(MOVE_TO, b, bBytes);
    this.#changes++;
  }

  remove(path: TreePath): void {
    const wirePath = toWirePath(path);
    const pathBytes = Buffer.byteLength(wirePath);
    this.#begin(CHANGE_DELETE, lengthDelimitedBytes(pathBytes));
    this.#text(DELETE_PATH, wirePath, pathBytes);
    this.#changes++;
  }

  /** The serialized batch. The writer is used up; the memory is the caller's alone and may be transferred. */
  finish(): Buffer {
    return this.#buffer.subarray(0, this.#position);
  }

  /** Makes room and writes the heads of `Change` and of the operation. Returns where the change begins. */
  #begin(operation: number, operationBytes: number): number {
    const start = this.#position;
    const changeBytes = lengthDelimitedBytes(operationBytes);
    this.#reserve(changeBytes + CHANGE_OVERHEAD_BYTES);
    this.#byte(BATCH_CHANGES);
    this.#varint(changeBytes);
    this.#byte(operation);
    this.#varint(operationBytes);
    return start;
  }

  #entryChange(operation: number, path: TreePath, record: EntryRecord): void {
    const wirePath = toWirePath(path);
    const pathBytes = Buffer.byteLength(wirePath);
    const mode = record.kind === 'symlink' ? 0 : record.mode;
    const kind = KINDS[record.kind];
    const target = record.kind === 'symlink' ? record.target : NO_BYTES;
    const entryBytes =
      lengthDelimitedBytes(pathBytes) +
      2 +
      (mode === 0 ? 0 : 1 + varintBytes(mode)) +
      (record.mtimeNs === 0n ? 0 : 1 + bigVarintBytes(record.mtimeNs)) +
      (target.length === 0 ? 0 : lengthDelimitedBytes(target.length)) +
      ownerFieldBytes(record.owner);
    this.#begin(operation, lengthDelimitedBytes(entryBytes));
    this.#byte(HOLDER_ENTRY);
    this.#varint(entryBytes);
    this.#text(ENTRY_PATH, wirePath, pathBytes);
    this.#byte(ENTRY_KIND);
    this.#byte(kind);
    this.#optionalVarint(ENTRY_MODE, mode);
    this.#mtime(record.mtimeNs);
    if (target.length > 0) {
      this.#byte(ENTRY_TARGET);
      this.#bytes(target);
    }
    this.#owner(record.owner);
    this.#changes++;
  }

  /** Returns where the digest's 32 bytes go. */
  #fileEntry(wirePath: string, pathBytes: number, entryBytes: number, head: FileHead): number {
    this.#byte(HOLDER_ENTRY);
    this.#varint(entryBytes);
    this.#text(ENTRY_PATH, wirePath, pathBytes);
    this.#byte(ENTRY_KIND);
    this.#byte(EntryKind.ENTRY_KIND_FILE);
    this.#optionalVarint(ENTRY_MODE, head.mode);
    this.#mtime(head.mtimeNs);
    this.#optionalVarint(ENTRY_SIZE, head.sizeBytes);
    this.#byte(ENTRY_DIGEST);
    this.#byte(DIGEST_BYTES);
    const digestAt = this.#position;
    this.#position += DIGEST_BYTES;
    this.#owner(head.owner);
    return digestAt;
  }

  #owner(owner: Owner | undefined): void {
    if (owner === undefined) return;
    this.#byte(ENTRY_OWNER);
    this.#bytes(serialized(owner));
  }

  #reserve(bytes: number): void {
    const needed = this.#position + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(grown, 0, 0, this.#position);
    this.#buffer = grown;
  }

  #byte(value: number): void {
    this.#buffer[this.#position++] = value;
  }

  #varint(value: number): void {
    let rest = value;
    while (rest > 0x7f) {
      this.#byte((rest % 0x80) | 0x80);
      rest = Math.floor(rest / 0x80);
    }
    this.#byte(rest);
  }

  #optionalVarint(field: number, value: number): void {
    if (value === 0) return;
    this.#byte(field);
    this.#varint(value);
  }

  #mtime(mtimeNs: bigint): void {
    if (mtimeNs === 0n) return;
    this.#byte(ENTRY_MTIME_NS);
    // In two halves that are numbers: each step with a bigint would make another one.
    const unsigned = BigInt.asUintN(64, mtimeNs);
    const high = Number(unsigned >> LOW_BITS);
    let low = Number(unsigned & LOW_MASK);
    if (high === 0) {
      this.#varint(low);
      return;
    }
    for (let at = 0; at < LOW_BYTES; at++) {
      this.#byte((low % 0x80) | 0x80);
      low = Math.floor(low / 0x80);
    }
    this.#varint(high);
  }

  #text(field: number, text: string, textBytes: number): void {
    this.#byte(field);
    this.#varint(textBytes);
    this.#position += this.#buffer.write(text, this.#position, textBytes, 'utf8');
  }

  #bytes(bytes: Uint8Array): void {
    this.#varint(bytes.length);
    this.#buffer.set(bytes, this.#position);
    this.#position += bytes.length;
  }
}

const NO_BYTES = Buffer.alloc(0);

/** How 64-bit values are split into two numbers: the low half takes whole bytes of a varint. */
const LOW_BYTES = 7;
const LOW_BITS = 49n;
const LOW_MASK = (1n << LOW_BITS) - 1n;

const KINDS = {
  file: EntryKind.ENTRY_KIND_FILE,
  directory: EntryKind.ENTRY_KIND_DIRECTORY,
  symlink: EntryKind.ENTRY_KIND_SYMLINK,
} as const;

function fileEntryBytes(pathBytes: number, head: FileHead): number {
  return (
    lengthDelimitedBytes(pathBytes) +
    2 +
    (head.mode === 0 ? 0 : 1 + varintBytes(head.mode)) +
    (head.mtimeNs === 0n ? 0 : 1 + bigVarintBytes(head.mtimeNs)) +
    (head.sizeBytes === 0 ? 0 : 1 + varintBytes(head.sizeBytes)) +
    2 +
    DIGEST_BYTES +
    ownerFieldBytes(head.owner)
  );
}

function ownerFieldBytes(owner: Owner | undefined): number {
  return owner === undefined ? 0 : lengthDelimitedBytes(serialized(owner).length);
}

/** There are few owners, and each is one object: their bytes are made once. */
const serializedOwners = new WeakMap<Owner, Uint8Array>();

function serialized(owner: Owner): Uint8Array {
  let bytes = serializedOwners.get(owner);
  if (bytes === undefined) {
    bytes = WireOwner.encode(owner).finish();
    serializedOwners.set(owner, bytes);
  }
  return bytes;
}

/** Tag, length and content of the field `entry`. */
function holderBytes(entryBytes: number): number {
  return lengthDelimitedBytes(entryBytes);
}

function lengthDelimitedBytes(bytes: number): number {
  return 1 + varintBytes(bytes) + bytes;
}

function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 0x80)) bytes++;
  return bytes;
}

function bigVarintBytes(value: bigint): number {
  const unsigned = BigInt.asUintN(64, value);
  const high = Number(unsigned >> LOW_BITS);
  return high === 0 ? varintBytes(Number(unsigned)) : LOW_BYTES + varintBytes(high);
}
