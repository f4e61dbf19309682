import { expect } from 'chai';
import fc from 'fast-check';
import { ByteWindow } from '../../../common/content/byte-window.ts';
import { inSlices, randomBytes, slicing } from './contents.ts';

describe('a byte window', () => {
  it('shows every byte once and in order, whatever is asked for and taken', () => {
    const wish = fc.record({
      needed: fc.integer({ min: 1, max: 5000 }),
      part: fc.double({ min: 0.01, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(fc.nat(60_000), slicing, fc.array(wish, { minLength: 1, maxLength: 8 }), (bytes, lengths, wishes) => {
        const content = randomBytes(1, bytes);
        const window = new ByteWindow();
        let taken = 0;
        let turn = 0;
        const take = (): void => {
          const { needed, part } = wishes[turn++ % wishes.length]!;
          const count = Math.ceil(Math.min(needed, window.end - window.start) * part);
          const seen = window.bytes.subarray(window.start, window.start + count);
          expect(Buffer.compare(seen, content.subarray(taken, taken + count))).to.equal(0);
          window.start += count;
          taken += count;
        };
        const holds = (): boolean => {
          const { needed } = wishes[turn % wishes.length]!;
          return window.holds(needed) || window.extend(needed);
        };
        inSlices(content, lengths, (slice) => {
          window.open(slice);
          while (holds()) take();
          // Less than what was asked for is left: nothing was held back.
          expect(window.end - window.start).to.be.below(wishes[turn % wishes.length]!.needed);
          window.close();
        });
        while (window.holds(1)) take();
        expect(taken).to.equal(content.length);
      }),
      { numRuns: 150 },
    );
  });
});
