/**
 * The statistics of the benchmark.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import { geometricMean, median, percentile } from '../../bench/harness/statistics.ts';

const values = fc.array(fc.double({ min: 0.001, max: 1e9, noNaN: true }), { minLength: 1, maxLength: 50 });

describe('median', () => {
  it('is the middle of an odd number of values, and the mean of the two in the middle of an even one', () => {
    expect(median([5, 1, 3])).to.equal(3);
    expect(median([4, 1, 3, 2])).to.equal(2.5);
    expect(median([7])).to.equal(7);
  });

  it('leaves its argument as it is, and does not sort as text', () => {
    const input = [10, 9, 100];
    expect(median(input)).to.equal(10);
    expect(input).to.deep.equal([10, 9, 100]);
  });

  it('has as many values below as above', () => {
    fc.assert(
      fc.property(values, (list) => {
        const middle = median(list);
        const below = list.filter((value) => value < middle).length;
        const above = list.filter((value) => value > middle).length;
        expect(below).to.be.at.most(list.length / 2);
        expect(above).to.be.at.most(list.length / 2);
      }),
    );
  });

  it('refuses to be the median of nothing', () => {
    expect(() => median([])).to.throw(RangeError);
  });
});

describe('percentile', () => {
  it('is the smallest value that so many do not exceed', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
    expect(percentile(hundred, 50)).to.equal(50);
    expect(percentile(hundred, 99)).to.equal(99);
    expect(percentile(hundred, 100)).to.equal(100);
    expect(percentile([3, 1], 1)).to.equal(1);
  });

  it('is one of the values, and grows with the percentage', () => {
    fc.assert(
      fc.property(values, fc.integer({ min: 1, max: 99 }), (list, percent) => {
        const low = percentile(list, percent);
        expect(list).to.include(low);
        expect(percentile(list, percent + 1)).to.be.at.least(low);
      }),
    );
  });

  it('refuses percentages that are none', () => {
    expect(() => percentile([1], 0)).to.throw(RangeError);
    expect(() => percentile([1], 101)).to.throw(RangeError);
  });
});

describe('geometricMean', () => {
  it('lets half and double cancel out', () => {
    expect(geometricMean([0.5, 2])).to.be.closeTo(1, 1e-12);
    expect(geometricMean([4])).to.be.closeTo(4, 1e-12);
  });

  it('lies between the least and the largest value', () => {
    fc.assert(
      fc.property(values, (list) => {
        const mean = geometricMean(list);
        expect(mean).to.be.at.least(Math.min(...list) * (1 - 1e-9));
        expect(mean).to.be.at.most(Math.max(...list) * (1 + 1e-9));
      }),
    );
  });

  it('refuses values that are no ratios', () => {
    expect(() => geometricMean([1, 0])).to.throw(RangeError);
  });
});
