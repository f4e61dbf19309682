import { constants, zstdCompressSync } from 'node:zlib';
import { expect } from 'chai';
import fc from 'fast-check';
import { compressionPays, compressLiterals, decompressLiterals } from '../../../common/content/literals.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { contentOf, joined, randomBytes, recipes } from './contents.ts';

function refused(frame: Uint8Array, maxBytes: number): void {
  expect(() => decompressLiterals(frame, maxBytes))
    .to.throw(LockstepError)
    .with.property('reason', 'INVALID_ARGUMENT');
}

describe('literal data', () => {
  it('come back as they were, at any level', () => {
    fc.assert(
      fc.property(recipes, fc.constantFrom(1, 3, 6, 9), (all, level) => {
        const data = contentOf(all);
        const frame = compressLiterals(data, level);
        if (frame === undefined) return;
        expect(frame.length).to.be.below(data.length * 0.95);
        expect(decompressLiterals(frame, data.length).equals(data)).to.equal(true);
      }),
      { numRuns: 60 },
    );
  });

  it('are left alone when less than 5 % would be saved', () => {
    for (const bytes of [0, 1, 10, 1000, 20_000, 500_000]) {
      expect(compressLiterals(randomBytes(1, bytes)), `${bytes} bytes`).to.equal(undefined);
      expect(compressionPays(randomBytes(1, bytes)), `${bytes} bytes`).to.equal(false);
    }
    expect(compressionPays(new Uint8Array(1000))).to.equal(true);
  });

  it('are judged by their middle, not by a header that compresses', () => {
    expect(compressionPays(joined([new Uint8Array(30_000), randomBytes(1, 200_000)]))).to.equal(false);
  });

  it('are compressed with a window over all of them', () => {
    const part = randomBytes(1, 3_000_000);
    expect(compressLiterals(joined([part, part, new Uint8Array(6_000_000)]))!.length).to.be.below(3_100_000);
  });
});

describe('compressed literal data', () => {
  const data = new Uint8Array(100_000).fill(7);
  const frame = compressLiterals(data)!;

  it('that stand for more than is allowed are refused (S22)', () => {
    for (const maxBytes of [0, 1, 99_999]) refused(frame, maxBytes);
    const bomb = zstdCompressSync(new Uint8Array(50_000_000));
    expect(bomb.length).to.be.below(10_000);
    // Before it is decompressed, not afterwards.
    const code = 'ERR_BUFFER_TOO_LARGE';
    expect(() => decompressLiterals(bomb, 1_000_000))
      .to.throw(LockstepError)
      .with.nested.property('cause.code', code);
  });

  it('that ask for a window beyond 8 MiB are refused (S22)', () => {
    const large = new Uint8Array(9 * 2 ** 20);
    // Without a size in its header a frame names its window, else the size counts.
    const frameOf = (windowLog: number) =>
      zstdCompressSync(large, {
        params: { [constants.ZSTD_c_windowLog]: windowLog, [constants.ZSTD_c_contentSizeFlag]: 0 },
      });
    expect(decompressLiterals(frameOf(23), large.length)).to.have.length(large.length);
    refused(frameOf(24), large.length);
  });

  it('that are cut off or damaged are refused, or stand for no more than allowed', () => {
    for (const bytes of [0, 1, 4, frame.length - 1]) refused(frame.subarray(0, bytes), data.length);
    refused(Buffer.from('this is not compressed'), data.length);
    fc.assert(
      fc.property(fc.nat(frame.length - 1), fc.nat(255), (at, value) => {
        const damaged = Uint8Array.from(frame);
        damaged[at] = value;
        try {
          expect(decompressLiterals(damaged, data.length).length).to.be.at.most(data.length);
        } catch (error) {
          expect(error).to.be.instanceOf(LockstepError);
        }
      }),
    );
  });

  it('of nothing is nothing', () => {
    expect(decompressLiterals(zstdCompressSync(new Uint8Array(0)), 0)).to.have.length(0);
    refused(zstdCompressSync(new Uint8Array(1)), 0);
  });
});
