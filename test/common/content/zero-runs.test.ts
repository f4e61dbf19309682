import { expect } from 'chai';
import fc from 'fast-check';
import { HOLE_BYTES, zeroRuns } from '../../../common/content/zero-runs.ts';

/** Zeros in some blocks, in all others one byte at any place. */
const patchy = fc
  .tuple(
    fc.array(fc.option(fc.nat(HOLE_BYTES - 1), { nil: undefined }), { maxLength: 12 }),
    fc.nat(3 * HOLE_BYTES),
    fc.nat(HOLE_BYTES),
  )
  .map(([blocks, position, cutBytes]) => {
    const data = new Uint8Array(Math.max(0, blocks.length * HOLE_BYTES - cutBytes));
    for (const [block, place] of blocks.entries()) {
      const at = block * HOLE_BYTES + (place ?? data.length);
      if (at < data.length) data[at] = 1;
    }
    return { data, position };
  });

describe('zero runs', () => {
  it('are all blocks of the file that have nothing but zeros, and no others (E20)', () => {
    fc.assert(
      fc.property(patchy, ({ data, position }) => {
        const inRuns = new Uint8Array(data.length);
        let before = -1;
        for (const { start, end } of zeroRuns(data, position)) {
          expect(start, 'neighbours are one run').to.be.greaterThan(before);
          expect(end).to.be.greaterThan(start);
          inRuns.fill(1, start, end);
          before = end;
        }
        for (let start = 0; start < data.length; ) {
          const end = Math.min(data.length, start + HOLE_BYTES - ((position + start) % HOLE_BYTES));
          const isZero = data.subarray(start, end).every((byte) => byte === 0);
          expect(inRuns.subarray(start, end).every((mark) => mark === (isZero ? 1 : 0))).to.equal(true);
          start = end;
        }
      }),
    );
  });

  it('begin where blocks of the file begin, also beyond 4 GiB', () => {
    const data = new Uint8Array(4 * HOLE_BYTES);
    data[0] = 1;
    expect(zeroRuns(data, 5 * 2 ** 32)).to.deep.equal([{ start: HOLE_BYTES, end: 4 * HOLE_BYTES }]);
    expect(zeroRuns(data, 5 * 2 ** 32 + 4000)).to.deep.equal([{ start: 96, end: 4 * HOLE_BYTES }]);
    expect(zeroRuns(data.fill(1), 0)).to.deep.equal([]);
    expect(zeroRuns(new Uint8Array(0), 0)).to.deep.equal([]);
  });
});
