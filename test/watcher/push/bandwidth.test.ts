/**
 * Which limit holds when.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import {
  bandwidthSchedule,
  bandwidthSettings,
  parseTimeOfDay,
} from '../../../clients/watcher/commands/bandwidth-schedule.ts';
import { Bandwidth, type BandwidthSettings, rateAt, UNLIMITED } from '../../../clients/watcher/push/bandwidth.ts';

const at = (time: string) => new Date(`2026-03-04T${time}:00`);
const settings = (tables: unknown, bandwidthLimit?: number): BandwidthSettings =>
  bandwidthSettings({ bandwidthLimit, bandwidth: bandwidthSchedule.parse(tables) });

describe('Bandwidth', () => {
  const office = settings(
    [
      { from: '12:00', to: '13:00', limit: 'off' },
      { from: '08:00', to: '18:00', limit: '1MB/s' },
      { from: '22:30', to: '06:00', limit: '5MB/s' },
    ],
    2_000_000,
  );
  const times: readonly (readonly [string, number | undefined])[] = [
    ['07:59', 2_000_000],
    ['08:00', 1_000_000],
    ['11:59', 1_000_000],
    ['12:00', undefined],
    ['13:00', 1_000_000],
    ['17:59', 1_000_000],
    ['18:00', 2_000_000],
    ['22:30', 5_000_000],
    ['00:00', 5_000_000],
    ['05:59', 5_000_000],
    ['06:00', 2_000_000],
  ];
  for (const [time, rate] of times) {
    it(`at ${time} is ${rate ?? 'off'}`, () => {
      expect(new Bandwidth(office, () => at(time)).rate).to.equal(rate);
    });
  }

  it('without a schedule is the general limit, and without that none', () => {
    expect(new Bandwidth({ rate: 7000, schedule: [] }).rate).to.equal(7000);
    expect(new Bandwidth(UNLIMITED).rate).to.equal(undefined);
  });

  it('follows the clock by itself, but not what was said by hand', () => {
    let now = at('07:00');
    const bandwidth = new Bandwidth(office, () => now);
    expect(bandwidth.rate).to.equal(2_000_000);
    now = at('09:00');
    expect(bandwidth.rate).to.equal(1_000_000);
    bandwidth.byHand(undefined);
    expect([bandwidth.rate, bandwidth.isByHand]).to.deep.equal([undefined, true]);
    bandwidth.configure(UNLIMITED);
    bandwidth.byHand(3000);
    expect(bandwidth.rate).to.equal(3000);
    bandwidth.byItself();
    expect([bandwidth.rate, bandwidth.isByHand]).to.deep.equal([undefined, false]);
  });

  it('lets go what waits when the limit is lifted', async () => {
    const bandwidth = new Bandwidth({ rate: 1000, schedule: [] });
    expect(bandwidth.bucket.admit(10 ** 9, 'contents')).to.equal(undefined);
    const waiting = bandwidth.bucket.admit(1, 'contents');
    expect(waiting).not.to.equal(undefined);
    bandwidth.byHand(undefined);
    await waiting;
  });

  it('a part that ends where it begins is the whole day', () => {
    const all = settings([{ from: '06:00', to: '06:00', limit: '1MB/s' }]);
    fc.assert(fc.property(fc.nat(1439), (minute) => rateAt(all, minute) === 1_000_000));
  });

  it('two parts that meet cover the day, each minute by one of them', () => {
    fc.assert(
      fc.property(fc.nat(1439), fc.nat(1439), fc.nat(1439), (one, other, minute) => {
        fc.pre(one !== other);
        const schedule = [
          { fromMinute: one, toMinute: other, rate: 1000 },
          { fromMinute: other, toMinute: one, rate: 2000 },
        ];
        const isFirst = one < other ? minute >= one && minute < other : minute >= one || minute < other;
        return rateAt({ rate: undefined, schedule }, minute) === (isFirst ? 1000 : 2000);
      }),
    );
  });
});

describe('a time of day', () => {
  for (const [text, minute] of [
    ['00:00', 0],
    ['08:30', 510],
    ['23:59', 1439],
    ['24:00', 0],
  ] as const) {
    it(`${text} is minute ${minute}`, () => expect(parseTimeOfDay(text)).to.equal(minute));
  }
  for (const text of ['8:30', '08:60', '24:01', '25:00', '', 'noon']) {
    it(`"${text}" is none`, () => expect(() => parseTimeOfDay(text)).to.throw('not a time of day'));
  }
});
