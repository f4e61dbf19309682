import { expect } from 'chai';
import { BlockIndex } from '../../../common/content/block-index.ts';
import { chunkingParameters } from '../../../common/content/chunker.ts';
import { equalFingerprints } from '../../../common/content/fingerprint.ts';
import type { Signature } from '../../../common/content/signature.ts';
import { SignatureBuilder } from '../../../common/content/signature-builder.ts';
import { joined, randomBytes } from './contents.ts';

function signatureOf(content: Uint8Array): Signature {
  const builder = new SignatureBuilder('blake3', chunkingParameters(256));
  builder.push(content);
  return builder.finish().signature!;
}

describe('a block index', () => {
  it('finds every block, and the first of equal ones', () => {
    const part = randomBytes(1, 300_000);
    const signature = signatureOf(joined([part, part]));
    const { fingerprints, blockCount } = signature;
    const index = new BlockIndex(signature);
    let repeated = 0;
    for (let block = 0; block < blockCount; block++) {
      const found = index.find(fingerprints.subarray(4 * block, 4 * block + 4));
      expect(found).to.be.within(0, block);
      expect(equalFingerprints(fingerprints, found, fingerprints, block)).to.equal(true);
      if (found < block) repeated++;
    }
    expect(repeated).to.be.above(blockCount / 3);
    expect(index.comparisons / blockCount).to.be.below(6);
  });

  it('finds nothing that is not there', () => {
    const index = new BlockIndex(signatureOf(randomBytes(1, 100_000)));
    const { fingerprints, blockCount } = signatureOf(randomBytes(2, 100_000));
    for (let block = 0; block < blockCount; block++) {
      expect(index.find(fingerprints.subarray(4 * block, 4 * block + 4))).to.equal(-1);
    }
    expect(new BlockIndex(signatureOf(new Uint8Array(0))).find(fingerprints)).to.equal(-1);
  });

  it('loses blocks of a signature made to collide, instead of looking on and on for them (S13)', () => {
    const fingerprints = new Int32Array(4 * 100).map((_, word) => (word % 4 === 3 ? word : 0));
    const index = new BlockIndex({ ...signatureOf(new Uint8Array(0)), fingerprints, blockCount: 100 });
    expect(index.find(fingerprints.subarray(4 * 31, 4 * 32))).to.equal(31);
    const before = index.comparisons;
    expect(index.find(fingerprints.subarray(4 * 99))).to.equal(-1);
    expect(index.comparisons - before).to.equal(32);
  });
});
