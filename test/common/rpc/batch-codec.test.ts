/**
 * The hand-written decoder of batches against the generated one.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import { decodeBatchMessage } from '../../../common/rpc/batch-codec.ts';
import { Batch, type Change } from '../../../gen/lockstep/sync/v1/change.ts';
import type { Entry, EntryKind, Owner } from '../../../gen/lockstep/sync/v1/entry.ts';

const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const text = fc.oneof(fc.string({ maxLength: 30 }), fc.string({ unit: 'grapheme', maxLength: 10 }));
const rarely = <T>(usual: T, other: fc.Arbitrary<T>) => fc.oneof({ weight: 5, arbitrary: fc.constant(usual) }, other);

const owner: fc.Arbitrary<Owner> = fc.record({
  uid: fc.oneof(fc.nat(70_000), fc.integer({ min: 0, max: 2 ** 32 - 1 })),
  gid: fc.oneof(fc.nat(70_000), fc.integer({ min: 0, max: 2 ** 32 - 1 })),
  user: text,
  group: text,
});

const entry: fc.Arbitrary<Entry> = fc.record({
  path: text,
  kind: fc.integer({ min: 0, max: 4 }).map((kind) => kind as EntryKind),
  mode: rarely(0o644, fc.integer({ min: 0, max: 2 ** 32 - 1 })),
  mtimeNs: fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.nat().map(BigInt),
  ),
  size: fc.oneof(fc.nat(10_000).map(BigInt), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
  digest: fc.oneof(fc.uint8Array({ minLength: 32, maxLength: 32 }), bytes(40)),
  target: rarely(new Uint8Array(0), bytes(10)),
  owner: fc.option(owner, { nil: undefined }),
});

const put: fc.Arbitrary<Change> = fc.record({ entry, value: bytes(300) }).map(({ entry: wire, value }) => ({
  operation: { $case: 'putFile', value: { entry: wire, content: { $case: 'inline', value } } },
}));

const change: fc.Arbitrary<Change> = fc.oneof(
  { weight: 4, arbitrary: put },
  entry.map((wire): Change => ({ operation: { $case: 'makeDirectory', value: { entry: wire } } })),
  entry.map(
    (wire): Change => ({
      operation: { $case: 'putFile', value: { entry: wire, content: { $case: 'stored', value: {} } } },
    }),
  ),
  fc.record({ from: text, to: text }).map((value): Change => ({ operation: { $case: 'move', value } })),
  fc.constant<Change>({ operation: undefined }),
  fc.constant<Change>({ operation: { $case: 'putFile', value: { entry: undefined, content: undefined } } }),
);

const batch = fc.record({ batchId: fc.uint8Array({ minLength: 16, maxLength: 16 }), changes: fc.array(change) });

/** What a decoder finds, in the only form that such an object has. */
function found(decode: (message: Uint8Array) => Batch, message: Uint8Array): unknown {
  try {
    return Buffer.from(Batch.encode(decode(message)).finish()).toString('hex');
  } catch {
    return 'no batch';
  }
}

describe('the decoder of batches', () => {
  it('finds what was encoded', () => {
    fc.assert(
      fc.property(batch, (original) => {
        const message = Batch.encode(original).finish();
        expect(found(decodeBatchMessage, message)).to.equal(Buffer.from(message).toString('hex'));
      }),
      { numRuns: 500 },
    );
  });

  it('finds in altered, cut and random bytes what the generated decoder finds', () => {
    const altered = fc
      .tuple(batch, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), rarely(0, fc.nat(50)))
      .map(([original, edits, cut]) => {
        const message = Uint8Array.from(Batch.encode(original).finish());
        for (const [at, byte] of edits) if (message.length > 0) message[at % message.length] = byte;
        return message.subarray(0, Math.max(0, message.length - cut));
      });
    fc.assert(
      fc.property(fc.oneof(altered, bytes(80)), (message) => {
        expect(found(decodeBatchMessage, message)).to.equal(found(Batch.decode, message));
      }),
      { numRuns: 3_000 },
    );
  });

  it('gives contents as views of the message', () => {
    const value = Buffer.from('content');
    const wire = { path: 'a', kind: 1, mode: 0, mtimeNs: 1n, size: 7n, digest: value, owner: undefined } as const;
    const original: Change = {
      operation: {
        $case: 'putFile',
        value: { entry: { ...wire, target: Buffer.alloc(0) }, content: { $case: 'inline', value } },
      },
    };
    const message = Batch.encode({ batchId: Buffer.alloc(16), changes: [original] }).finish();
    const operation = decodeBatchMessage(message).changes[0]?.operation;
    if (operation?.$case !== 'putFile' || operation.value.content?.$case !== 'inline') throw new Error('no put');
    expect(operation.value.content.value.buffer).to.equal(message.buffer);
  });
});
