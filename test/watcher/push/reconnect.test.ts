import { expect } from 'chai';
import type { SessionFacts } from '../../../clients/watcher/engine/messages.ts';
import {
  type ConnectionState,
  isFinal,
  Reconnect,
  type ReconnectOptions,
} from '../../../clients/watcher/push/reconnect.ts';
import type { LiveSession, SessionRequest } from '../../../clients/watcher/push/session.ts';
import { Deferred } from '../../../common/ops/async.ts';
import { LockstepError, type Reason } from '../../../common/ops/errors.ts';
import { createLogger } from '../../../common/ops/logger.ts';
import { EngineDouble } from '../../support/engine-double.ts';
import { eventually } from '../../support/eventually.ts';

const FACTS: SessionFacts = {
  lease: 1n,
  epoch: 'e',
  headRevision: 0n,
  headBatchId: new Uint8Array(0),
  rootTreeDigest: new Uint8Array(0),
  digestFunction: 'blake3',
  maxBatchBytes: 1,
  maxBatchChanges: 1,
  maxInlineBytes: 1,
  maxInFlightBytes: 1,
  zstd: false,
  compressAll: false,
};

class SessionDouble implements LiveSession {
  readonly facts = FACTS;
  readonly opening = new Deferred<void>();
  readonly opened = this.opening.promise;
  readonly end = new Deferred<void>();
  readonly ended = this.end.promise;
  readonly hasAnswers = true;
  readonly reachedBytes = 0;
  readonly requests: SessionRequest[] = [];
  wasAborted = false;

  constructor(opening: 'accepted' | 'pending' = 'accepted') {
    if (opening === 'accepted') this.opening.resolve();
  }

  handle(request: SessionRequest): void {
    this.requests.push(request);
  }

  async finish(): Promise<void> {
    this.end.resolve();
  }

  async abort(): Promise<void> {
    this.wasAborted = true;
  }
}

describe('Reconnect', () => {
  let engine: EngineDouble;
  let states: ConnectionState['phase'][];
  let sessions: SessionDouble[];

  beforeEach(() => {
    engine = new EngineDouble();
    states = [];
    sessions = [];
  });

  function make(results: (Reason | 'session')[], options: Partial<ReconnectOptions> = {}): Reconnect {
    let attempt = 0;
    return new Reconnect({
      open: async () => {
        const result = results[Math.min(attempt++, results.length - 1)] ?? 'session';
        if (result !== 'session') throw new LockstepError(result, `made to say ${result}`);
        const session = new SessionDouble();
        sessions.push(session);
        return { session, close: () => {} };
      },
      mode: 'watch',
      timeoutMs: 1000,
      address: '127.0.0.1:1',
      engine,
      onState: ({ phase }) => states.push(phase),
      logger: createLogger({ name: 'test', level: 'silent' }),
      ...options,
    });
  }

  async function reasonOf(action: Promise<unknown>): Promise<string> {
    try {
      await action;
    } catch (error) {
      if (error instanceof LockstepError) return error.reason;
      throw error;
    }
    return 'none';
  }

  it('tries until a server is there, and tells the engine', async () => {
    const reconnect = make(['SERVER_UNREACHABLE', 'DRAINING', 'session']);
    const running = reconnect.run();
    await engine.received('connected');
    await reconnect.stop(1000);
    await running;
    expect(states).to.deep.equal(['connecting', 'offline', 'connecting', 'offline', 'connecting', 'connected']);
    expect(engine.commands.map(({ type }) => type)).to.deep.equal(['connected', 'disconnected']);
  });

  it('begins a new session when one broke, and hands requests to the living one (E105, E111)', async () => {
    const reconnect = make(['session']);
    const running = reconnect.run();
    await engine.received('connected');
    sessions[0]?.end.reject(new LockstepError('SERVER_UNREACHABLE', 'gone'));
    await engine.received('connected', 2);
    reconnect.handle({ type: 'cancel-upload', uploadId: 'x' });
    expect(sessions[0]?.wasAborted).to.equal(true);
    expect(sessions.map(({ requests }) => requests.length)).to.deep.equal([0, 1]);
    await reconnect.stop(1000);
    await running;
    expect(engine.commands.map(({ type }) => type)).to.deep.equal([
      'connected',
      'disconnected',
      'connected',
      'disconnected',
    ]);
  });

  it('counts as connected when the server has accepted the opening, and hands on what is sent before', async () => {
    const session = new SessionDouble('pending');
    let isFirst: boolean | undefined;
    const open = async (first: boolean) => {
      isFirst = first;
      return { session: sessions.length === 0 ? session : new SessionDouble(), close: () => {} };
    };
    const reconnect = make([], { open });
    const running = reconnect.run();
    await engine.received('connected');
    reconnect.handle({ type: 'cancel-upload', uploadId: 'x' });
    expect(session.requests).to.have.length(1);
    expect(states).to.deep.equal(['connecting']);
    sessions.push(session);
    // Lost during the opening: a race, and the next attempt may still take over.
    const stale = new LockstepError('LEASE_STALE', 'newer');
    session.opening.reject(stale);
    session.end.reject(stale);
    await engine.received('connected', 2);
    await eventually('connected', () => states.includes('connected'));
    expect(isFirst).to.equal(true);
    expect(states).to.deep.equal(['connecting', 'offline', 'connecting', 'connected']);
    await reconnect.stop(1000);
    await running;
  });

  it('begins another session at once where one has ended, and not because it was to stop', async () => {
    const reconnect = make(['session']);
    const running = reconnect.run();
    await engine.received('connected');
    sessions[0]?.end.resolve();
    await engine.received('connected', 2);
    expect(states).not.to.include('offline');
    await reconnect.stop(1000);
    await running;
  });

  it('gives up at the first contact when the server refuses (E106)', async () => {
    for (const reason of ['LEASE_HELD', 'UNAUTHENTICATED', 'PERMISSION_DENIED', 'FOLDER_NOT_FOUND'] as const) {
      expect(await reasonOf(make([reason]).run())).to.equal(reason);
    }
  });

  it('goes on trying when a refusal comes after it was connected', async () => {
    const reconnect = make(['session', 'UNAUTHENTICATED', 'session']);
    const running = reconnect.run();
    await engine.received('connected');
    sessions[0]?.end.reject(new LockstepError('DRAINING', 'restart'));
    await engine.received('connected', 2);
    await reconnect.stop(1000);
    await running;
  });

  it('stops when another watcher has fenced it off, and says what to do (E108)', async () => {
    const running = make(['session']).run();
    await engine.received('connected');
    sessions[0]?.end.reject(new LockstepError('LEASE_STALE', 'newer'));
    await running.then(
      () => expect.fail('went on'),
      (error: unknown) => expect(String(error)).to.match(/another watcher.*--take-over/),
    );
  });

  it('waits with --once only as long as it may', async () => {
    const started = performance.now();
    expect(await reasonOf(make(['SERVER_UNREACHABLE'], { mode: 'once', timeoutMs: 600 }).run())).to.equal(
      'SERVER_UNREACHABLE',
    );
    expect(performance.now() - started).to.be.within(500, 3000);
  });

  it('does not wait for a server that accepts and never answers (F21)', async () => {
    const open = (_isFirst: boolean, signal: AbortSignal) =>
      new Promise<never>((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
      });
    expect(await reasonOf(make([], { mode: 'once', timeoutMs: 200, open }).run())).to.equal('SERVER_UNREACHABLE');
    // Nor for one that does not open the stream of changes.
    const openSilently = async (_isFirst: boolean, signal: AbortSignal) => {
      const session = new SessionDouble('pending');
      signal.addEventListener('abort', () => session.opening.reject(signal.reason));
      return { session, close: () => {} };
    };
    const reconnect = make([], { mode: 'once', timeoutMs: 200, open: openSilently });
    expect(await reasonOf(reconnect.run())).to.equal('SERVER_UNREACHABLE');
    expect(states).not.to.include('connected');
  });

  it('does not repeat a fault for ever with --once', async () => {
    expect(await reasonOf(make(['INTERNAL'], { mode: 'once', timeoutMs: 60_000 }).run())).to.equal('INTERNAL');
  });

  it('stops while it waits', async () => {
    const reconnect = make(['SERVER_UNREACHABLE']);
    const running = reconnect.run();
    await eventually('offline', () => states.includes('offline'));
    await reconnect.stop(1000);
    await running;
  });

  it('takes a lease lost during the opening for a race, not for a verdict', () => {
    const context = { mode: 'watch', hadSession: false, duringSession: false } as const;
    expect(isFinal('LEASE_STALE', context)).to.equal(false);
    expect(isFinal('LEASE_STALE', { ...context, duringSession: true })).to.equal(true);
  });
});
