/**
 * How a gRPC server goes: announced, with every stream told why, in bounded time (E116).
 */
import type { Server } from '@grpc/grpc-js';
import { LockstepError } from '../ops/errors.ts';
import type { Health } from './health.ts';
import type { TrackedCalls } from './tracked-calls.ts';

/**
 * Health says NOT_SERVING, open streams end with UNAVAILABLE and reason DRAINING, running unary calls may finish;
 * what is left after `graceMs` milliseconds is cut off and sees CANCELLED.
 * @returns true when nothing had to be cut off.
 */
export async function drain(server: Server, calls: TrackedCalls, health: Health, graceMs: number): Promise<boolean> {
  health.shutdown();
  // Watchers of the health service hear of it before their streams end as well.
  await new Promise((resolve) => setImmediate(resolve));
  calls.endAll(new LockstepError('DRAINING', 'the server is shutting down; connect again'));
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      server.forceShutdown();
      resolve(false);
    }, graceMs);
    server.tryShutdown(() => {
      clearTimeout(timer);
      // Repeats nothing, and frees what grpc-js keeps of a server that was never bound.
      server.forceShutdown();
      resolve(true);
    });
  });
}
