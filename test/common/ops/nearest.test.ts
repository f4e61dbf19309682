import { expect } from 'chai';
import fc from 'fast-check';
import { editDistance, nearestWord } from '../../../common/ops/nearest.ts';

describe('the nearest word', () => {
  it('is the one a person meant, or none', () => {
    const known = ['listen', 'http', 'state', 'folder', 'scan-interval'];
    expect(nearestWord('lisen', known)).to.equal('listen');
    expect(nearestWord('htpp', known)).to.equal('http');
    expect(nearestWord('hpt', known)).to.equal(undefined);
    expect(nearestWord('scaninterval', known)).to.equal('scan-interval');
    expect(nearestWord('completely-else', known)).to.equal(undefined);
  });

  it('has a distance: zero only for equals, symmetric, within the triangle', () => {
    const word = fc.string({ maxLength: 8 });
    fc.assert(
      fc.property(word, word, word, (a, b, c) => {
        expect(editDistance(a, b) === 0).to.equal(a === b);
        expect(editDistance(a, b)).to.equal(editDistance(b, a));
        expect(editDistance(a, c)).to.be.at.most(editDistance(a, b) + editDistance(b, c));
      }),
    );
  });
});
