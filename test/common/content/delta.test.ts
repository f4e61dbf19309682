import { expect } from 'chai';
import fc from 'fast-check';
import { chunkingParameters, parametersFor } from '../../../common/content/chunker.ts';
import { type DeltaCost, DeltaEncoder } from '../../../common/content/delta.ts';
import { SegmentCollector } from '../../../common/content/delta-segments.ts';
import { DIGEST_FUNCTIONS, type DigestFunction } from '../../../common/content/digest.ts';
import type { Signature } from '../../../common/content/signature.ts';
import { SignatureBuilder } from '../../../common/content/signature-builder.ts';
import { SignatureAssembler, signatureParts } from '../../../common/content/signature-parts.ts';
import {
  contentOf,
  edited,
  edits,
  inSlices,
  joined,
  Patcher,
  periodicBytes,
  randomBytes,
  recipes,
  slicing,
} from './contents.ts';

const WHOLE = [2 ** 30];
const average = fc.integer({ min: 8, max: 15 }).map((bits) => 2 ** bits);
const functionName = fc.constantFrom(...DIGEST_FUNCTIONS);

function signatureOf(content: Uint8Array, averageBytes = 256, digestFunction: DigestFunction = 'blake3'): Signature {
  const builder = new SignatureBuilder(digestFunction, chunkingParameters(averageBytes));
  builder.push(content);
  return builder.finish().signature!;
}

interface Delta {
  readonly result: Uint8Array;
  readonly signature: Signature | undefined;
  readonly copies: number;
  readonly literalBytes: number;
  readonly cost: DeltaCost;
}

function deltaOf(
  basis: Uint8Array,
  basisSignature: Signature,
  content: Uint8Array,
  lengths: readonly number[] = WHOLE,
  digestFunction: DigestFunction = 'blake3',
): Delta {
  const patcher = new Patcher(basis);
  const encoder = new DeltaEncoder(digestFunction, basisSignature, patcher);
  inSlices(content, lengths, (slice) => encoder.push(slice));
  const { signature } = encoder.finish();
  const { copies, literalBytes } = patcher;
  return { result: patcher.result(), signature, copies, literalBytes, cost: encoder.cost };
}

/** Exact, and with a message of one line: contents are long. */
function expectSame(actual: Uint8Array, expected: Uint8Array): void {
  expect(Buffer.compare(actual, expected), `${actual.length} bytes, expected ${expected.length}`).to.equal(0);
}

/** What every delta must keep to, whatever it is made of: work that grows with the content, no faster. */
function expectLinear({ cost }: Delta, content: Uint8Array, { blockCount, parameters }: Signature): void {
  const newBlocks = Math.ceil(content.length / parameters.minBytes) + 1;
  expect(cost.scannedBytes, 'scanned').to.be.at.most(content.length);
  // Each byte once in a block, once in a group that was not found, and what may be compared in vain.
  expect(cost.hashedBytes, 'hashed').to.be.at.most(3 * content.length + 2 ** 19);
  expect(cost.hashCalls, 'hash calls').to.be.at.most(3 * newBlocks + 8);
  expect(cost.comparisons, 'comparisons').to.be.at.most(36 * (newBlocks + blockCount));
}

describe('a delta', function () {
  this.timeout(20_000);

  it('makes the new content of the old one, however either is sliced', () => {
    fc.assert(
      fc.property(recipes, edits, average, slicing, functionName, (all, changes, averageBytes, lengths, name) => {
        const basis = contentOf(all);
        const content = edited(basis, changes);
        const signature = signatureOf(basis, averageBytes, name);
        const delta = deltaOf(basis, signature, content, lengths, name);
        expectSame(delta.result, content);
        expectLinear(delta, content, signature);
      }),
      { numRuns: 200 },
    );
  });

  it('makes any content of any other', () => {
    fc.assert(
      fc.property(recipes, recipes, average, slicing, (before, after, averageBytes, lengths) => {
        const basis = contentOf(before);
        const content = contentOf(after);
        const signature = signatureOf(basis, averageBytes);
        const delta = deltaOf(basis, signature, content, lengths);
        expectSame(delta.result, content);
        expectLinear(delta, content, signature);
      }),
      { numRuns: 150 },
    );
  });

  it('gives the signature that the new content has by itself', () => {
    fc.assert(
      fc.property(recipes, edits, average, slicing, (all, changes, averageBytes, lengths) => {
        const basis = contentOf(all);
        const content = edited(basis, changes);
        const delta = deltaOf(basis, signatureOf(basis, averageBytes), content, lengths);
        expect(delta.signature).to.deep.equal(signatureOf(content, averageBytes));
      }),
      { numRuns: 150 },
    );
  });

  it('is the same with a signature that has no groups, because it came over the wire', () => {
    fc.assert(
      fc.property(recipes, edits, slicing, (all, changes, lengths) => {
        const basis = contentOf(all);
        const content = edited(basis, changes);
        const signature = signatureOf(basis);
        const assembler = new SignatureAssembler(signature.digest, signature.sizeBytes);
        for (const part of signatureParts(signature, 100)) assembler.add(part);
        const delta = deltaOf(basis, assembler.finish(), content, lengths);
        expectSame(delta.result, content);
        expect(delta.literalBytes).to.equal(deltaOf(basis, signature, content, lengths).literalBytes);
        expect(delta.signature).to.deep.equal(signatureOf(content));
      }),
      { numRuns: 60 },
    );
  });

  it('of an unchanged content is one copy', () => {
    const content = randomBytes(1, 300_000);
    const { copies, literalBytes, cost } = deltaOf(content, signatureOf(content), content, [65536]);
    expect({ copies, literalBytes }).to.deep.equal({ copies: 1, literalBytes: 0 });
    expect(cost.scannedBytes).to.be.at.most(2048);
  });

  it('of or from no bytes is right (E21)', () => {
    const nothing = new Uint8Array(0);
    const content = randomBytes(1, 5000);
    expect(deltaOf(nothing, signatureOf(nothing), nothing)).to.include({ copies: 0, literalBytes: 0 });
    expect(deltaOf(content, signatureOf(content), nothing)).to.include({ copies: 0, literalBytes: 0 });
    expect(deltaOf(nothing, signatureOf(nothing), content)).to.include({ copies: 0, literalBytes: 5000 });
  });

  it('of one changed byte has one block or two as literal data, and chunks no more than those (E104)', () => {
    const basis = randomBytes(1, 8 * 2 ** 20);
    // As for 1 GB, where the blocks are 4 KiB on average.
    const { averageBytes, maxBytes } = parametersFor(1e9);
    const signature = signatureOf(basis, averageBytes);
    for (const at of [0, 1, 4_000_000, basis.length - 1]) {
      const content = Uint8Array.from(basis);
      content[at]! ^= 1;
      const { result, literalBytes, cost } = deltaOf(basis, signature, content, [262_144]);
      expectSame(result, content);
      expect(literalBytes, `at ${at}`).to.be.within(1, 2 * maxBytes);
      expect(cost.scannedBytes, `at ${at}`).to.be.at.most(8 * maxBytes);
      expect(cost.hashedBytes, `at ${at}`).to.be.at.most(basis.length + 4 * 131_072);
    }
  });

  it('finds the old content again behind an insertion and behind a removal', () => {
    const basis = randomBytes(1, 2 ** 20);
    const signature = signatureOf(basis, 1024);
    const inserted = joined([basis.subarray(0, 1000), randomBytes(2, 10), basis.subarray(1000)]);
    const removed = joined([basis.subarray(0, 500_000), basis.subarray(500_010)]);
    for (const content of [inserted, removed]) {
      const { result, literalBytes, copies, cost } = deltaOf(basis, signature, content);
      expectSame(result, content);
      expect(literalBytes).to.be.below(16 * 1024);
      expect(copies).to.be.at.most(2);
      expect(cost.hashCalls, 'groups are recognised again').to.be.below(400);
    }
  });

  it('of what was appended to has only the appended bytes as literal data', () => {
    const basis = randomBytes(1, 100_123);
    const appended = randomBytes(2, 77);
    const { result, literalBytes, copies } = deltaOf(basis, signatureOf(basis), joined([basis, appended]), [4096]);
    expectSame(result, joined([basis, appended]));
    expect({ literalBytes, copies }).to.deep.equal({ literalBytes: 77, copies: 1 });
  });

  it('goes on in place behind an edit among equal blocks (E71)', () => {
    const zeros = new Uint8Array(500_000);
    const basis = joined([
      randomBytes(1, 5000),
      zeros.subarray(0, 1500),
      randomBytes(2, 5000),
      zeros,
      randomBytes(3, 5000),
    ]);
    const content = Uint8Array.from(basis);
    content[200_000] = 1;
    const { result, copies, literalBytes } = deltaOf(basis, signatureOf(basis), content);
    expectSame(result, content);
    expect(copies).to.equal(2);
    expect(literalBytes).to.be.at.most(2048);
  });

  it('finds blocks that have moved', () => {
    const parts = [1, 2, 3, 4].map((seed) => randomBytes(seed, 60_000));
    const basis = joined(parts);
    const content = joined([parts[3]!, parts[1]!, parts[1]!, parts[0]!, parts[2]!]);
    const { result, literalBytes } = deltaOf(basis, signatureOf(basis), content);
    expectSame(result, content);
    expect(literalBytes).to.be.below(20_000);
  });
});

describe('the cost of a delta', function () {
  this.timeout(20_000);

  const kinds: readonly (readonly [string, Uint8Array])[] = [
    ['zeros', new Uint8Array(4_000_000)],
    ['one block 40,000 times', periodicBytes(1, 100, 4_000_000)],
    ['a period longer than any block', periodicBytes(1, 5000, 4_000_000)],
    ['a period of a group', periodicBytes(1, 40_000, 4_000_000)],
  ];
  for (const [name, basis] of kinds) {
    it(`grows with the length, for ${name} (E71, S13)`, () => {
      const signature = signatureOf(basis);
      const noise = randomBytes(9, 1000);
      const contents = [
        basis,
        basis.subarray(0, 3_000_000),
        joined([noise, basis]),
        joined([basis.subarray(0, 1_000_000), noise, basis.subarray(1_000_000)]),
        joined(Array.from({ length: 100 }, (_, index) => joined([basis.subarray(0, 20_000 + index), noise]))),
      ];
      for (const content of contents) {
        const delta = deltaOf(basis, signature, content, [100_000]);
        expectSame(delta.result, content);
        expectLinear(delta, content, signature);
      }
    });
  }

  it('is one hash a block where nothing is found', () => {
    const basis = randomBytes(1, 300_000);
    const content = randomBytes(2, 300_000);
    const { cost, literalBytes } = deltaOf(basis, signatureOf(basis), content);
    expect(literalBytes).to.equal(content.length);
    expect(cost.hashCalls).to.be.at.most(signatureOf(content).blockCount + 2);
  });

  it('stays bounded when every group begins as expected and then differs (S13)', () => {
    const basis = randomBytes(1, 1_000_000);
    const signature = signatureOf(basis);
    const { groups, offsets } = signature;
    // From each group its first block, behind the block that ends a group: each time a comparison in vain.
    const pieces = Array.from({ length: 4000 }, (_, index) => {
      const first = groups!.firstBlocks[1 + (index % (groups!.count - 2))]!;
      return basis.subarray(offsets[first - 1], offsets[first + 1]);
    });
    const content = joined(pieces);
    const delta = deltaOf(basis, signature, content, [300_000]);
    expectSame(delta.result, content);
    expectLinear(delta, content, signature);
  });

  it('stays bounded for a signature made of fingerprints that collide (S13)', () => {
    const content = randomBytes(1, 500_000);
    const honest = signatureOf(content);
    const fingerprints = honest.fingerprints.map((word, at) => (at % 4 < 2 ? 0x12345678 : word));
    const hostile: Signature = { ...honest, fingerprints, groups: undefined };
    const delta = deltaOf(content, hostile, content);
    expectSame(delta.result, content);
    expectLinear(delta, content, hostile);
  });

  it('does not depend on how finely the content is sliced', () => {
    const basis = randomBytes(1, 300_000);
    const content = joined([basis.subarray(0, 100_000), randomBytes(2, 50), basis.subarray(100_000)]);
    const signature = signatureOf(basis);
    const whole = deltaOf(basis, signature, content).cost;
    for (const lengths of [[1], [1000], [65536], [1, 200_000]]) {
      expect(deltaOf(basis, signature, content, lengths).cost).to.deep.equal(whole);
    }
  });
});

describe('a signature that lies', () => {
  it('gives a delta that stays within the basis, and a new signature that is true', () => {
    fc.assert(
      fc.property(recipes, edits, recipes, (all, changes, other) => {
        const basis = contentOf(all);
        const honest = signatureOf(basis);
        // The lengths of one content and the fingerprints of another.
        const { fingerprints, blockCount } = signatureOf(contentOf(other));
        const mixed = Int32Array.from(honest.fingerprints, (word, at) =>
          at < 4 * blockCount ? fingerprints[at]! : word,
        );
        const content = edited(basis, changes);
        const delta = deltaOf(basis, { ...honest, fingerprints: mixed }, content);
        expect(delta.result.length).to.equal(content.length);
        expect(delta.signature?.sizeBytes).to.equal(content.length);
      }),
      { numRuns: 60 },
    );
  });
});

describe('the segments of a delta', () => {
  it('say the same as the calls of the encoder', () => {
    fc.assert(
      fc.property(recipes, edits, slicing, (all, changes, lengths) => {
        const basis = contentOf(all);
        const content = edited(basis, changes);
        const collector = new SegmentCollector();
        const encoder = new DeltaEncoder('blake3', signatureOf(basis), collector);
        inSlices(content, lengths, (slice) => encoder.push(slice));
        encoder.finish();
        const segments = collector.segments();
        const made = segments.flatMap(({ basisOffset, copyLength, literal }) => [
          basis.subarray(Number(basisOffset), Number(basisOffset + copyLength)),
          literal,
        ]);
        expectSame(joined(made), content);
        expect(collector.segmentCount).to.equal(segments.length);
        expect(collector.copiedBytes + collector.literalBytes).to.equal(content.length);
      }),
      { numRuns: 60 },
    );
  });

  it('are none for no content', () => {
    expect(new SegmentCollector().segments()).to.deep.equal([]);
  });
});
