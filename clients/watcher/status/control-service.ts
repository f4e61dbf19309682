/**
 * The WatcherService: what the command line's `status`, `flush`, `pause`, `resume` and `rescan` talk to. Reads the
 * model and posts commands; decides nothing.
 */
import { chmodSync } from 'node:fs';
import { Server, ServerCredentials, type ServerWritableStream } from '@grpc/grpc-js';
import { AsyncQueue, Deferred, untilAborted } from '../../../common/ops/async.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { Logger } from '../../../common/ops/logger.ts';
import { MIN_RATE } from '../../../common/ops/units.ts';
import { writeMessage } from '../../../common/rpc/call-stream.ts';
import { streamHandler, unaryHandler } from '../../../common/rpc/serve.ts';
import { TrackedCalls } from '../../../common/rpc/tracked-calls.ts';
import { toWirePath } from '../../../common/tree/tree-path.ts';
import {
  type FlushResponse,
  type GetStatusResponse,
  type LimitBandwidthRequest,
  type LimitBandwidthResponse,
  type WatchEventsRequest,
  type WatchEventsResponse,
  WatcherActivity,
  type WatcherServiceServer,
  WatcherServiceService,
  WatcherState,
} from '../../../gen/lockstep/watcher/v1/watcher_service.ts';
import type { EngineEvent } from '../engine/messages.ts';
import { unpackChanges } from '../engine/packed-changes.ts';
import type { Bandwidth } from '../push/bandwidth.ts';
import type { EnginePort } from '../push/engine-port.ts';
import { VERSION } from '../version.ts';
import { type ControlSocket, controlSocketOf, removeStaleSocket } from './control-socket.ts';
import { type Activity, workOf } from './progress-text.ts';
import type { WatcherEvent, WatcherModel, WatcherPhase } from './watcher-model.ts';

/** Events that may wait for one listener; a slower one is told to come back. */
const MAX_WAITING_EVENTS = 10_000;
const SHUTDOWN_GRACE_MS = 500;
/** What the message holds. */
const MAX_LEFT_SECONDS = 2 ** 32 - 1;

export interface ControlServiceOptions {
  readonly model: WatcherModel;
  readonly engine: EnginePort;
  readonly bandwidth: Bandwidth;
  readonly logger: Logger;
}

export class ControlService {
  readonly #model: WatcherModel;
  readonly #engine: EnginePort;
  readonly #bandwidth: Bandwidth;
  readonly #logger: Logger;
  readonly #calls = new TrackedCalls();
  readonly #flushes = new Map<number, Deferred<FlushResponse>>();
  #nextFlush = 1;
  #server: Server | undefined;
  #socket: ControlSocket | undefined;

  constructor({ model, engine, bandwidth, logger }: ControlServiceOptions) {
    this.#model = model;
    this.#engine = engine;
    this.#bandwidth = bandwidth;
    this.#logger = logger;
  }

  /** @throws an error of the operating system when the socket cannot be made. */
  async start(stateDirectory: string): Promise<void> {
    const socket = controlSocketOf(stateDirectory, 'listen');
    this.#socket = socket;
    await removeStaleSocket(socket.path);
    const server = new Server({ 'grpc.enable_channelz': 0 });
    server.addService(WatcherServiceService, this.#calls.tracking(WatcherServiceService, this.#implementation()));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(socket.address.target, ServerCredentials.createInsecure(), (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
    if (socket.isFile) chmodSync(socket.path, 0o600);
  }

  /** To be called with each answer of the engine to a flush. */
  flushed({ id, revision, problemCount }: Extract<EngineEvent, { type: 'flushed' }>): void {
    const waiting = this.#flushes.get(id);
    this.#flushes.delete(id);
    if (problemCount === 0) waiting?.resolve({ revision });
    else {
      const details = { problems: String(problemCount), revision: String(revision) };
      const what = problemCount === 1 ? 'one entry' : `${problemCount} entries`;
      waiting?.reject(
        new LockstepError('INCOMPLETE', `${what} could not be synced; see sync-watcher status`, { details }),
      );
    }
  }

  async stop(): Promise<void> {
    const stopping = new LockstepError('DRAINING', 'the watcher is stopping');
    for (const waiting of this.#flushes.values()) waiting.reject(stopping);
    this.#flushes.clear();
    this.#calls.endAll(stopping);
    const server = this.#server;
    if (server !== undefined) await shutDown(server);
    this.#socket?.release();
  }

  #status(): GetStatusResponse {
    const { directory, server, folder } = this.#model.identity;
    const { snapshot } = this.#model;
    const { phase, reason, sinceMs, lastChangeMs, latencyMs, engine, onSyncedFailure } = snapshot;
    const work = workOf(snapshot);
    return {
      state: stateOf(phase),
      reason,
      directory,
      server,
      folder,
      revision: engine.revision,
      durableRevision: engine.durableRevision,
      entries: BigInt(engine.entries),
      pendingChanges: BigInt(engine.pendingChanges),
      pendingBytes: BigInt(engine.pendingBytes),
      sinceMs: BigInt(sinceMs),
      lastChangeMs: BigInt(lastChangeMs),
      changeSource: engine.changeSource,
      degraded: engine.degraded,
      problems: engine.problems.map(({ path, reason, message }) => ({ path: toWirePath(path), reason, message })),
      problemCount: BigInt(engine.problemCount),
      heldDeletes: BigInt(engine.heldDeletes),
      pid: process.pid,
      version: VERSION,
      onSyncedFailure,
      bandwidthLimit: this.#announcedRate(),
      rescans: engine.rescans.map(({ scope, reason, count }) => ({ scope, reason, count: BigInt(count) })),
      activity: activityCode(work.activity),
      firstSyncDone: work.firstSyncDone,
      scannedEntries: BigInt(work.scannedEntries),
      sentChanges: BigInt(work.sentChanges),
      sentBytes: BigInt(work.sentBytes),
      changesPerSecond: work.changesPerSecond,
      bytesPerSecond: work.bytesPerSecond,
      leftSeconds: Math.min(work.leftSeconds ?? 0, MAX_LEFT_SECONDS),
      latencyMs,
    };
  }

  /**
   * As Flush: resolves when all that was on disk at the call is durable.
   * @throws LockstepError INCOMPLETE, MASS_DELETE, DRAINING; the signal's reason.
   */
  async flush(signal: AbortSignal | undefined): Promise<FlushResponse> {
    const { phase, reason, engine } = this.#model.snapshot;
    if (phase === 'stopped') {
      const details = { reason, held_deletes: String(engine.heldDeletes) };
      throw new LockstepError('MASS_DELETE', `the watcher has stopped for safety: ${reason}`, { details });
    }
    const id = this.#nextFlush++;
    const waiting = new Deferred<FlushResponse>();
    this.#flushes.set(id, waiting);
    this.#engine.post({ type: 'flush', id });
    try {
      return await untilAborted(waiting.promise, signal);
    } finally {
      this.#flushes.delete(id);
    }
  }

  #implementation(): WatcherServiceServer {
    const onError = (error: unknown, path: string) => this.#logger.debug({ err: error }, `${path} failed`);
    return {
      getStatus: unaryHandler(async () => this.#status(), onError),
      flush: unaryHandler((_call, signal) => this.flush(signal), onError),
      pause: unaryHandler(async () => {
        this.#engine.post({ type: 'pause' });
        return {};
      }, onError),
      resume: unaryHandler(async () => {
        const confirmedDeletes = BigInt(this.#model.snapshot.engine.heldDeletes);
        this.#engine.post({ type: 'resume' });
        return { confirmedDeletes };
      }, onError),
      rescan: unaryHandler(async () => {
        this.#engine.post({ type: 'rescan' });
        return {};
      }, onError),
      limitBandwidth: unaryHandler(async ({ request }) => this.#limit(request.limit), onError),
      watchEvents: streamHandler(
        (call: ServerWritableStream<WatchEventsRequest, WatchEventsResponse>, signal) => this.#watch(call, signal),
        onError,
      ),
    };
  }

  #limit(limit: LimitBandwidthRequest['limit']): LimitBandwidthResponse {
    switch (limit?.$case) {
      case 'bytesPerSecond':
        this.#bandwidth.byHand(checkedRate(limit.value));
        break;
      case 'off':
        this.#bandwidth.byHand(undefined);
        break;
      case 'auto':
        this.#bandwidth.byItself();
        break;
      case undefined:
        break;
    }
    return { bytesPerSecond: this.#announcedRate(), byHand: this.#bandwidth.isByHand };
  }

  #announcedRate(): bigint {
    return BigInt(Math.round(this.#bandwidth.rate ?? 0));
  }

  async #watch(
    call: ServerWritableStream<WatchEventsRequest, WatchEventsResponse>,
    signal: AbortSignal,
  ): Promise<void> {
    const queue = new AsyncQueue<WatchEventsResponse>({ maxBytes: MAX_WAITING_EVENTS });
    const push = (event: WatcherEvent) => {
      for (const message of this.#messagesOf(event)) {
        if (queue.tryPush(message)) continue;
        queue.close(new LockstepError('LIMIT_EXCEEDED', 'events came faster than they were read; connect again'));
        return;
      }
    };
    push({ type: 'state', snapshot: this.#model.snapshot });
    const unsubscribe = this.#model.subscribe(push);
    const onAbort = () => queue.close(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      for await (const message of queue) await writeMessage(call, message, signal);
    } finally {
      unsubscribe();
      signal.removeEventListener('abort', onAbort);
    }
  }

  *#messagesOf(event: WatcherEvent): Generator<WatchEventsResponse, void, void> {
    const state = stateOf(this.#model.snapshot.phase);
    const base = {
      timeMs: BigInt(Date.now()),
      state,
      operation: '',
      path: '',
      revision: 0n,
      message: '',
    };
    switch (event.type) {
      case 'state':
        yield { ...base, type: 'state', revision: event.snapshot.engine.revision, message: event.snapshot.reason };
        break;
      case 'progress':
        break;
      case 'changes':
        for (const { operation, path, revision } of unpackChanges(event.changes)) {
          yield { ...base, type: 'change', operation, path: toWirePath(path), revision };
        }
        break;
      case 'problem':
        yield { ...base, type: 'problem', path: toWirePath(event.path), message: event.message };
        break;
    }
  }
}

/** @throws LockstepError INVALID_ARGUMENT */
function checkedRate(bytesPerSecond: bigint): number {
  if (bytesPerSecond >= BigInt(MIN_RATE) && bytesPerSecond <= BigInt(Number.MAX_SAFE_INTEGER)) {
    return Number(bytesPerSecond);
  }
  throw new LockstepError('INVALID_ARGUMENT', `a limit of ${bytesPerSecond} bytes per second is none that works`);
}

function stateOf(phase: WatcherPhase): WatcherState {
  switch (phase) {
    case 'starting':
      return WatcherState.WATCHER_STATE_STARTING;
    case 'in-step':
      return WatcherState.WATCHER_STATE_IN_STEP;
    case 'syncing':
      return WatcherState.WATCHER_STATE_SYNCING;
    case 'offline':
      return WatcherState.WATCHER_STATE_OFFLINE;
    case 'paused':
      return WatcherState.WATCHER_STATE_PAUSED;
    case 'stopped':
      return WatcherState.WATCHER_STATE_STOPPED;
  }
}

function activityCode(activity: Activity | undefined): WatcherActivity {
  switch (activity) {
    case undefined:
      return WatcherActivity.WATCHER_ACTIVITY_UNSPECIFIED;
    case 'connecting':
      return WatcherActivity.WATCHER_ACTIVITY_CONNECTING;
    case 'comparing':
      return WatcherActivity.WATCHER_ACTIVITY_COMPARING;
    case 'scanning':
      return WatcherActivity.WATCHER_ACTIVITY_SCANNING;
    case 'sending':
      return WatcherActivity.WATCHER_ACTIVITY_SENDING;
    case 'making-durable':
      return WatcherActivity.WATCHER_ACTIVITY_MAKING_DURABLE;
  }
}

function shutDown(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
      resolve();
    }, SHUTDOWN_GRACE_MS);
    server.tryShutdown(() => {
      clearTimeout(timer);
      server.forceShutdown();
      resolve();
    });
  });
}
