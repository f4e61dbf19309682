/**
 * The standard health service, grpc.health.v1: whoever runs or balances this server asks it whether to send traffic.
 * `grpc-health-check` is not used: it reads its proto from disk at run time and its Watch ignores back-pressure.
 */
import type { Server, ServerWritableStream } from '@grpc/grpc-js';
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
  type HealthServer,
  HealthService,
} from '../../gen/grpc/health/v1/health.ts';
import { Deferred, untilAborted } from '../ops/async.ts';
import { LockstepError } from '../ops/errors.ts';
import { writeMessage } from './call-stream.ts';
import { streamHandler, unaryHandler } from './serve.ts';
import type { TrackedCalls } from './tracked-calls.ts';

/** The whole server, in the health protocol. */
export const OVERALL = '';

export type ServingStatus = 'SERVING' | 'NOT_SERVING' | 'UNKNOWN';

export class Health {
  readonly #statuses = new Map<string, ServingStatus>();
  #isShutDown = false;
  /** Settled and replaced at every change; watchers then compare with what they sent last. */
  #changed = new Deferred<void>();

  /** `''` is the whole server. After `shutdown` nothing changes any more. */
  setStatus(service: string, status: ServingStatus): void {
    if (this.#isShutDown || this.#statuses.get(service) === status) return;
    this.#statuses.set(service, status);
    this.#announce();
  }

  /** Everything is NOT_SERVING, for good. */
  shutdown(): void {
    if (this.#isShutDown) return;
    for (const service of this.#statuses.keys()) this.#statuses.set(service, 'NOT_SERVING');
    this.#isShutDown = true;
    this.#announce();
  }

  statusOf(service: string): ServingStatus | undefined {
    return this.#statuses.get(service);
  }

  /** `onCall` hears of the peer of each call. */
  addToServer(server: Server, calls: TrackedCalls, onCall?: (peer: string) => void): void {
    server.addService(HealthService, calls.tracking(HealthService, this.#implementation(), onCall));
  }

  #announce(): void {
    const changed = this.#changed;
    this.#changed = new Deferred<void>();
    changed.resolve();
  }

  #implementation(): HealthServer {
    return {
      check: unaryHandler(async ({ request }) => {
        const status = this.#statuses.get(request.service);
        if (status === undefined) throw new LockstepError('ENTRY_NOT_FOUND', 'unknown service');
        return { status: HealthCheckResponse_ServingStatus[status] };
      }),
      list: unaryHandler(async () => {
        const entries = [...this.#statuses].map(
          ([service, status]) => [service, { status: HealthCheckResponse_ServingStatus[status] }] as const,
        );
        return { statuses: Object.fromEntries(entries) };
      }),
      watch: streamHandler((call: ServerWritableStream<HealthCheckRequest, HealthCheckResponse>, signal) =>
        this.#watch(call, signal),
      ),
    };
  }

  /** A slow watcher misses states in between, never the last one. */
  async #watch(
    call: ServerWritableStream<HealthCheckRequest, HealthCheckResponse>,
    signal: AbortSignal,
  ): Promise<never> {
    let sent: ServingStatus | 'SERVICE_UNKNOWN' | undefined;
    for (;;) {
      const changed = this.#changed.promise;
      const current = this.#statuses.get(call.request.service) ?? 'SERVICE_UNKNOWN';
      if (current !== sent) {
        sent = current;
        await writeMessage(call, { status: HealthCheckResponse_ServingStatus[current] }, signal);
      }
      await untilAborted(changed, signal);
    }
  }
}
