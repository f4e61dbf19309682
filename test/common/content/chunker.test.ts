import { expect } from 'chai';
import fc from 'fast-check';
import {
  blockLength,
  type ChunkingParameters,
  chunkingParameters,
  isAverage,
  MAX_AVERAGE_BYTES,
  MIN_AVERAGE_BYTES,
  parametersFor,
  parametersSuit,
} from '../../../common/content/chunker.ts';
import { GEAR } from '../../../common/content/gear.ts';
import { contentOf, joined, randomBytes, recipes } from './contents.ts';

const smallest = chunkingParameters(MIN_AVERAGE_BYTES);
const average = fc.integer({ min: 8, max: 14 }).map((bits) => 2 ** bits);

/** Where the blocks end. */
function boundariesOf(content: Uint8Array, parameters: ChunkingParameters): number[] {
  const ends: number[] = [];
  for (let at = 0; at < content.length; ) {
    at += blockLength(content, at, content.length, parameters);
    ends.push(at);
  }
  return ends;
}

/** The definition, byte by byte. */
function slowBlockLength(
  data: Uint8Array,
  start: number,
  { minBytes, averageBytes, maxBytes }: ChunkingParameters,
): number {
  const bits = Math.log2(averageBytes);
  const rest = data.length - start;
  let hash = 0n;
  for (let length = minBytes; length < Math.min(maxBytes, rest); length++) {
    hash = BigInt.asUintN(32, (hash << 1n) + BigInt(GEAR[data[start + length - 1]!]!));
    const zeroBits = length <= averageBytes ? bits + 1 : bits - 1;
    if (hash < 1n << BigInt(32 - zeroBits)) return length;
  }
  return Math.min(maxBytes, rest);
}

/** Of 4000 bytes of randomBytes(1), with the smallest blocks. */
const KNOWN_BOUNDARIES = [278, 433, 750, 1086, 1504, 1751, 2013, 2253, 2511, 2618, 2865, 3248, 3491, 3775, 3930, 4000];

describe('the gear table', () => {
  it('has the published numbers', () => {
    expect(GEAR).to.have.length(256);
    expect([...GEAR.subarray(0, 4)]).to.deep.equal([-1917835226, -143583179, 1437520376, 701051360]);
    expect(GEAR[255]).to.equal(-1686363360);
  });

  it('has another number for each byte', () => {
    expect(new Set(GEAR).size).to.equal(256);
  });
});

describe('content-defined chunking', () => {
  it('cuts where the definition says', () => {
    const short = recipes.map((all) => all.map((each) => ({ ...each, bytes: each.bytes % 4000 })));
    fc.assert(
      fc.property(short, average, fc.nat(100), (all, averageBytes, start) => {
        const content = contentOf(all);
        if (start > content.length) return;
        const parameters = chunkingParameters(averageBytes);
        const length = blockLength(content, start, content.length, parameters);
        expect(length).to.equal(slowBlockLength(content, start, parameters));
      }),
      { numRuns: 300 },
    );
  });

  it('gives the same cuts on every platform and in every version', () => {
    expect(boundariesOf(randomBytes(1, 4000), smallest)).to.deep.equal(KNOWN_BOUNDARIES);
  });

  it('keeps every block within the bounds, the last one may be shorter', () => {
    fc.assert(
      fc.property(recipes, average, (all, averageBytes) => {
        const content = contentOf(all);
        const parameters = chunkingParameters(averageBytes);
        const ends = boundariesOf(content, parameters);
        expect(ends.at(-1) ?? 0).to.equal(content.length);
        for (const [index, end] of ends.entries()) {
          const length = end - (ends[index - 1] ?? 0);
          expect(length).to.be.within(end === content.length ? 1 : parameters.minBytes, parameters.maxBytes);
        }
      }),
      { numRuns: 100 },
    );
  });

  it('makes blocks of about the average length', () => {
    for (const averageBytes of [256, 1024, 8192]) {
      const blocks = boundariesOf(randomBytes(7, 400 * averageBytes), chunkingParameters(averageBytes)).length;
      expect(blocks, `average ${averageBytes}`).to.be.within(300, 460);
    }
  });

  it('moves no more than a few cuts by an insertion', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(200_000), fc.nat(400), (seed, place, insertedBytes) => {
        const before = randomBytes(seed, 200_000);
        const inserted = randomBytes(seed + 1, insertedBytes);
        const after = joined([before.subarray(0, place), inserted, before.subarray(place)]);
        const expected = new Set(
          boundariesOf(before, smallest).map((end) => (end <= place ? end : end + insertedBytes)),
        );
        const moved = boundariesOf(after, smallest).filter((end) => !expected.has(end));
        expect(moved.length).to.be.below(40);
      }),
      { numRuns: 100 },
    );
  });

  it('cuts runs of one byte into the longest blocks, of zeros in particular (E20, E71)', () => {
    for (const value of [0, 32, 255]) {
      const run = new Uint8Array(8 * smallest.maxBytes).fill(value);
      expect(boundariesOf(run, smallest), `byte ${value}`).to.have.length(8);
    }
  });

  it('finds no boundary in any run once the hash has settled', () => {
    // After 32 equal bytes the hash is the sum of all GEAR[value] << k, which is -GEAR[value].
    for (const [value, gear] of GEAR.entries()) {
      const settled = Array.from({ length: 40 }).reduce<number>((hash) => ((hash << 1) + gear) | 0, 0);
      expect(settled, `byte ${value}`).to.equal(-gear | 0);
      expect(settled >>> 25, `byte ${value}`).to.not.equal(0);
    }
  });

  it('is right at the lengths where something changes (E21)', () => {
    const { minBytes, averageBytes, maxBytes } = smallest;
    for (const length of [minBytes, averageBytes, maxBytes, 2 * maxBytes].flatMap((edge) => [
      edge - 1,
      edge,
      edge + 1,
    ])) {
      const zeros = new Uint8Array(length);
      const expected =
        length <= maxBytes ? [length] : length <= 2 * maxBytes ? [maxBytes, length] : [maxBytes, 2 * maxBytes, length];
      expect(boundariesOf(zeros, smallest), `length ${length}`).to.deep.equal(expected);
    }
    expect(boundariesOf(new Uint8Array(0), smallest)).to.deep.equal([]);
  });
});

describe('chunking parameters', () => {
  it('are powers of two from 256 B to 1 MiB', () => {
    for (const averageBytes of [0, 1, 128, 255, 257, 768, 2 ** 21, Number.NaN, -256, 256.5]) {
      expect(isAverage(averageBytes), `${averageBytes}`).to.equal(false);
      expect(() => chunkingParameters(averageBytes)).to.throw(RangeError);
    }
    expect(chunkingParameters(256)).to.deep.equal({ minBytes: 64, averageBytes: 256, maxBytes: 1024 });
    expect(isAverage(MAX_AVERAGE_BYTES)).to.equal(true);
  });

  it('grow with the content, and bound the number of blocks', () => {
    const sizes = [0, 1, 100, 2 ** 14, 2 ** 20, 2 ** 24 - 1, 2 ** 24, 2 ** 30, 2 ** 36, 2 ** 40, 2 ** 50];
    const averages = sizes.map((size) => parametersFor(size).averageBytes);
    expect(averages).to.deep.equal([256, 256, 256, 256, 256, 256, 512, 4096, 65536, 2 ** 20, 2 ** 20]);
  });

  it('keep a one-byte edit of a 1 GB file far below 1 MB (E104)', () => {
    expect(parametersFor(1e9).maxBytes * 2).to.be.below(100_000);
  });

  it('are coarser for large contents that do not compress', () => {
    expect(parametersFor(2 ** 20, randomBytes(1, 65536)).averageBytes).to.equal(4096);
    expect(parametersFor(2 ** 20, new Uint8Array(65536)).averageBytes).to.equal(256);
    expect(parametersFor(2 ** 14, randomBytes(1, 2 ** 14)).averageBytes).to.equal(256);
    expect(parametersFor(2 ** 36, randomBytes(1, 65536)).averageBytes).to.equal(65536);
  });

  it('suit contents of about the size that they were chosen for', () => {
    const of = (sizeBytes: number, sample?: Uint8Array) => parametersFor(sizeBytes, sample);
    fc.assert(
      fc.property(fc.double({ min: 1, max: 1e12, noNaN: true }), fc.boolean(), (size, isDense) => {
        const parameters = of(Math.floor(size), isDense ? randomBytes(1, 16384) : undefined);
        expect(parametersSuit(parameters, Math.floor(size))).to.equal(true);
        expect(parametersSuit(parameters, Math.floor(size * 2))).to.equal(true);
      }),
    );
    expect(parametersSuit(of(1000), 2 ** 30), 'grown').to.equal(false);
    expect(parametersSuit(of(2 ** 36), 1000), 'shrunk').to.equal(false);
  });
});
