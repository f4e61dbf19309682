import { closeSync, lstatSync, openSync, statSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import fc from 'fast-check';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { mtimeMatches, setFdTimes, utimesArgument } from '../../../common/fs/times.ts';
import { ROOT } from '../../../common/tree/tree-path.ts';
import { useTemporaryDirectory } from './temporary.ts';

const SECOND = 1_000_000_000n;

/** Any nanosecond from 1970 to 2^33 s, often next to a microsecond's border. */
const since1970 = fc
  .tuple(fc.bigInt(0n, (1n << 33n) * 1_000_000n - 1n), fc.oneof(fc.constantFrom(0n, 1n, 999n), fc.bigInt(0n, 999n)))
  .map(([microseconds, rest]) => microseconds * 1000n + rest);

/** What the oldest ext4 inode can hold, 1901, to 1970. */
const before1970 = fc.bigInt(-(1n << 31n) * SECOND, -1n);

describe('modification times', () => {
  const temporary = useTemporaryDirectory();

  function readBack(mtimeNs: bigint): { byName: bigint; byHandle: bigint } {
    const root = SafeRoot.open(temporary.path);
    const path = `${temporary.path}/f`;
    writeFileSync(path, '');
    root.directory(ROOT).setMtime('f', mtimeNs);
    const byName = lstatSync(path, { bigint: true }).mtimeNs;
    const fd = openSync(path, 'r+');
    setFdTimes(fd, mtimeNs);
    closeSync(fd);
    root.close();
    return { byName, byHandle: statSync(path, { bigint: true }).mtimeNs };
  }

  it('arrive on disk in the same microsecond from 1970 to 2242 (E72)', () => {
    fc.assert(
      fc.property(since1970, (mtimeNs) => {
        const { byName, byHandle } = readBack(mtimeNs);
        expect(byName / 1000n).to.equal(mtimeNs / 1000n);
        expect(byHandle).to.equal(byName);
        expect(mtimeMatches(mtimeNs, byName)).to.equal(true);
      }),
      { numRuns: 400 },
    );
  });

  it('arrive in the same millisecond on Windows, which is all that is promised there', () => {
    const sinceThen = fc.oneof(
      since1970,
      fc.bigInt(0n, 4_000_000n).map((milliseconds) => milliseconds * 1_000_000n),
    );
    fc.assert(
      fc.property(sinceThen, (mtimeNs) => {
        // What libuv does there: a double of 100 ns since 1601, cut off.
        const ticks = BigInt(Math.trunc(Number(utimesArgument(mtimeNs, 'win32')) * 1e7 + 116_444_736_000_000_000));
        const arrived = (ticks - 116_444_736_000_000_000n) * 100n;
        expect(arrived / 1_000_000n).to.equal(mtimeNs / 1_000_000n);
        expect(mtimeMatches(mtimeNs, arrived, 'win32')).to.equal(true);
      }),
      { numRuns: 1000 },
    );
    expect(mtimeMatches(1_000_000n, 1_002_000n, 'win32')).to.equal(true);
    expect(mtimeMatches(1_000_000n, 1_002_000n, 'linux')).to.equal(false);
  });

  it('arrive on disk in the same millisecond before 1970 (E73)', () => {
    fc.assert(
      fc.property(before1970, (mtimeNs) => {
        const { byName, byHandle } = readBack(mtimeNs);
        expect(mtimeMatches(mtimeNs, byName)).to.equal(true);
        expect(mtimeMatches(mtimeNs, byHandle)).to.equal(true);
      }),
      { numRuns: 200 },
    );
  });

  it('arrive in the same millisecond from 2242 on, where no double is near enough to its beginning', () => {
    for (const mtimeNs of [8_589_934_596_004_000_000n, 8_589_934_592_007_000_000n]) {
      const seconds = Number(utimesArgument(mtimeNs));
      expect(Math.floor((seconds % 1) * 1000)).to.equal(Number((mtimeNs / 1_000_000n) % 1000n));
    }
  });

  it('arrive exactly when they are whole seconds', () => {
    for (const seconds of [0n, 1n, 1_767_225_600n, (1n << 31n) - 1n, 1n << 31n, (1n << 32n) + 1n, -1n, -1_000_000n]) {
      expect(readBack(seconds * SECOND).byName).to.equal(seconds * SECOND);
    }
  });

  it('are refused outside of int64 nanoseconds (E73)', () => {
    for (const mtimeNs of [1n << 63n, -(1n << 63n) - 1n, 10n ** 30n]) {
      expect(() => utimesArgument(mtimeNs))
        .to.throw()
        .with.property('reason', 'INVALID_TIME');
    }
  });

  it('are refused where the file system can only store another one, instead of being silently changed (E73)', () => {
    // ext4 ends in 1901, tmpfs takes all: either the time is there afterwards, or the caller is told.
    for (const mtimeNs of [-(1n << 63n), -(1n << 32n) * SECOND, (1n << 63n) - 1n]) {
      let stored = true;
      try {
        readBack(mtimeNs);
      } catch (error) {
        expect(error).to.have.property('reason', 'INVALID_TIME');
        stored = false;
      }
      const onDisk = lstatSync(`${temporary.path}/f`, { bigint: true }).mtimeNs;
      expect(mtimeMatches(mtimeNs, onDisk)).to.equal(stored);
    }
  });

  it('match to the microsecond, and to the millisecond before 1970', () => {
    expect(mtimeMatches(1_000n, 1_999n)).to.equal(true);
    expect(mtimeMatches(1_999n, 2_000n)).to.equal(false);
    expect(mtimeMatches(0n, -1n)).to.equal(false);
    expect(mtimeMatches(-1n, -999_999n)).to.equal(true);
    expect(mtimeMatches(-1_000_000n, -1_000_001n)).to.equal(false);
  });
});
