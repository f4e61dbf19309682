import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChannelCredentials } from '@grpc/grpc-js';
import { expect } from 'chai';
import { packChanges } from '../../../clients/watcher/engine/packed-changes.ts';
import { Bandwidth } from '../../../clients/watcher/push/bandwidth.ts';
import { ControlClient } from '../../../clients/watcher/status/control-client.ts';
import { ControlService } from '../../../clients/watcher/status/control-service.ts';
import { controlSocketOf } from '../../../clients/watcher/status/control-socket.ts';
import { statusJson, statusText } from '../../../clients/watcher/status/status-text.ts';
import { WatcherModel } from '../../../clients/watcher/status/watcher-model.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { createLogger } from '../../../common/ops/logger.ts';
import { readMessages } from '../../../common/rpc/call-stream.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { WatcherServiceClient, WatcherState } from '../../../gen/lockstep/watcher/v1/watcher_service.ts';
import { EngineDouble, engineStatus } from '../../support/engine-double.ts';

describe('ControlService', () => {
  let state: string;
  let engine: EngineDouble;
  let model: WatcherModel;
  let service: ControlService;
  let client: ControlClient;
  let bandwidth: Bandwidth;
  let monotonicMs = 0;
  const logger = createLogger({ name: 'test', level: 'silent' });

  async function start(directory: string): Promise<void> {
    state = directory;
    engine = new EngineDouble();
    bandwidth = new Bandwidth({ rate: 2_000_000, schedule: [] });
    const identity = { directory: '/watched', server: '127.0.0.1:1', folder: 'default' };
    model = new WatcherModel(identity, Date.now, () => monotonicMs);
    model.connectionIs({ phase: 'connected' });
    service = new ControlService({ model, engine, bandwidth, logger });
    await service.start(state);
    client = new ControlClient(state, '/watched');
  }

  beforeEach(() => start(mkdtempSync(join(tmpdir(), 'lockstep-control-'))));

  afterEach(async () => {
    client.close();
    await service.stop();
    rmSync(state, { recursive: true, force: true });
  });

  async function reasonOf(action: Promise<unknown>): Promise<string> {
    try {
      await action;
    } catch (error) {
      if (error instanceof LockstepError) return error.reason;
      throw error;
    }
    return 'none';
  }

  it('has a word for a state directory that is too long for a socket, where there is no /proc to shorten it', () => {
    const long = `/${'x'.repeat(89)}`;
    expect(controlSocketOf(long, 'listen', 'darwin').path).to.equal(`${long}/control.sock`);
    expect(() => controlSocketOf(`${long}x`, 'listen', 'darwin'))
      .to.throw()
      .that.includes({ reason: 'USAGE' })
      .and.has.property('message')
      .that.matches(/give a --state of at most 90 bytes$/);
  });

  it('is a named pipe on Windows, which only the state directory tells, and a new one at each start', () => {
    expect(() => controlSocketOf(state, 'dial', 'win32'))
      .to.throw()
      .that.includes({ reason: 'SERVER_UNREACHABLE' });
    const first = controlSocketOf(state, 'listen', 'win32');
    expect(first.path).to.match(/^\\\\\.\\pipe\\lockstep-[0-9a-f]{32}$/);
    expect(first).to.deep.include({ isFile: false });
    expect(first.address.target).to.equal(`unix:${first.path}`);
    expect(statSync(join(state, 'control.pipe')).mode & 0o777).to.equal(0o600);
    expect(controlSocketOf(state, 'dial', 'win32').path).to.equal(first.path);
    const second = controlSocketOf(state, 'listen', 'win32');
    expect(second.path).not.to.equal(first.path);
    second.release();
    expect(() => controlSocketOf(state, 'dial', 'win32')).to.throw();
  });

  it('tells the limit of the bandwidth, and sets another one until told otherwise', async () => {
    expect((await client.status()).bandwidthLimit).to.equal(2_000_000n);
    expect(await client.limitBandwidth()).to.deep.equal({ bytesPerSecond: 2_000_000n, byHand: false });
    const lower = await client.limitBandwidth({ $case: 'bytesPerSecond', value: 5_000n });
    expect(lower).to.deep.equal({ bytesPerSecond: 5_000n, byHand: true });
    expect(bandwidth.rate).to.equal(5_000);
    expect(await client.limitBandwidth({ $case: 'off', value: true })).to.deep.equal({
      bytesPerSecond: 0n,
      byHand: true,
    });
    expect((await client.status()).bandwidthLimit).to.equal(0n);
    const back = await client.limitBandwidth({ $case: 'auto', value: true });
    expect(back).to.deep.equal({ bytesPerSecond: 2_000_000n, byHand: false });
    for (const value of [0n, 999n, 2n ** 60n]) {
      expect(await reasonOf(client.limitBandwidth({ $case: 'bytesPerSecond', value }))).to.equal('INVALID_ARGUMENT');
    }
    expect(bandwidth.rate).to.equal(2_000_000);
  });

  it('tells the status, problems included', async () => {
    const problems = [{ path: 'a\xff' as TreePath, reason: 'IO', message: 'cannot be read' }];
    model.engineSays(engineStatus({ phase: 'idle', revision: 7n, entries: 3, problems, problemCount: 1 }));
    const status = await client.status();
    expect(status).to.include({
      state: WatcherState.WATCHER_STATE_IN_STEP,
      revision: 7n,
      entries: 3n,
      folder: 'default',
    });
    expect(status.problems[0]?.path).to.equal('a%FF');
    expect(status.pid).to.equal(process.pid);
  });

  it('tells how far it is behind, without bytes where they are not known', async () => {
    const behindBy = async (pendingChanges: number, pendingBytes: number) => {
      model.engineSays(engineStatus({ phase: 'sending', pendingChanges, pendingBytes }));
      return /^ +behind by +(.*)$/m.exec(statusText(await client.status(), Date.now()))?.[1];
    };
    expect(await behindBy(1, 0)).to.equal('1 change');
    expect(await behindBy(2, 0)).to.equal('2 changes');
    expect(await behindBy(1, 5000)).to.equal('1 change, 5 kB');
    expect(await behindBy(0, 0)).to.equal(undefined);
  });

  it('tells what is being done, how far and how fast', async () => {
    model.engineSays(engineStatus({ phase: 'starting' }));
    expect(statusJson(await client.status())).to.include({
      state: 'starting',
      activity: 'connecting',
      left_seconds: null,
    });
    const found = { scannedEntries: 50, entries: 3, pendingChanges: 40, pendingBytes: 4_000_000 };
    model.engineSays(engineStatus({ phase: 'scanning', ...found }));
    monotonicMs += 2000;
    const sent = { pendingChanges: 30, pendingBytes: 3_000_000, sentChanges: 10, sentContentBytes: 1_000_000 };
    model.engineSays(engineStatus({ phase: 'sending', ...found, ...sent }));
    const status = await client.status();
    expect(statusText(status, Date.now())).to.include(
      '\n  doing        sending · 20 of 50 entries · 1 MB of 4 MB · 500 kB/s · 6 s left\n',
    );
    expect(statusJson(status)).to.include({
      activity: 'sending',
      first_sync_done: false,
      scanned_entries: 50,
      sent_changes: 10,
      sent_bytes: 1_000_000,
      changes_per_second: 5,
      bytes_per_second: 500_000,
      left_seconds: 6,
      latency_ms: null,
    });
  });

  it('tells the last change with its latency, and of a later look only what is done', async () => {
    const known = { firstSyncDone: true, entries: 3, revision: 5n, durableRevision: 5n };
    model.engineSays(engineStatus({ phase: 'idle', inStep: true, ...known }));
    const put = { operation: 'put', path: 'f' as TreePath, from: undefined, contentBytes: 1 } as const;
    model.acknowledged(packChanges([put], 5n, 17.25));
    const rests = await client.status();
    expect(statusText(rests, Number(rests.lastChangeMs) + 12_300)).to.include(
      '\n  last change  12 s ago · latency 17 ms\n',
    );
    expect(statusText(rests, Date.now())).not.to.include('doing');
    expect(statusJson(rests)).to.include({ activity: null, first_sync_done: true, latency_ms: 17.3 });
    model.engineSays(engineStatus({ phase: 'scanning', ...known }));
    expect(statusText(await client.status(), Date.now())).to.include('\n  doing        scanning\n');
    for (const [phase, activity] of [
      ['comparing', 'comparing'],
      ['sending', 'sending'],
    ] as const) {
      model.engineSays(engineStatus({ phase, ...known }));
      expect(statusJson(await client.status())).to.include({ activity });
    }
    model.engineSays(engineStatus({ phase: 'idle', revision: 6n, durableRevision: 5n }));
    expect(statusText(await client.status(), Date.now())).to.include('\n  doing        making durable');
  });

  it('flushes: returns when the engine says so, and fails when entries are left out (E124)', async () => {
    const first = client.flush(10_000);
    const { id } = await engine.received('flush');
    service.flushed({ type: 'flushed', id, revision: 12n, problemCount: 0 });
    expect((await first).revision).to.equal(12n);
    const second = client.flush(10_000);
    const { id: secondId } = await engine.received('flush', 2);
    service.flushed({ type: 'flushed', id: secondId, revision: 12n, problemCount: 3 });
    expect(await reasonOf(second)).to.equal('INCOMPLETE');
  });

  it('gives a flush up when the server stays out of reach', async () => {
    model.connectionIs({ phase: 'offline', reason: 'refused' });
    expect(await reasonOf(client.flush(300))).to.equal('SERVER_UNREACHABLE');
  });

  it('refuses to flush what is stopped for safety', async () => {
    model.engineSays(engineStatus({ phase: 'idle', heldDeletes: 5000 }));
    expect(await reasonOf(client.flush(10_000))).to.equal('MASS_DELETE');
  });

  it('pauses, goes on with what was held back, and looks again', async () => {
    await client.pause();
    model.engineSays(engineStatus({ heldDeletes: 4 }));
    expect((await client.resume()).confirmedDeletes).to.equal(4n);
    await client.rescan();
    expect(engine.commands.map(({ type }) => type)).to.deep.equal(['pause', 'resume', 'rescan']);
  });

  it('streams events, beginning with the state', async () => {
    const raw = new WatcherServiceClient(
      controlSocketOf(state, 'dial').address.target,
      ChannelCredentials.createInsecure(),
    );
    const call = raw.watchEvents({});
    const events = readMessages(call);
    expect((await events.next()).value).to.include({ type: 'state' });
    const put = { operation: 'put', path: 'f' as TreePath, from: undefined, contentBytes: 1 } as const;
    model.acknowledged(packChanges([put], 5n, 2));
    expect((await events.next()).value).to.include({ type: 'change', operation: 'put', path: 'f', revision: 5n });
    call.cancel();
    raw.close();
  });

  it('lets only its user in (S41)', () => {
    expect(statSync(join(state, 'control.sock')).mode & 0o777).to.equal(0o600);
  });

  it('replaces the socket of a crashed watcher', async () => {
    await service.stop();
    // A socket file that nobody listens on: bound, then the name kept while the listener goes.
    const path = join(state, 'control.sock');
    writeFileSync(path, '');
    await service.start(state);
    expect(await reasonOf(client.status())).to.equal('none');
  });

  it('does not take the socket from a watcher that lives', async () => {
    const other = mkdtempSync(join(tmpdir(), 'lockstep-control-'));
    const listener = createServer().listen(join(other, 'control.sock'));
    await new Promise((resolve) => listener.once('listening', resolve));
    const second = new ControlService({ model, engine, bandwidth, logger });
    let refused = false;
    await second.start(other).catch(() => {
      refused = true;
    });
    await second.stop();
    listener.close();
    rmSync(other, { recursive: true, force: true });
    expect(refused).to.equal(true);
  });

  it('works in a state directory whose path is longer than a socket address', async () => {
    client.close();
    await service.stop();
    const deep = join(state, 'd'.repeat(100), 'e'.repeat(100));
    mkdirSync(deep, { recursive: true });
    const top = state;
    await start(deep);
    expect((await client.status()).folder).to.equal('default');
    state = top;
  });

  it('says that no watcher is running', async () => {
    await service.stop();
    const lonely = new ControlClient(state, '/watched');
    expect(await reasonOf(lonely.status())).to.equal('SERVER_UNREACHABLE');
    lonely.close();
  });
});
