import { expect } from 'chai';
import type { EngineStatus } from '../../../clients/watcher/engine/messages.ts';
import type { ConnectionState } from '../../../clients/watcher/push/reconnect.ts';
import { NO_PACE } from '../../../clients/watcher/status/pace.ts';
import { phaseOf, type WatcherEvent, WatcherModel } from '../../../clients/watcher/status/watcher-model.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { engineStatus } from '../../support/engine-double.ts';

const CONNECTED: ConnectionState = { phase: 'connected' };
const OFFLINE: ConnectionState = { phase: 'offline', reason: 'x:1: connection refused' };

describe('phaseOf', () => {
  const cases: [string, Partial<EngineStatus>, ConnectionState, string][] = [
    ['nothing was looked at yet', { phase: 'starting' }, { phase: 'connecting' }, 'starting'],
    ['the first scan has found nothing yet', { phase: 'scanning' }, CONNECTED, 'starting'],
    ['the first scan has found something', { phase: 'scanning', pendingChanges: 3 }, CONNECTED, 'syncing'],
    ['all is acknowledged', { phase: 'idle', inStep: true, firstSyncDone: true }, CONNECTED, 'in-step'],
    ['a rescan finds nothing new', { phase: 'scanning', inStep: true, firstSyncDone: true }, CONNECTED, 'in-step'],
    ['changes are under way', { phase: 'sending', firstSyncDone: true, pendingChanges: 1 }, CONNECTED, 'syncing'],
    ['the server is away', { phase: 'idle', firstSyncDone: true }, OFFLINE, 'offline'],
    ['it was paused', { phase: 'paused' }, CONNECTED, 'paused'],
    ['it was paused while offline', { phase: 'paused' }, OFFLINE, 'paused'],
    ['deletions are held back', { phase: 'idle', heldDeletes: 2000 }, CONNECTED, 'stopped'],
    [
      'creations go on while deletions are held back',
      { phase: 'sending', heldDeletes: 2000, pendingChanges: 5 },
      CONNECTED,
      'syncing',
    ],
    ['only problems are left', { phase: 'idle', problemCount: 2, firstSyncDone: true }, CONNECTED, 'in-step'],
  ];
  for (const [when, status, connection, phase] of cases) {
    it(`is ${phase} when ${when}`, () => {
      expect(phaseOf(engineStatus(status), connection).phase).to.equal(phase);
    });
  }

  it('says why, when it is not simply in step (E123)', () => {
    expect(phaseOf(engineStatus({ phase: 'idle' }), OFFLINE).reason).to.contain('connection refused');
    expect(phaseOf(engineStatus({ phase: 'idle', problemCount: 2 }), CONNECTED).reason).to.contain('2 entries');
    expect(phaseOf(engineStatus({ phase: 'idle', heldDeletes: 7 }), CONNECTED).reason).to.contain(
      'sync-watcher resume',
    );
  });
});

describe('WatcherModel', () => {
  it('tells how far and how fast it is while it is at work, and forgets the pace when it rests', () => {
    let timeMs = 0;
    const identity = { directory: '/d', server: 's', folder: 'f' };
    const model = new WatcherModel(
      identity,
      () => 0,
      () => timeMs,
    );
    model.connectionIs({ phase: 'connected' });
    const says = (status: Parameters<typeof engineStatus>[0]) => model.engineSays(engineStatus(status));
    says({ phase: 'sending', pendingChanges: 10, pendingBytes: 10_000 });
    timeMs = 2000;
    says({ phase: 'sending', pendingChanges: 8, pendingBytes: 8000, sentChanges: 2, sentContentBytes: 2000 });
    const { bytes, pace } = model.snapshot.course;
    expect(bytes).to.deep.equal({ done: 2000, total: 10_000 });
    expect(pace).to.deep.equal({ bytesPerSecond: 1000, changesPerSecond: 1, observedMs: 2000 });
    says({ phase: 'idle', inStep: true, sentChanges: 10, sentContentBytes: 10_000 });
    expect(model.snapshot.course).to.deep.equal({ bytes: { done: 10_000, total: 10_000 }, pace: NO_PACE });
  });

  it('tells of states once, and since when they hold', () => {
    let nowMs = 1000;
    const events: WatcherEvent[] = [];
    const model = new WatcherModel({ directory: '/d', server: 's', folder: 'f' }, () => nowMs);
    model.subscribe((event) => events.push(event));
    model.connectionIs(CONNECTED);
    nowMs = 2000;
    model.engineSays(engineStatus({ phase: 'idle', inStep: true }));
    nowMs = 3000;
    model.engineSays(engineStatus({ phase: 'idle', inStep: true, revision: 9n }));
    expect(events.filter(({ type }) => type === 'state')).to.have.length(1);
    expect(model.snapshot).to.include({ phase: 'in-step', sinceMs: 2000 });
    nowMs = 4000;
    model.connectionIs(OFFLINE);
    model.connectionIs({ phase: 'connecting' });
    expect(model.snapshot).to.include({ phase: 'offline', sinceMs: 4000 });
  });

  it('tells of a problem when it appears, not at every status', () => {
    const events: WatcherEvent[] = [];
    const model = new WatcherModel({ directory: '/d', server: 's', folder: 'f' });
    model.subscribe((event) => events.push(event));
    const problems = [{ path: 'a' as TreePath, reason: 'IO', message: 'cannot be read' }];
    for (let count = 0; count < 3; count++) model.engineSays(engineStatus({ problems, problemCount: 1 }));
    model.engineSays(engineStatus({}));
    model.engineSays(engineStatus({ problems, problemCount: 1 }));
    expect(events.filter(({ type }) => type === 'problem')).to.have.length(2);
  });
});
