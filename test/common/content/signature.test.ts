import { expect } from 'chai';
import fc from 'fast-check';
import { BlockRecorder } from '../../../common/content/block-recorder.ts';
import { blockLength, chunkingParameters } from '../../../common/content/chunker.ts';
import { DIGEST_FUNCTIONS, type DigestFunction, digestOf } from '../../../common/content/digest.ts';
import { fingerprintBytes } from '../../../common/content/fingerprint.ts';
import { lengthOfBlock, MAX_BLOCKS, type Signature } from '../../../common/content/signature.ts';
import { SignatureBuilder } from '../../../common/content/signature-builder.ts';
import { decodeSignature, encodeSignature } from '../../../common/content/signature-codec.ts';
import { SignatureAssembler, type SignaturePart, signatureParts } from '../../../common/content/signature-parts.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { contentOf, inSlices, randomBytes, recipes, slicing } from './contents.ts';

const average = fc.integer({ min: 8, max: 15 }).map((bits) => 2 ** bits);
const functionName = fc.constantFrom(...DIGEST_FUNCTIONS);

function signatureOf(
  content: Uint8Array,
  averageBytes = 256,
  digestFunction: DigestFunction = 'blake3',
  lengths: readonly number[] = [2 ** 30],
): Signature {
  const builder = new SignatureBuilder(digestFunction, chunkingParameters(averageBytes));
  inSlices(content, lengths, (slice) => builder.push(slice));
  const { signature, digest, sizeBytes } = builder.finish();
  expect(digest.equals(digestOf(digestFunction, content))).to.equal(true);
  expect(sizeBytes).to.equal(content.length);
  return signature!;
}

function refused(action: () => unknown): void {
  expect(action).to.throw(LockstepError).with.property('reason', 'INVALID_ARGUMENT');
}

describe('a signature', () => {
  it('has the blocks of the chunker, with half of their digests as fingerprints', () => {
    fc.assert(
      fc.property(recipes, average, functionName, (all, averageBytes, digestFunction) => {
        const content = contentOf(all);
        const signature = signatureOf(content, averageBytes, digestFunction);
        let at = 0;
        for (let block = 0; block < signature.blockCount; block++) {
          expect(signature.offsets[block]).to.equal(at);
          const length = blockLength(content, at, content.length, signature.parameters);
          expect(lengthOfBlock(signature, block)).to.equal(length);
          const digest = digestOf(digestFunction, content.subarray(at, at + length));
          const fingerprint = fingerprintBytes(signature.fingerprints, block, block + 1);
          expect(fingerprint.equals(digest.subarray(0, 16)), `block ${block}`).to.equal(true);
          at += length;
        }
        expect(at).to.equal(content.length);
        expect(signature.offsets).to.have.length(signature.blockCount + 1);
        expect(signature.sizeBytes).to.equal(content.length);
      }),
      { numRuns: 40 },
    );
  });

  it('is the same however the content is sliced', () => {
    fc.assert(
      fc.property(recipes, average, slicing, (all, averageBytes, lengths) => {
        const content = contentOf(all);
        expect(signatureOf(content, averageBytes, 'blake3', lengths)).to.deep.equal(signatureOf(content, averageBytes));
      }),
      { numRuns: 100 },
    );
  });

  it('has groups of consecutive blocks with the fingerprint of their bytes, without the last block', () => {
    fc.assert(
      fc.property(recipes, fc.constantFrom(256, 1024, 8192), (all, averageBytes) => {
        const content = contentOf(all);
        const { groups, blockCount, offsets } = signatureOf(content, averageBytes);
        if (groups === undefined) return;
        expect(groups.firstBlocks[0]).to.equal(0);
        expect(groups.firstBlocks.at(-1)).to.be.below(blockCount);
        for (let group = 0; group < groups.count; group++) {
          const [from, to] = [groups.firstBlocks[group]!, groups.firstBlocks[group + 1]!];
          expect(to).to.be.above(from);
          const bytes = content.subarray(offsets[from], offsets[to]);
          expect(bytes.length).to.be.at.most(128 * 1024);
          const fingerprint = fingerprintBytes(groups.fingerprints, group, group + 1);
          expect(fingerprint.equals(digestOf('blake3', bytes).subarray(0, 16)), `group ${group}`).to.equal(true);
        }
      }),
      { numRuns: 60 },
    );
    expect(signatureOf(randomBytes(1, 400_000)).groups?.count).to.be.within(6, 40);
    expect(signatureOf(randomBytes(1, 400_000), 16384).groups).to.equal(undefined);
  });

  it('of no bytes has no blocks (E21)', () => {
    const { blockCount, sizeBytes, groups } = signatureOf(new Uint8Array(0));
    expect({ blockCount, sizeBytes, groups }).to.deep.equal({ blockCount: 0, sizeBytes: 0, groups: undefined });
  });

  it('is given up when it has too many blocks, but not the digest', () => {
    const content = randomBytes(1, 200_000);
    const { blockCount } = signatureOf(content);
    for (const [maxBlocks, isGiven] of [
      [blockCount, true],
      [blockCount - 1, false],
      [3, false],
    ] as const) {
      const recorder = new BlockRecorder('blake3', chunkingParameters(256), maxBlocks);
      recorder.open(content);
      while (recorder.window.holds(1)) {
        const { bytes, start, end } = recorder.window;
        const length = blockLength(bytes, start, end, chunkingParameters(256));
        recorder.take(length, digestOf('blake3', bytes.subarray(start, start + length)));
      }
      recorder.close();
      const signed = recorder.finish();
      expect(signed.digest.equals(digestOf('blake3', content))).to.equal(true);
      expect(signed.sizeBytes).to.equal(content.length);
      expect(signed.signature?.blockCount).to.equal(isGiven ? blockCount : undefined);
    }
  });

  it('is given up when whole groups of a basis are too many blocks', () => {
    const content = randomBytes(1, 200_000);
    const basis = signatureOf(content);
    const groups = basis.groups!;
    const recorder = new BlockRecorder('blake3', basis.parameters, groups.firstBlocks[1]);
    recorder.open(content);
    recorder.takeGroup(basis, groups, 0);
    expect(recorder.isAtGroupStart).to.equal(true);
    recorder.takeGroup(basis, groups, 1);
    expect(recorder.isAtGroupStart).to.equal(false);
    recorder.close();
    expect(recorder.sizeBytes).to.equal(basis.offsets[groups.firstBlocks[2]!]);
    expect(recorder.finish().signature).to.equal(undefined);
  });
});

describe('a stored signature', () => {
  it('is read back as it was', () => {
    fc.assert(
      fc.property(recipes, average, (all, averageBytes) => {
        const signature = signatureOf(contentOf(all), averageBytes);
        const blob = encodeSignature(signature);
        expect(decodeSignature(blob)).to.deep.equal(signature);
        // As a view into something larger, too.
        expect(decodeSignature(Buffer.concat([Buffer.alloc(3), blob]).subarray(3))).to.deep.equal(signature);
      }),
      { numRuns: 60 },
    );
  });

  it('takes about 18 bytes a block', () => {
    const signature = signatureOf(randomBytes(1, 500_000));
    expect(encodeSignature(signature).length / signature.blockCount).to.be.within(17, 19);
  });

  it('is refused or well-formed whatever its bytes are (S12)', () => {
    const blobs = [signatureOf(randomBytes(1, 60_000)), signatureOf(new Uint8Array(5000))].map(encodeSignature);
    const damage = fc.array(fc.record({ at: fc.nat(), value: fc.nat(255) }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(fc.constantFrom(...blobs), damage, fc.nat(80), fc.boolean(), (blob, changes, near, isCut) => {
        const bytes = Uint8Array.from(isCut ? blob.subarray(0, near * 40) : blob);
        for (const { at, value } of changes) if (bytes.length > 0) bytes[at % Math.min(bytes.length, near + 1)] = value;
        let signature: Signature;
        try {
          signature = decodeSignature(bytes);
        } catch (error) {
          expect(error).to.be.instanceOf(LockstepError);
          return;
        }
        expectWellFormed(signature);
      }),
      { numRuns: 2000 },
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => refused(() => decodeSignature(bytes))));
  });

  it('does not allocate for the blocks that it only claims (S12)', () => {
    const blob = encodeSignature(signatureOf(randomBytes(1, 3000)));
    for (const claimed of [100, 2 ** 22, 2 ** 22 + 1, 2 ** 32 - 1]) {
      blob.writeUInt32LE(claimed, 42);
      refused(() => decodeSignature(blob));
      refused(() => decodeSignature(blob.subarray(0, 46)));
    }
  });

  it('is refused with a length that is spelled too long, or with too few or too many groups', () => {
    const blob = encodeSignature(signatureOf(new Uint8Array(100)));
    expect(blob[46]).to.equal(100);
    const spelled = Buffer.from([100 | 0x80, 0x80, 0x80, 0x80, 0]);
    refused(() => decodeSignature(Buffer.concat([blob.subarray(0, 46), spelled, blob.subarray(47)])));
    const grouped = encodeSignature(signatureOf(randomBytes(1, 100_000)));
    for (const bytes of [-16, -1, 1, 16]) {
      refused(() => decodeSignature(Buffer.concat([grouped, Buffer.alloc(16)]).subarray(0, grouped.length + bytes)));
    }
    refused(() => decodeSignature(Buffer.concat([blob, Buffer.alloc(16)])));
    const ungrouped = encodeSignature(signatureOf(new Uint8Array(100), 2 ** 15));
    refused(() => decodeSignature(Buffer.concat([ungrouped, Buffer.alloc(16)])));
  });

  it('of another version is refused', () => {
    const blob = encodeSignature(signatureOf(randomBytes(1, 3000)));
    blob[0] = 2;
    refused(() => decodeSignature(blob));
  });
});

describe('a signature in parts', () => {
  const content = randomBytes(3, 30_000);
  const whole: Signature = { ...signatureOf(content), groups: undefined };

  function assembled(parts: Iterable<SignaturePart>, sizeBytes = content.length): Signature {
    const assembler = new SignatureAssembler(whole.digest, sizeBytes);
    for (const part of parts) assembler.add(part);
    return assembler.finish();
  }

  it('is put together again, whatever the parts', () => {
    for (const maxBlocks of [1, 7, 1000]) expect(assembled(signatureParts(whole, maxBlocks))).to.deep.equal(whole);
    const empty = signatureOf(new Uint8Array(0));
    const parts = [...signatureParts(empty, 10)];
    expect(parts).to.have.length(1);
    const assembler = new SignatureAssembler(empty.digest, 0);
    for (const part of parts) assembler.add(part);
    expect(assembler.finish()).to.deep.equal(empty);
  });

  it('is refused when a block has no length, or one that is out of bounds (S12)', () => {
    const [part] = signatureParts(whole, 10_000);
    const { lengths, fingerprints } = part!;
    for (const length of [0, -1, -256, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 1025, 2 ** 31, 2 ** 32, 63]) {
      const wrong = lengths.with(4, length);
      const sizeBytes = wrong.reduce((sum, each) => sum + each, 0);
      refused(() => assembled([{ ...part!, lengths: wrong }], sizeBytes));
    }
    const assembler = new SignatureAssembler(whole.digest, 0);
    refused(() => assembler.add({ ...part!, lengths: [0], fingerprints: fingerprints.subarray(0, 16) }));
  });

  it('is refused when it has too many blocks, before they are looked at (S12)', () => {
    const [part] = signatureParts(whole, 10_000);
    const tooMany = Array.from({ length: MAX_BLOCKS + 1 }, () => 256);
    const add = () => new SignatureAssembler(whole.digest, 0).add({ ...part!, lengths: tooMany });
    expect(add).to.throw(LockstepError, 'more than');
  });

  it('is refused when the blocks are not as long as the content (S12)', () => {
    const [part] = signatureParts(whole, 10_000);
    refused(() => assembled([{ ...part!, lengths: part!.lengths.with(4, part!.lengths[4]! + 1) }]));
    refused(() => assembled([part!], content.length - 1));
    refused(() => assembled([part!], content.length + 1));
    refused(() => assembled([part!, part!]));
    refused(() => assembled([]));
  });

  it('is refused when fingerprints are missing or too many', () => {
    const [part] = signatureParts(whole, 10_000);
    for (const bytes of [0, 1, 15, part!.fingerprints.length - 16, part!.fingerprints.length - 1]) {
      refused(() => assembled([{ ...part!, fingerprints: part!.fingerprints.subarray(0, bytes) }]));
    }
    refused(() => assembled([{ ...part!, fingerprints: Buffer.concat([part!.fingerprints, Buffer.alloc(16)]) }]));
  });

  it('is refused when the average is none, or not the same in all parts', () => {
    const parts = [...signatureParts(whole, 50)];
    for (const averageBlockBytes of [0, 1, 100, 255, 2 ** 21, 2 ** 31, -256]) {
      refused(() => assembled([{ ...parts[0]!, averageBlockBytes }]));
    }
    refused(() => assembled(parts.with(1, { ...parts[1]!, averageBlockBytes: 512 })));
  });
});

function expectWellFormed({ blockCount, offsets, fingerprints, sizeBytes, parameters }: Signature): void {
  expect(offsets).to.have.length(blockCount + 1);
  expect(fingerprints).to.have.length(4 * blockCount);
  expect(offsets[0]).to.equal(0);
  expect(offsets.at(-1)).to.equal(sizeBytes);
  for (let block = 0; block < blockCount; block++) {
    const length = offsets[block + 1]! - offsets[block]!;
    expect(length).to.be.within(block === blockCount - 1 ? 1 : parameters.minBytes, parameters.maxBytes);
  }
}
