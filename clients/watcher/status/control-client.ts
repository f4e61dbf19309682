/**
 * Talking to the running watcher of a state directory: what the command line's subcommands are made of.
 */
import { ChannelCredentials } from '@grpc/grpc-js';
import { sleep } from '../../../common/ops/async.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { cancelOnAbort, readMessages } from '../../../common/rpc/call-stream.ts';
import { createClient } from '../../../common/rpc/connect.ts';
import { unary, type UnaryMethod } from '../../../common/rpc/unary.ts';
import {
  type FlushResponse,
  type GetStatusResponse,
  type LimitBandwidthRequest,
  type LimitBandwidthResponse,
  type ResumeResponse,
  type WatchEventsResponse,
  WatcherServiceClient,
  WatcherState,
} from '../../../gen/lockstep/watcher/v1/watcher_service.ts';
import { type ControlSocket, controlSocketOf } from './control-socket.ts';

const CALL_DEADLINE_MS = 10_000;
/** A week: longer than anybody waits. A flush ends by itself. */
const FLUSH_DEADLINE_MS = 7 * 24 * 3_600_000;
/** How often a waiting flush looks whether the watcher is connected at all. */
const LOOK_MS = 250;

export class ControlClient {
  readonly #client: WatcherServiceClient;
  readonly #socket: ControlSocket;
  readonly #directory: string;

  /** `directory` is the watched one, for messages. Nothing is connected yet. @throws LockstepError as `status`, USAGE, IO */
  constructor(stateDirectory: string, directory: string) {
    this.#directory = directory;
    this.#socket = this.#found(stateDirectory);
    this.#client = createClient(WatcherServiceClient, this.#socket.address, ChannelCredentials.createInsecure(), {
      role: 'control',
    });
  }

  /** @throws LockstepError SERVER_UNREACHABLE when no watcher runs; so do the others. */
  status(): Promise<GetStatusResponse> {
    return this.#call(this.#client.getStatus, {});
  }

  async pause(): Promise<void> {
    await this.#call(this.#client.pause, {});
  }

  resume(): Promise<ResumeResponse> {
    return this.#call(this.#client.resume, {});
  }

  async rescan(): Promise<void> {
    await this.#call(this.#client.rescan, {});
  }

  /** Without a limit it only asks. */
  limitBandwidth(limit?: LimitBandwidthRequest['limit']): Promise<LimitBandwidthResponse> {
    return this.#call(this.#client.limitBandwidth, { limit });
  }

  /**
   * Resolves when all that was on disk at the call is durable.
   * @throws LockstepError INCOMPLETE, MASS_DELETE; SERVER_UNREACHABLE when the watcher itself has had no connection, or has been
   *   paused, for `timeoutMs`.
   */
  async flush(timeoutMs: number): Promise<FlushResponse> {
    const over = new AbortController();
    const flushing = this.#call(this.#client.flush, {}, FLUSH_DEADLINE_MS, over.signal);
    try {
      return await Promise.race([flushing, this.#untilIdleFor(timeoutMs, over.signal)]);
    } finally {
      over.abort(new LockstepError('CANCELLED', 'the flush is over'));
    }
  }

  /**
   * What happens from now on, the present state first; ends when the signal aborts.
   * @throws LockstepError SERVER_UNREACHABLE when no watcher runs (any more), DRAINING when it stops, LIMIT_EXCEEDED when
   *   events came faster than they were taken.
   */
  async *events(signal: AbortSignal): AsyncGenerator<WatchEventsResponse, void, undefined> {
    const call = this.#client.watchEvents({});
    const stopListening = cancelOnAbort(call, signal);
    try {
      yield* readMessages(call);
    } catch (error) {
      if (!signal.aborted) throw this.#translated(error);
    } finally {
      stopListening();
      call.cancel();
    }
  }

  close(): void {
    this.#client.close();
    this.#socket.release();
  }

  /** Never resolves: rejects when the watcher was offline, or paused, for so long. */
  async #untilIdleFor(timeoutMs: number, signal: AbortSignal): Promise<never> {
    let idleSinceMs: number | undefined;
    for (;;) {
      await sleep(LOOK_MS, signal);
      const { state, reason } = await this.status();
      const isPaused = state === WatcherState.WATCHER_STATE_PAUSED;
      if (!isPaused && state !== WatcherState.WATCHER_STATE_OFFLINE) {
        idleSinceMs = undefined;
        continue;
      }
      idleSinceMs ??= performance.now();
      if (performance.now() - idleSinceMs < timeoutMs) continue;
      throw new LockstepError(
        'SERVER_UNREACHABLE',
        isPaused ? 'the watcher is paused; let it go on with: sync-watcher resume' : reason,
      );
    }
  }

  async #call<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    deadlineMs = CALL_DEADLINE_MS,
    signal?: AbortSignal,
  ): Promise<Response> {
    try {
      return await unary(this.#client, method, request, { deadlineMs, signal });
    } catch (error) {
      throw this.#translated(error);
    }
  }

  #found(stateDirectory: string): ControlSocket {
    try {
      return controlSocketOf(stateDirectory, 'dial');
    } catch (error) {
      throw this.#translated(error);
    }
  }

  #translated(error: unknown): unknown {
    if (!(error instanceof LockstepError) || error.reason !== 'SERVER_UNREACHABLE') return error;
    const message = `no watcher is running for ${this.#directory}; start one with: sync-watcher --dir ${this.#directory} --server ADDR`;
    // The gRPC error says nothing that the user could act on.
    return new LockstepError('SERVER_UNREACHABLE', message);
  }
}
