/**
 * The data of the benchmark is the same everywhere and every time.
 */
import { createHash } from 'node:crypto';
import {
  globSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { expect } from 'chai';
import fc from 'fast-check';
import { differencesBetween } from '../../bench/harness/data/compare-trees.ts';
import { IncompressibleBytes, SeededRandom } from '../../bench/harness/data/seeded-random.ts';
import { TextSource } from '../../bench/harness/data/text-source.ts';
import { pathOfFile, type TreeShape, writeLargeFile, writeTree } from '../../bench/harness/data/tree-writer.ts';

/** Made on an x86-64; a change of these makes new results incomparable with old ones. */
const FIRST_OF_FIXED = [866318557, 2627386754, 432];
const NOISE_OF_FIXED = '6cc6fac2603eae276774b88fbeca09b4';
const SHAPE: TreeShape = { seed: 'test', files: 250, minSizeBytes: 10, maxSizeBytes: 90, content: 'text' };

/** Over names, sizes, times and bytes. */
function digestOf(root: string): string {
  const hash = createHash('sha256');
  for (const path of globSync('**/*', { cwd: root }).sort()) {
    const stats = lstatSync(join(root, path));
    hash.update(path);
    if (stats.isFile()) hash.update(`${stats.size} ${stats.mtimeMs}`).update(readFileSync(join(root, path)));
  }
  return hash.digest('hex');
}

describe('the benchmark data', () => {
  let room: string;

  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'bench-data-'));
  });

  afterEach(() => {
    rmSync(room, { recursive: true, force: true });
  });

  it('is the same tree for the same seed, and another for another', async () => {
    await writeTree(join(room, 'a'), SHAPE);
    await writeTree(join(room, 'b'), SHAPE);
    await writeTree(join(room, 'c'), { ...SHAPE, seed: 'other' });
    expect(digestOf(join(room, 'a'))).to.equal(digestOf(join(room, 'b')));
    expect(digestOf(join(room, 'a'))).not.to.equal(digestOf(join(room, 'c')));
  });

  it('is the same on every machine', () => {
    const random = new SeededRandom('fixed');
    expect([random.uint32(), random.uint32(), random.below(1000)]).to.deep.equal(FIRST_OF_FIXED);
    const noise = new IncompressibleBytes('fixed').next(16).toString('hex');
    expect(noise).to.equal(NOISE_OF_FIXED);
  });

  it('has the files, sizes and places that were asked for', async () => {
    const written = await writeTree(join(room, 'a'), SHAPE);
    const sizes = Array.from({ length: SHAPE.files }, (_, index) => lstatSync(join(room, 'a', pathOfFile(index))).size);
    expect(written).to.deep.equal({ files: 250, sizeBytes: sizes.reduce((sum, size) => sum + size, 0) });
    expect(Math.min(...sizes)).to.be.at.least(10);
    expect(Math.max(...sizes)).to.be.at.most(90);
  });

  it('keeps 100 files in a directory, and 100 directories in a directory', () => {
    expect(pathOfFile(0)).to.equal('part-000/module-00/file-0000000.txt');
    expect(pathOfFile(99)).to.match(/^part-000\/module-00\//);
    expect(pathOfFile(100)).to.match(/^part-000\/module-01\//);
    expect(pathOfFile(10_000)).to.match(/^part-001\/module-00\//);
    fc.assert(
      fc.property(fc.nat(2_000_000), fc.nat(2_000_000), (a, b) => (pathOfFile(a) === pathOfFile(b)) === (a === b)),
    );
  });

  it('writes large files of exactly the size, whatever it is', async () => {
    await writeLargeFile(join(room, 'large'), 5_000_001, 'large');
    const content = readFileSync(join(room, 'large'));
    expect(content.length).to.equal(5_000_001);
    expect(zstdCompressSync(content).length).to.be.greaterThan(content.length * 0.99);
  });

  it('has text that compresses about as source text does', () => {
    const text = Buffer.alloc(200_000);
    new TextSource('text').fill(text);
    const share = zstdCompressSync(text).length / text.length;
    expect(share).to.be.within(0.2, 0.6);
  });
});

describe('the numbers of SeededRandom', () => {
  it('stay within their bounds', () => {
    fc.assert(
      fc.property(fc.string(), fc.integer({ min: 1, max: 1e9 }), (seed, limit) => {
        const random = new SeededRandom(seed);
        expect(random.below(limit)).to.be.within(0, limit - 1);
        expect(random.between(5, 5 + limit)).to.be.within(5, 5 + limit);
      }),
    );
  });

  it('are spread evenly', () => {
    const random = new SeededRandom('spread');
    const counts = Array.from({ length: 10 }, () => 0);
    for (let draw = 0; draw < 100_000; draw++) {
      const digit = random.below(10);
      counts[digit] = (counts[digit] ?? 0) + 1;
    }
    for (const count of counts) expect(count).to.be.within(9_500, 10_500);
  });
});

describe('differencesBetween', () => {
  const options = { contents: true, ignoredAtRoot: ['.lockstep'] };
  let room: string;
  let source: string;
  let replica: string;

  beforeEach(async () => {
    room = mkdtempSync(join(tmpdir(), 'bench-compare-'));
    source = join(room, 'source');
    replica = join(room, 'replica');
    await writeTree(source, SHAPE);
    await writeTree(replica, SHAPE);
  });

  afterEach(() => {
    rmSync(room, { recursive: true, force: true });
  });

  it('finds none in equal trees, and overlooks what is the synchronizer’s own', () => {
    writeFileSync(join(replica, '.lockstep'), '');
    expect(differencesBetween(source, replica, options)).to.deep.equal([]);
  });

  it('finds what is missing, too much, changed, of another time or kind', () => {
    const [missing, changed, touched, linked] = [0, 101, 102, 203].map(pathOfFile) as [string, string, string, string];
    rmSync(join(replica, missing));
    const { atime, mtime, size } = lstatSync(join(replica, changed));
    writeFileSync(join(replica, changed), Buffer.alloc(size, 1));
    utimesSync(join(replica, changed), atime, mtime);
    utimesSync(join(replica, touched), 1, 1);
    rmSync(join(replica, linked));
    symlinkSync('elsewhere', join(replica, linked));
    writeFileSync(join(replica, 'extra'), '');
    const found = differencesBetween(source, replica, options).join('\n');
    expect(found).to.include(`${missing} is missing`);
    expect(found).to.include(`${changed}: another content`);
    expect(found).to.include(`${touched}: another time`);
    expect(found).to.include(`${linked}: another kind`);
    expect(found).to.include('/extra is too much');
  });
});
