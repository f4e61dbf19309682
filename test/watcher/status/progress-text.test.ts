import { expect } from 'chai';
import { ByteCourse, NO_PACE, type Pace, PaceMeter, secondsLeft } from '../../../clients/watcher/status/pace.ts';
import {
  type Activity,
  activityOf,
  nextAgoMs,
  progressJson,
  progressText,
} from '../../../clients/watcher/status/progress-text.ts';
import type { WatcherSnapshot } from '../../../clients/watcher/status/watcher-model.ts';
import { engineStatus } from '../../support/engine-double.ts';
import { snapshot } from '../../support/watcher-snapshot.ts';

const NOW_MS = 10_000_000;
const PACE: Pace = { bytesPerSecond: 3.4e6, changesPerSecond: 10, observedMs: 5000 };

const counts = { scannedEntries: 5000, pendingChanges: 900, pendingBytes: 19e6, sentContentBytes: 1e6, revision: 4n };
const durable = { ...counts, pendingChanges: 0, pendingBytes: 0, sentContentBytes: 20e6, durableRevision: 3n };
const first = snapshot('syncing', { phase: 'sending', ...counts });
const known = { phase: 'idle', firstSyncDone: true, revision: 42n, durableRevision: 42n, entries: 5000 } as const;
const inStep: WatcherSnapshot = { ...snapshot('in-step', known), lastChangeMs: NOW_MS - 12_300, latencyMs: 17 };
const behind: WatcherSnapshot = {
  ...inStep,
  ...snapshot('syncing', { ...known, phase: 'sending', pendingChanges: 3, pendingBytes: 9e6 }),
  lastChangeMs: NOW_MS - 12_300,
};

const at = (state: WatcherSnapshot, pace: Pace): WatcherSnapshot => ({ ...state, course: { ...state.course, pace } });

describe('activityOf', () => {
  const cases: [string, WatcherSnapshot, Activity | undefined][] = [
    ['before the first answer', snapshot('starting', { phase: 'starting' }), 'connecting'],
    ['while directories are compared', snapshot('starting', { phase: 'comparing' }), 'comparing'],
    ['while there are directories to look through', snapshot('syncing', { phase: 'scanning' }), 'scanning'],
    ['when all is found', snapshot('syncing', { phase: 'sending' }), 'sending'],
    ['when all has arrived', snapshot('in-step', { phase: 'idle', ...durable }), 'making-durable'],
    ['when that is durable', snapshot('in-step', { phase: 'idle', ...durable, durableRevision: 4n }), undefined],
    ['when a later change is not durable', snapshot('in-step', { ...known, revision: 43n }), undefined],
    ['without a server', snapshot('offline', { phase: 'starting' }), undefined],
  ];
  for (const [when, state, activity] of cases) {
    it(`is ${activity ?? 'nothing'} ${when}`, () => expect(activityOf(state)).to.equal(activity));
  }
});

describe('progressText', () => {
  const cases: [string, WatcherSnapshot, Pace, string][] = [
    ['connecting', snapshot('starting'), NO_PACE, 'connecting'],
    ['comparing', snapshot('starting', { phase: 'comparing', entries: 1 }), NO_PACE, 'comparing · 1 entry'],
    [
      'a scan, whose end is not known',
      snapshot('syncing', { phase: 'scanning', ...counts }),
      PACE,
      'scanning · 4100 of 5000+ entries · 1 MB of 20 MB+ · 3.4 MB/s',
    ],
    ['sending', first, PACE, 'sending · 4100 of 5000 entries · 1 MB of 20 MB · 3.4 MB/s · 6 s left'],
    ['sending that has just begun', first, NO_PACE, 'sending · 4100 of 5000 entries · 1 MB of 20 MB'],
    [
      'what is not durable yet',
      snapshot('in-step', { phase: 'idle', ...durable }),
      PACE,
      'making durable · 5000 of 5000 entries · 20 MB of 20 MB',
    ],
    ['a step', inStep, NO_PACE, 'in step · last change 12 s ago · rev 42 · latency 17 ms · 5000 entries'],
    ['a step without a change', snapshot('in-step', known), NO_PACE, 'in step · rev 42 · 5000 entries'],
    [
      'being behind',
      behind,
      PACE,
      'behind by 3 · 9 MB to go · 3.4 MB/s · 3 s left · last change 12 s ago · rev 42 · 5000 entries',
    ],
    ['a rescan', snapshot('syncing', { ...known, phase: 'scanning' }), NO_PACE, 'scanning · rev 42 · 5000 entries'],
    [
      'an absent server',
      snapshot('offline', { pendingChanges: 1 }, 'not connected'),
      NO_PACE,
      'offline · 1 change waits · not connected',
    ],
    [
      'problems',
      snapshot('in-step', { ...known, problemCount: 2, degraded: 'no inotify' }, 'but 2 could not'),
      NO_PACE,
      'in step · rev 42 · 5000 entries · 2 problems · degraded: no inotify · but 2 could not',
    ],
  ];
  for (const [what, state, pace, text] of cases) {
    it(`tells of ${what}`, () => expect(progressText(at(state, pace), NOW_MS)).to.equal(text));
  }

  const widths: [number, WatcherSnapshot, string][] = [
    [80, first, 'sending · 4100 of 5000 entries · 1 MB of 20 MB · 3.4 MB/s · 6 s left'],
    [60, first, 'sending · 4100 of 5000 entries · 1 MB of 20 MB · 6 s left'],
    [40, first, 'sending · 1 MB of 20 MB · 6 s left'],
    [20, first, 'sending · 6 s left'],
    [6, first, 'send…'],
    [80, behind, 'behind by 3 · 9 MB to go · 3.4 MB/s · 3 s left · last change 12 s ago · rev 42'],
    [40, behind, 'behind by 3 · 3 s left'],
    [60, inStep, 'in step · last change 12 s ago · rev 42 · latency 17 ms'],
    [40, inStep, 'in step · last change 12 s ago · rev 42'],
  ];
  for (const [columns, state, text] of widths) {
    it(`leaves out what matters least where ${text.split(' ')[0]} has ${columns} columns`, () => {
      expect(progressText(at(state, PACE), NOW_MS, columns)).to.equal(text);
      expect(text.length).to.be.lessThan(columns);
    });
  }

  it('says how long ago in steps, and when the next one is due', () => {
    const ago = (passedMs: number) =>
      progressText({ ...snapshot('in-step'), lastChangeMs: NOW_MS - passedMs }, NOW_MS).split(' · ')[1];
    expect([-5, 999, 1000, 59_999, 60_000, 185_000, 7_500_000].map(ago)).to.deep.equal([
      'last change just now',
      'last change just now',
      'last change 1 s ago',
      'last change 59 s ago',
      'last change 1 m ago',
      'last change 3 m ago',
      'last change 2 h 5 m ago',
    ]);
    expect([-5, 0, 300, 59_999, 61_000].map(nextAgoMs)).to.deep.equal([1000, 1000, 700, 1, 59_000]);
  });
});

describe('progressJson', () => {
  it('has the same, with units in the names', () => {
    expect(progressJson(at(first, PACE))).to.deep.equal({
      state: 'syncing',
      activity: 'sending',
      reason: '',
      first_sync_done: false,
      revision: '4',
      durable_revision: '0',
      entries: 0,
      scanned_entries: 5000,
      pending_changes: 900,
      pending_bytes: 19e6,
      sent_changes: 0,
      sent_bytes: 1e6,
      changes_per_second: 10,
      bytes_per_second: 3.4e6,
      left_seconds: 6,
      last_change: null,
      latency_ms: null,
      problems: 0,
    });
    expect(progressJson(inStep)).to.include({
      activity: null,
      left_seconds: null,
      last_change: '1970-01-01T02:46:27.700Z',
      latency_ms: 17,
    });
  });
});

describe('PaceMeter', () => {
  it('is right at an even pace from the start, however often it is asked', () => {
    const meter = new PaceMeter();
    let timeMs = 0;
    expect(meter.add({ timeMs, bytes: 500, changes: 5 })).to.deep.equal(NO_PACE);
    for (const stepMs of [1, 100, 3, 700, 10_000, 0]) {
      timeMs += stepMs;
      const pace = meter.add({ timeMs, bytes: 500 + 2 * timeMs, changes: 5 + timeMs / 10 });
      expect(pace.bytesPerSecond).to.be.closeTo(2000, 700);
      expect(pace.changesPerSecond).to.be.closeTo(100, 35);
    }
  });

  it('follows a new pace without jumping, and takes back what was taken back', () => {
    const meter = new PaceMeter();
    let bytes = 0;
    const run = (fromMs: number, perTick: number, ticks: number) => {
      const paces: number[] = [];
      for (let tick = 1; tick <= ticks; tick++) {
        bytes += perTick;
        paces.push(meter.add({ timeMs: fromMs + tick * 100, bytes, changes: 0 }).bytesPerSecond);
      }
      return paces;
    };
    run(0, 1000, 100);
    const slower = run(10_000, 100, 300);
    for (const [at, pace] of slower.entries()) {
      const before = at === 0 ? 10_000 : (slower[at - 1] ?? 0);
      expect(pace)
        .to.be.at.most(before + 1)
        .and.at.least(before * 0.9);
    }
    expect(slower.at(-1)).to.be.closeTo(1000, 100);
    expect(meter.add({ timeMs: 40_100, bytes: 0, changes: 0 }).bytesPerSecond).to.equal(0);
  });

  it('forgets while there is nothing to do', () => {
    const meter = new PaceMeter();
    meter.add({ timeMs: 0, bytes: 0, changes: 0 });
    meter.add({ timeMs: 1000, bytes: 1000, changes: 0 });
    meter.rest();
    expect(meter.add({ timeMs: 90_000, bytes: 1000, changes: 0 })).to.deep.equal(NO_PACE);
    expect(meter.add({ timeMs: 91_000, bytes: 6000, changes: 0 }).bytesPerSecond).to.be.closeTo(5000, 600);
  });
});

describe('ByteCourse', () => {
  it('takes nothing back, and is through when nothing is pending', () => {
    const course = new ByteCourse();
    const follow = (sentContentBytes: number, pendingBytes: number) => {
      const { done, total } = course.follow(engineStatus({ sentContentBytes, pendingBytes }));
      return [done, total];
    };
    expect(follow(0, 9000)).to.deep.equal([0, 9000]);
    expect(follow(6000, 3000)).to.deep.equal([6000, 9000]);
    // An upload is done, its change not answered.
    expect(follow(0, 9000)).to.deep.equal([6000, 9000]);
    expect(follow(0, 3000)).to.deep.equal([6000, 9000]);
    expect(follow(6000, 5000)).to.deep.equal([6000, 11_000]);
    // A file has vanished that was to be sent.
    expect(follow(6000, 0)).to.deep.equal([11_000, 11_000]);
  });
});

describe('secondsLeft', () => {
  const sending = { phase: 'sending', pendingBytes: 6.8e6, pendingChanges: 20 } as const;
  const cases: [string, Parameters<typeof engineStatus>[0], Pace, number | undefined][] = [
    ['by bytes', sending, PACE, 2],
    ['by changes where there are no bytes', { ...sending, pendingBytes: 0 }, PACE, 2],
    ['by changes where bytes do not move', sending, { ...PACE, bytesPerSecond: 0 }, 2],
    ['not at all before all is found', { ...sending, phase: 'scanning' }, PACE, undefined],
    ['not at all at the beginning', sending, { ...PACE, observedMs: 900 }, undefined],
    ['not at all when nothing moves', sending, { ...NO_PACE, observedMs: 9000 }, undefined],
  ];
  for (const [how, engine, pace, seconds] of cases) {
    it(`is known ${how}`, () => expect(secondsLeft(engineStatus(engine), pace)).to.equal(seconds));
  }

  it('converges', () => {
    const meter = new PaceMeter();
    const total = 50_000;
    for (let timeMs = 0; timeMs <= 50_000; timeMs += 250) {
      const bytes = Math.min(total, timeMs);
      const pace = meter.add({ timeMs, bytes, changes: 0 });
      const left = secondsLeft(engineStatus({ phase: 'sending', pendingBytes: total - bytes }), pace);
      if (timeMs >= 1500 && bytes < total) expect(left).to.be.closeTo((total - timeMs) / 1000, 8);
      if (timeMs >= 45_000 && bytes < total) expect(left).to.be.closeTo((total - timeMs) / 1000, 1);
    }
  });
});
