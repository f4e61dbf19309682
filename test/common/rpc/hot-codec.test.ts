/**
 * The hand-written codecs against the generated ones: same bytes, same messages, for all that either can produce.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import { UPLOAD_HEAD_ROOM_BYTES } from '../../../common/rpc/head-room.ts';
import {
  decodeChangesFrame,
  decodeUploadContent,
  encodeChangesFrame,
  encodeUploadContent,
  encodeUploadInPlace,
  isMalformed,
  MALFORMED,
  serializeChanges,
  serializeReadContent,
  serializeUploadContent,
} from '../../../common/rpc/hot-codec.ts';
import { Batch, CompressedBatch } from '../../../gen/lockstep/sync/v1/change.ts';
import { Compressor } from '../../../gen/lockstep/sync/v1/entry.ts';
import {
  ApplyChangesRequest,
  ReadContentResponse,
  UploadContentRequest,
} from '../../../gen/lockstep/sync/v1/sync_service.ts';

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((data) => Buffer.from(data));
const uint64 = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.constantFrom(0n, 1n, 127n, 128n, 2n ** 49n - 1n, 2n ** 49n, 2n ** 53n),
);
const uint32 = fc.integer({ min: 0, max: 0xffffffff });
const often = <T>(usual: T, other: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: other });

const upload: fc.Arbitrary<UploadContentRequest> = fc
  .record({
    folder: often('', fc.string()),
    lease: often(0n, uint64),
    uploadId: often(Buffer.alloc(0), bytes(16)),
    size: often(0n, uint64),
    digest: often(Buffer.alloc(0), bytes(32)),
    resume: often(false, fc.boolean()),
    basisDigest: often(Buffer.alloc(0), bytes(32)),
    basisPath: often('', fc.string()),
    offset: uint64,
    steps: often([], fc.array(fc.record({ copyOffset: uint64, copyLength: uint64, dataLength: uint32 }))),
    data: bytes(300),
    compressor: fc.constantFrom(Compressor.COMPRESSOR_UNSPECIFIED, Compressor.COMPRESSOR_ZSTD),
    dataSize: often(0, uint32),
    finish: often(false, fc.boolean()),
  })
  .map((fields) => UploadContentRequest.fromPartial(fields));

const encodedUpload = (message: UploadContentRequest) => Buffer.from(UploadContentRequest.encode(message).finish());

/** Same message, whichever class its byte fields have. */
function expectSameUpload(actual: unknown, expected: UploadContentRequest): void {
  const plain = (message: UploadContentRequest) =>
    Object.entries(message).map(([key, value]) => [key, value instanceof Uint8Array ? Buffer.from(value) : value]);
  expect(plain(actual as UploadContentRequest)).to.deep.equal(plain(expected));
}

describe('hot codec: UploadContentRequest', () => {
  it('decodes every message as the generated decoder does', () => {
    fc.assert(
      fc.property(upload, (message) => {
        expectSameUpload(
          decodeUploadContent(encodedUpload(message)),
          UploadContentRequest.decode(encodedUpload(message)),
        );
      }),
    );
  });

  it('decodes arbitrary bytes as the generated decoder does, and never throws', () => {
    fc.assert(
      fc.property(bytes(40), (message) => {
        const decoded = decodeUploadContent(message);
        let expected: UploadContentRequest;
        try {
          expected = UploadContentRequest.decode(message);
        } catch {
          expect(isMalformed(decoded)).to.equal(true);
          return;
        }
        expectSameUpload(decoded, expected);
      }),
      { numRuns: 2000 },
    );
  });

  it('decodes what was cut off or damaged as the generated decoder does', () => {
    fc.assert(
      fc.property(upload, fc.nat(), fc.nat(255), (message, position, byte) => {
        const damaged = encodedUpload(message);
        if (damaged.length === 0) return;
        damaged[position % damaged.length] = byte;
        const decoded = decodeUploadContent(damaged);
        try {
          expectSameUpload(decoded, UploadContentRequest.decode(damaged));
        } catch (error) {
          if (!isMalformed(decoded)) throw error;
        }
      }),
    );
  });

  it('leaves compressors that nobody knows, and sizes beyond 32 bits, to the generated decoder', () => {
    const offset = encodedUpload(UploadContentRequest.fromPartial({ offset: 7n }));
    // Fields 13 and 14, both varints.
    for (const field of [
      [0x68, 0x07],
      [0x70, 0xff, 0xff, 0xff, 0xff, 0x7f],
    ]) {
      const message = Buffer.concat([offset, Buffer.from(field)]);
      expectSameUpload(decodeUploadContent(message), UploadContentRequest.decode(message));
    }
  });

  it('encodes the same bytes as the generated encoder, up to the order of fields', () => {
    fc.assert(
      fc.property(upload, (message) => {
        const encoded = serializeUploadContent(message);
        expect(encoded).to.be.instanceOf(Buffer);
        expectSameUpload(UploadContentRequest.decode(encoded), message);
        if (message.compressor === 0) expect(encoded.equals(encodedUpload(message))).to.equal(true);
      }),
    );
  });

  it('completes a message in the room before its data, without copying it', () => {
    fc.assert(
      fc.property(
        fc.maxSafeNat().filter((offset) => offset < 2 ** 49),
        bytes(200),
        (offset, content) => {
          const room = Buffer.concat([Buffer.alloc(UPLOAD_HEAD_ROOM_BYTES, 0xee), content]);
          const data = room.subarray(UPLOAD_HEAD_ROOM_BYTES);
          const message = encodeUploadInPlace(offset, data);
          const encoded = serializeUploadContent(message);
          expect(encoded.buffer).to.equal(room.buffer);
          expect(encoded.equals(encodeUploadContent(offset, content))).to.equal(true);
        },
      ),
    );
  });

  it('does not copy the payload when it decodes', () => {
    const message = encodeUploadContent(5, Buffer.alloc(1000, 7));
    const decoded = decodeUploadContent(message);
    if (isMalformed(decoded)) throw new Error('malformed');
    expect(decoded.data.buffer).to.equal(message.buffer);
    expect(decoded.offset).to.equal(5n);
  });

  it('fills its buffer completely, so that no stale memory is sent (S11)', () => {
    fc.assert(
      fc.property(fc.nat(), bytes(200), fc.option(uint32, { nil: undefined }), (offset, data, dataSize) => {
        const decoded = UploadContentRequest.decode(encodeUploadContent(offset, data, dataSize));
        expect(decoded.offset).to.equal(BigInt(offset));
        expect(Buffer.from(decoded.data).equals(data)).to.equal(true);
        expect(decoded.dataSize).to.equal(dataSize ?? 0);
        expect(decoded.compressor).to.equal(dataSize === undefined ? 0 : Compressor.COMPRESSOR_ZSTD);
      }),
    );
  });
});

describe('hot codec: ApplyChangesRequest', () => {
  const batch = fc
    .record({ batchId: bytes(16), paths: fc.array(fc.string(), { maxLength: 5 }) })
    .map(({ batchId, paths }) =>
      Batch.fromPartial({
        batchId,
        changes: paths.map((path) => ({ operation: { $case: 'delete' as const, value: { path } } })),
      }),
    );

  it('hands a batch on as it came', () => {
    fc.assert(
      fc.property(batch, (value) => {
        const frame = decodeChangesFrame(ApplyChangesRequest.encode({ message: { $case: 'batch', value } }).finish());
        if (frame.form !== 'batch') throw new Error(frame.form);
        expect(Buffer.from(frame.encoded).equals(Buffer.from(Batch.encode(value).finish()))).to.equal(true);
      }),
    );
  });

  it('hands a compressed batch on as it came', () => {
    fc.assert(
      fc.property(bytes(300), uint64, (data, size) => {
        const value = { compressor: Compressor.COMPRESSOR_ZSTD, size, data };
        const message = ApplyChangesRequest.encode({ message: { $case: 'compressedBatch', value } }).finish();
        const frame = decodeChangesFrame(message);
        if (frame.form !== 'compressed') throw new Error(frame.form);
        expect(Buffer.from(frame.encoded).equals(Buffer.from(CompressedBatch.encode(value).finish()))).to.equal(true);
      }),
    );
  });

  it('decodes the opening message', () => {
    const open = { folder: 'default', lease: 7n, acknowledgement: 1 as const };
    const encoded = ApplyChangesRequest.encode({ message: { $case: 'open', value: open } }).finish();
    expect(decodeChangesFrame(encoded)).to.deep.equal({ form: 'open', open });
  });

  it('encodes frames as the generated encoder does', () => {
    fc.assert(
      fc.property(batch, (value) => {
        const expected = Buffer.from(ApplyChangesRequest.encode({ message: { $case: 'batch', value } }).finish());
        const encoded = Batch.encode(value).finish();
        expect(encodeChangesFrame('batch', encoded).equals(expected)).to.equal(true);
        expect(serializeChanges({ form: 'batch', encoded }).equals(expected)).to.equal(true);
        expect(serializeChanges({ message: { $case: 'batch', value } }).equals(expected)).to.equal(true);
      }),
    );
  });

  it('passes over fields of later versions', () => {
    const frame = decodeChangesFrame(
      Buffer.concat([Buffer.from([0x20, 0x05]), encodeChangesFrame('batch', Buffer.of(1, 2))]),
    );
    expect(frame).to.deep.include({ form: 'batch' });
  });

  it('calls nothing, two messages, and wrong wire types malformed', () => {
    const one = encodeChangesFrame('batch', Buffer.alloc(3));
    for (const message of [Buffer.alloc(0), Buffer.concat([one, one]), Buffer.from([0x10, 0x01]), one.subarray(0, 3)]) {
      expect(decodeChangesFrame(message).form).to.equal('malformed');
    }
  });

  it('writes nothing for what is malformed', () => {
    expect(serializeChanges(MALFORMED)).to.have.length(0);
  });

  it('never throws', () => {
    fc.assert(
      fc.property(bytes(60), (message) => {
        expect(decodeChangesFrame(message).form).to.be.oneOf(['open', 'batch', 'compressed', 'malformed']);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('hot codec: ReadContentResponse', () => {
  it('encodes the same bytes as the generated encoder', () => {
    fc.assert(
      fc.property(uint64, bytes(300), fc.boolean(), (offset, data, first) => {
        const message = ReadContentResponse.fromPartial({ offset, data, ...(first ? { entry: { path: 'a' } } : {}) });
        const expected = Buffer.from(ReadContentResponse.encode(message).finish());
        expect(serializeReadContent(message).equals(expected)).to.equal(true);
      }),
    );
  });
});
