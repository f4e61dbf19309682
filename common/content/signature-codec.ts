/**
 * The stored form of a signature: one packed blob, about 18 bytes a block. Pure; knows no database.
 *
 *     byte 0       version: 1
 *     byte 1       average block length, as a logarithm to base 2
 *     bytes 2-33   digest of the content
 *     bytes 34-41  size of the content in bytes, little-endian
 *     bytes 42-45  number of blocks, little-endian
 *     a varint     (LEB128) for each block: its length in bytes
 *     16 bytes     for each block: its fingerprint
 *     16 bytes     for each group: its fingerprint. Which groups there are follows from the blocks. May be left out
 */
import { LockstepError } from '../ops/errors.ts';
import { firstBlocksOf, hasGroups } from './block-groups.ts';
import { DIGEST_BYTES, digestFromBytes } from './digest.ts';
import { FINGERPRINT_BYTES, FingerprintList, fingerprintBytes } from './fingerprint.ts';
import { lengthOfBlock, MAX_BLOCKS, type Signature } from './signature.ts';
import { SignatureAssembler } from './signature-parts.ts';

const VERSION = 1;
const DIGEST_AT = 2;
const SIZE_AT = DIGEST_AT + DIGEST_BYTES;
const COUNT_AT = SIZE_AT + 8;
const HEADER_BYTES = COUNT_AT + 4;
/** For the longest block that there may be, 4 MiB. */
const MAX_VARINT_BYTES = 4;

export function encodeSignature(signature: Signature): Buffer {
  const { parameters, digest, sizeBytes, blockCount, fingerprints, groups } = signature;
  const header = Buffer.alloc(HEADER_BYTES + blockCount * MAX_VARINT_BYTES);
  header[0] = VERSION;
  header[1] = Math.log2(parameters.averageBytes);
  digest.copy(header, DIGEST_AT);
  header.writeBigUInt64LE(BigInt(sizeBytes), SIZE_AT);
  header.writeUInt32LE(blockCount, COUNT_AT);
  let at = HEADER_BYTES;
  for (let block = 0; block < blockCount; block++) {
    let rest = lengthOfBlock(signature, block);
    for (; rest >= 0x80; rest >>>= 7) header[at++] = (rest & 0x7f) | 0x80;
    header[at++] = rest;
  }
  return Buffer.concat([
    header.subarray(0, at),
    fingerprintBytes(fingerprints, 0, blockCount),
    groups === undefined ? Buffer.alloc(0) : fingerprintBytes(groups.fingerprints, 0, groups.count),
  ]);
}

/** @throws LockstepError INVALID_ARGUMENT when the bytes are not what `encodeSignature` gives */
export function decodeSignature(blob: Uint8Array): Signature {
  const bytes = Buffer.from(blob.buffer, blob.byteOffset, blob.length);
  if (bytes.length < HEADER_BYTES) throw invalid('is cut off');
  if (bytes[0] !== VERSION) throw invalid(`has version ${bytes[0]} instead of ${VERSION}`);
  const digest = digestFromBytes(bytes.subarray(DIGEST_AT, SIZE_AT));
  const sizeBytes = Number(bytes.readBigUInt64LE(SIZE_AT));
  const blockCount = bytes.readUInt32LE(COUNT_AT);
  if (digest === undefined || !Number.isSafeInteger(sizeBytes)) throw invalid('has a size that no content has');
  // Before anything is allocated by the count: each block takes 17 bytes at least.
  if (blockCount > MAX_BLOCKS || blockCount * (1 + FINGERPRINT_BYTES) > bytes.length) throw invalid('is cut off');
  const lengths: number[] = [];
  let at = HEADER_BYTES;
  while (lengths.length < blockCount) {
    let length = 0;
    let shift = 0;
    for (let byte = 0x80; byte >= 0x80; shift += 7) {
      byte = bytes[at++] ?? 0;
      if (shift === MAX_VARINT_BYTES * 7) throw invalid('has too long a block');
      length |= (byte & 0x7f) << shift;
    }
    lengths.push(length);
  }
  const blocksEnd = at + blockCount * FINGERPRINT_BYTES;
  const assembler = new SignatureAssembler(digest, sizeBytes);
  const averageBlockBytes = 2 ** (bytes[1] ?? 0);
  assembler.add({ averageBlockBytes, lengths, fingerprints: bytes.subarray(at, blocksEnd) });
  const signature = assembler.finish();
  return blocksEnd === bytes.length ? signature : withGroups(signature, bytes.subarray(blocksEnd));
}

function withGroups(signature: Signature, bytes: Uint8Array): Signature {
  const firstBlocks = hasGroups(signature.parameters.averageBytes) ? firstBlocksOf(signature) : [0];
  const count = firstBlocks.length - 1;
  if (bytes.length !== count * FINGERPRINT_BYTES) throw invalid('has not one fingerprint for each group');
  const fingerprints = new FingerprintList();
  fingerprints.addBytes(bytes);
  return {
    ...signature,
    groups: { count, firstBlocks: Uint32Array.from(firstBlocks), fingerprints: fingerprints.toWords() },
  };
}

function invalid(what: string): LockstepError {
  return new LockstepError('INVALID_ARGUMENT', `a stored signature ${what}`);
}
