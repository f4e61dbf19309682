import { expect } from 'chai';
import fc from 'fast-check';
import {
  formatBytes,
  formatDuration,
  formatRate,
  MIN_RATE,
  parseDeleteLimit,
  parseDuration,
  parseRate,
  parseSize,
} from '../../../common/ops/units.ts';

describe('rates', () => {
  it('are sizes per second, or off', () => {
    const expected = {
      '2MB/s': 2_000_000,
      '500kB/s': 500_000,
      '64KiB/s': 65_536,
      '1M': 2 ** 20,
      ' 1000B/s ': MIN_RATE,
    };
    for (const [text, rate] of Object.entries(expected)) expect(parseRate(text), text).to.equal(rate);
    expect(parseRate('off')).to.equal(undefined);
  });

  it('are refused by name with an example when they are none', () => {
    for (const text of ['', '/s', 'fast', '2MB/m', '-1MB/s', 'MB/s', '2 MB per second']) {
      expect(() => parseRate(text), text).to.throw(`"${text}" is not a rate; write for example 2MB/s`);
    }
    for (const text of ['0', '0MB/s', '999B/s'])
      expect(() => parseRate(text), text).to.throw('the lowest rate is 1 kB/s');
  });

  it('are shown as they are written', () => {
    expect([formatRate(2_000_000), formatRate(1500), formatRate(undefined)]).to.deep.equal([
      '2 MB/s',
      '1.5 kB/s',
      'off',
    ]);
  });
});

describe('durations', () => {
  it('are read in every unit, and added up', () => {
    const expected = {
      '250ms': 250,
      '5s': 5_000,
      '10m': 600_000,
      '1h': 3_600_000,
      '90d': 7_776_000_000,
      '2w': 1_209_600_000,
    };
    for (const [text, ms] of Object.entries(expected)) expect(parseDuration(text)).to.equal(ms);
    expect(parseDuration('1h30m')).to.equal(5_400_000);
    expect(parseDuration('1.5s')).to.equal(1_500);
    expect(parseDuration('0')).to.equal(0);
  });

  it('are refused by name with an example when they are none', () => {
    for (const text of ['', '10', 'm', '-5s', '5 s', '5sec', '1m garbage', '5S', `${'9'.repeat(30)}d`, 'Infinitys']) {
      expect(() => parseDuration(text), text).to.throw(`"${text}" is not a duration; write for example 10m`);
    }
  });

  it('are shown with the units that matter', () => {
    const expected: [number, string][] = [
      [0, '0 ms'],
      [0.25, '0.3 ms'],
      [3, '3 ms'],
      [999.4, '999 ms'],
      [999.9, '1 s'],
      [1_234, '1.2 s'],
      [59_960, '1 m'],
      [250_000, '4 m 10 s'],
      [3_600_000, '1 h'],
      [7_500_000, '2 h 5 m'],
      [86_400_000, '1 d'],
      [273_600_000, '3 d 4 h'],
    ];
    for (const [ms, text] of expected) expect(formatDuration(ms)).to.equal(text);
    expect([formatDuration(-90_000), formatDuration(Number.POSITIVE_INFINITY)]).to.deep.equal([
      '-1 m 30 s',
      'Infinity',
    ]);
  });

  it('survive being shown and read again, to the precision shown', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31 - 1), (ms) => {
        const again = parseDuration(formatDuration(ms).replaceAll(' ', ''));
        expect(Math.abs(again - ms)).to.be.at.most(Math.max(50, ms * 0.05));
      }),
    );
  });
});

describe('sizes', () => {
  it('are read in powers of 1024, and of 1000 with a plain B', () => {
    const expected = {
      '4096': 4096,
      '64KiB': 65_536,
      '64K': 65_536,
      '1G': 2 ** 30,
      '1kB': 1000,
      '5MB': 5e6,
      '1.5k': 1536,
      '7B': 7,
    };
    for (const [text, bytes] of Object.entries(expected)) expect(parseSize(text), text).to.equal(bytes);
  });

  it('are refused by name when they are none, or beyond 2^53', () => {
    for (const text of ['', 'K', '-1', '1X', '1KiBs', '9999999P', '1e3']) {
      expect(() => parseSize(text), text)
        .to.throw(`"${text}" is not a size`)
        .with.property('reason', 'USAGE');
    }
  });

  it('are shown with three digits at most', () => {
    const expected: [number, string][] = [
      [0, '0 B'],
      [999, '999 B'],
      [1000, '1 kB'],
      [1234, '1.2 kB'],
      [99_960, '100 kB'],
      [999_499, '999 kB'],
      [999_500, '1 MB'],
      [640e6, '640 MB'],
      [1.5e12, '1.5 TB'],
      [2 ** 53, '9 PB'],
    ];
    for (const [bytes, text] of expected) expect(formatBytes(bytes)).to.equal(text);
  });
});

describe('delete limits', () => {
  it('are numbers of entries or shares of the tree', () => {
    expect(parseDeleteLimit('1000')).to.deep.equal({ kind: 'entries', entries: 1000 });
    expect(parseDeleteLimit('50%')).to.deep.equal({ kind: 'percent', percent: 50 });
    for (const text of ['', '-1', '101%', '1.5%', 'all', '50 %', '99999999999999999']) {
      expect(() => parseDeleteLimit(text), text)
        .to.throw(`"${text}"`)
        .with.property('reason', 'USAGE');
    }
  });
});
