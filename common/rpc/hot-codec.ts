/**
 * Hand-written codecs for the three messages that carry the bulk: ApplyChangesRequest, UploadContentRequest and
 * ReadContentResponse. Wire-compatible with the generated ones, and tested against them; they exist because the
 * generated codec copies each payload two to four times (measured: half of the throughput of an upload).
 * Knows the messages only, neither server nor client.
 */
import { BinaryReader } from '@bufbuild/protobuf/wire';
import { Compressor } from '../../gen/lockstep/sync/v1/entry.ts';
import {
  ApplyChangesRequest,
  OpenChanges,
  ReadContentResponse,
  UploadContentRequest,
} from '../../gen/lockstep/sync/v1/sync_service.ts';

/** A message of an ApplyChanges stream whose batch was not decoded: whoever applies it does that, in its own thread. */
export type ChangesFrame =
  | { readonly form: 'open'; readonly open: OpenChanges }
  /** `encoded` is a serialized `Batch` or `CompressedBatch`; a view of the received message, which nobody else uses. */
  | { readonly form: 'batch' | 'compressed'; readonly encoded: Uint8Array }
  | Malformed;

/**
 * What a deserializer gives for bytes that are no such message. It must not throw: the library would answer INTERNAL
 * without a reason, and the fault is the peer's.
 */
export interface Malformed {
  readonly form: 'malformed';
}

export const MALFORMED: Malformed = { form: 'malformed' };

export function isMalformed(message: object): message is Malformed {
  return message === MALFORMED;
}

const WIRE_TYPE_BYTES = 2;
const FRAME_OPEN = 1;
const FRAME_BATCH = 2;
const FRAME_COMPRESSED = 3;

const UPLOAD_OFFSET = tagOf(9, 0);
const UPLOAD_DATA = tagOf(12, WIRE_TYPE_BYTES);
const UPLOAD_COMPRESSOR = tagOf(13, 0);
const UPLOAD_DATA_SIZE = tagOf(14, 0);
const READ_OFFSET = tagOf(2, 0);
const READ_DATA = tagOf(3, WIRE_TYPE_BYTES);

/** Seven groups of seven bits: every number that this long form holds is exact in a double. */
const MAX_SHORT_VARINT_BYTES = 7;
const NO_BYTES: Uint8Array = new Uint8Array(0);

/**
 * Looks only at which of the three fields is set. Fields that this version does not know are passed over; the oneof
 * set twice is malformed, because no encoder writes that.
 */
export function decodeChangesFrame(message: Uint8Array): ChangesFrame {
  try {
    const reader = new BinaryReader(message);
    let found: ChangesFrame | undefined;
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if (field > FRAME_COMPRESSED) {
        reader.skip(wireType, field);
        continue;
      }
      if (found !== undefined || Number(wireType) !== WIRE_TYPE_BYTES) return MALFORMED;
      found = frameOf(field, reader.bytes());
    }
    return found ?? MALFORMED;
  } catch {
    // Truncated or not protobuf at all; what exactly does not help a peer that sends this.
    return MALFORMED;
  }
}

function frameOf(field: number, encoded: Uint8Array): ChangesFrame {
  switch (field) {
    case FRAME_OPEN:
      return { form: 'open', open: OpenChanges.decode(encoded) };
    case FRAME_BATCH:
      return { form: 'batch', encoded };
    default:
      return { form: 'compressed', encoded };
  }
}

/** The message around a serialized `Batch` or `CompressedBatch`. Copies the payload once. */
export function encodeChangesFrame(form: 'batch' | 'compressed', encoded: Uint8Array): Buffer {
  const tag = tagOf(form === 'batch' ? FRAME_BATCH : FRAME_COMPRESSED, WIRE_TYPE_BYTES);
  const message = Buffer.allocUnsafe(1 + varintLength(encoded.length) + encoded.length);
  message[0] = tag;
  const at = writeVarint(message, 1, encoded.length);
  message.set(encoded, at);
  return message;
}

/** Serializer for a client's ApplyChanges stream: takes whole messages, and frames whose batch is serialized already. */
export function serializeChanges(message: ApplyChangesRequest | ChangesFrame): Buffer {
  if (!('form' in message)) return Buffer.from(ApplyChangesRequest.encode(message).finish());
  switch (message.form) {
    case 'open':
      return Buffer.from(ApplyChangesRequest.encode({ message: { $case: 'open', value: message.open } }).finish());
    case 'batch':
    case 'compressed':
      return encodeChangesFrame(message.form, message.encoded);
    case 'malformed':
      return Buffer.alloc(0);
  }
}

/**
 * Decodes a message of UploadContent. `data` is a view of the received message. Messages that only carry data take the
 * short way, all others the generated decoder.
 */
export function decodeUploadContent(message: Uint8Array): UploadContentRequest | Malformed {
  const fast = decodeUploadData(message);
  if (fast !== undefined) return fast;
  try {
    return UploadContentRequest.decode(message);
  } catch {
    // As above: the peer's fault, answered by whoever handles the call.
    return MALFORMED;
  }
}

function decodeUploadData(message: Uint8Array): UploadContentRequest | undefined {
  let offset = 0;
  let data = NO_BYTES;
  let compressor = 0;
  let dataSize = 0;
  let at = 0;
  while (at < message.length) {
    const tag = message[at++];
    const lengthOfVarint = shortVarintLength(message, at);
    if (lengthOfVarint === 0) return undefined;
    const value = readShortVarint(message, at, lengthOfVarint);
    at += lengthOfVarint;
    switch (tag) {
      case UPLOAD_OFFSET:
        offset = value;
        break;
      case UPLOAD_DATA:
        if (value > message.length - at) return undefined;
        data = message.subarray(at, at + value);
        at += value;
        break;
      case UPLOAD_COMPRESSOR:
        compressor = value;
        break;
      case UPLOAD_DATA_SIZE:
        dataSize = value;
        break;
      default:
        return undefined;
    }
  }
  if (compressor > Compressor.COMPRESSOR_ZSTD || dataSize > 0xffffffff) return undefined;
  return {
    folder: '',
    lease: 0n,
    uploadId: NO_BYTES,
    size: 0n,
    digest: NO_BYTES,
    resume: false,
    basisDigest: NO_BYTES,
    basisPath: '',
    offset: BigInt(offset),
    steps: [],
    data,
    compressor: compressor === 0 ? Compressor.COMPRESSOR_UNSPECIFIED : Compressor.COMPRESSOR_ZSTD,
    dataSize,
    finish: false,
    localFile: undefined,
  };
}

/**
 * One message of UploadContent that carries literal data at `offsetBytes` (a safe integer), in one buffer that is
 * filled completely. With `dataSizeBytes`, `data` is one zstd frame of a content of that length.
 */
export function encodeUploadContent(offsetBytes: number, data: Uint8Array, dataSizeBytes?: number): Buffer {
  const tailLength = dataSizeBytes === undefined ? 0 : 3 + varintLength(dataSizeBytes);
  const headLength = lengthOfPart(offsetBytes, data);
  const message = Buffer.allocUnsafe(headLength + tailLength);
  let at = writePart(message, UPLOAD_OFFSET, offsetBytes, UPLOAD_DATA, data);
  if (dataSizeBytes !== undefined) {
    message[at++] = UPLOAD_COMPRESSOR;
    message[at++] = Compressor.COMPRESSOR_ZSTD;
    message[at++] = UPLOAD_DATA_SIZE;
    writeVarint(message, at, dataSizeBytes);
  }
  return message;
}

/** A message of UploadContent that is serialized already. */
export interface EncodedUpload {
  readonly form: 'encoded';
  readonly encoded: Buffer;
}

/**
 * The message that `encodeUploadContent` makes of uncompressed data, without copying it: the fields are written into
 * the bytes before `data`, whose `byteOffset` is at least UPLOAD_HEAD_ROOM_BYTES. The message is a view of the same
 * memory: both are the library's until it calls back.
 */
export function encodeUploadInPlace(offsetBytes: number, data: Uint8Array): EncodedUpload {
  const headBytes = lengthOfPart(offsetBytes, data) - data.length;
  const encoded = Buffer.from(data.buffer, data.byteOffset - headBytes, headBytes + data.length);
  writeHead(encoded, UPLOAD_OFFSET, offsetBytes, UPLOAD_DATA, data.length);
  return { form: 'encoded', encoded };
}

/** Serializer for a client's UploadContent stream: the short way where it applies, else the generated encoder. */
export function serializeUploadContent(message: UploadContentRequest | EncodedUpload): Buffer {
  if ('form' in message) return message.encoded;
  const carriesMore =
    message.folder !== '' ||
    message.lease !== 0n ||
    message.uploadId.length > 0 ||
    message.size !== 0n ||
    message.digest.length > 0 ||
    message.resume ||
    message.basisDigest.length > 0 ||
    message.basisPath !== '' ||
    message.steps.length > 0 ||
    message.finish;
  const compressed = message.compressor === Compressor.COMPRESSOR_ZSTD;
  const plain = message.compressor === Compressor.COMPRESSOR_UNSPECIFIED && message.dataSize === 0;
  if (carriesMore || !isShortOffset(message.offset) || (!compressed && !plain)) {
    return Buffer.from(UploadContentRequest.encode(message).finish());
  }
  return encodeUploadContent(Number(message.offset), message.data, compressed ? message.dataSize : undefined);
}

/** Serializer for ReadContent's answers: the short way for all but the first message, which has the entry. */
export function serializeReadContent(message: ReadContentResponse): Buffer {
  if (message.entry !== undefined || !isShortOffset(message.offset)) {
    return Buffer.from(ReadContentResponse.encode(message).finish());
  }
  const encoded = Buffer.allocUnsafe(lengthOfPart(Number(message.offset), message.data));
  writePart(encoded, READ_OFFSET, Number(message.offset), READ_DATA, message.data);
  return encoded;
}

function isShortOffset(offset: bigint): boolean {
  return offset >= 0n && offset < 2n ** 49n;
}

/** proto3 leaves out what has its default value. */
function lengthOfPart(offsetBytes: number, data: Uint8Array): number {
  const offsetLength = offsetBytes === 0 ? 0 : 1 + varintLength(offsetBytes);
  return offsetLength + (data.length === 0 ? 0 : 1 + varintLength(data.length) + data.length);
}

function writePart(target: Buffer, offsetTag: number, offsetBytes: number, dataTag: number, data: Uint8Array): number {
  const at = writeHead(target, offsetTag, offsetBytes, dataTag, data.length);
  target.set(data, at);
  return at + data.length;
}

/** All of a part but its data; returns the position after it. */
function writeHead(target: Buffer, offsetTag: number, offsetBytes: number, dataTag: number, dataBytes: number): number {
  let at = 0;
  if (offsetBytes > 0) {
    target[at++] = offsetTag;
    at = writeVarint(target, at, offsetBytes);
  }
  if (dataBytes > 0) {
    target[at++] = dataTag;
    at = writeVarint(target, at, dataBytes);
  }
  return at;
}

function tagOf(field: number, wireType: number): number {
  return (field << 3) | wireType;
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) length++;
  return length;
}

/** Writes a safe integer >= 0; returns the position after it. */
function writeVarint(target: Buffer, start: number, value: number): number {
  let at = start;
  let rest = value;
  while (rest >= 0x80) {
    target[at++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  target[at++] = rest;
  return at;
}

/** Bytes of the varint at `start`, or 0 when it is cut off or longer than the short way takes. */
function shortVarintLength(message: Uint8Array, start: number): number {
  for (let length = 1; length <= MAX_SHORT_VARINT_BYTES; length++) {
    const byte = message[start + length - 1];
    if (byte === undefined) return 0;
    if (byte < 0x80) return length;
  }
  return 0;
}

function readShortVarint(message: Uint8Array, start: number, length: number): number {
  let value = 0;
  for (let at = start + length - 1; at >= start; at--) value = value * 0x80 + ((message[at] ?? 0) & 0x7f);
  return value;
}
