/**
 * How a gRPC server is set up and bound.
 */
import { Server, type ServerCredentials, type ServerInterceptor } from '@grpc/grpc-js';
import { describeError, LockstepError } from '../ops/errors.ts';
import type { Address } from './address.ts';
import { DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_WINDOWS, KEEPALIVE_TIME_MS, KEEPALIVE_TIMEOUT_MS } from './options.ts';
import type { KnownOptions, ReceiveWindows } from './options.ts';
import { raiseReceiveWindows } from './receive-window.ts';
import { nothingAfterStatus } from './wire-stream.ts';

export interface ServerSetup {
  /** Largest message taken from a client. Default 4 MiB; grpc-js: 4 MiB. */
  readonly maxReceiveMessageBytes?: number | undefined;
  /** Calls that one connection may have open. Default 100; grpc-js: no limit. */
  readonly maxConcurrentStreams?: number | undefined;
  /** Milliseconds after which a connection without calls is closed. Default 300,000; grpc-js: never. */
  readonly maxConnectionIdleMs?: number | undefined;
  /** Milliseconds after which a connection is asked to go, to rebalance behind a balancer. Default and grpc-js: never. */
  readonly maxConnectionAgeMs?: number | undefined;
  /** HTTP/2 memory of one connection in MB, beyond which it is refused. Default and grpc-js: no limit; degrades near it. */
  readonly maxSessionMemoryMb?: number | undefined;
  /** Element 0 is nearest the wire: authentication, then limits, then metrics. */
  readonly interceptors?: readonly ServerInterceptor[] | undefined;
}

/** What differs from grpc-js's defaults, and why. Compression stays off: contents are compressed by the program. */
export function serverOptions(setup: ServerSetup = {}): KnownOptions {
  return {
    // Default 4 MiB. Bounds what a hostile client can make us hold per call; also after decompression.
    'grpc.max_receive_message_length': setup.maxReceiveMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES,
    // Default 2^32-1.
    'grpc.max_concurrent_streams': setup.maxConcurrentStreams ?? 100,
    // Default off. A client that vanished without a word gives its lease back within half a minute.
    'grpc.keepalive_time_ms': KEEPALIVE_TIME_MS,
    // Default 20,000.
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    // Default unlimited.
    'grpc.max_connection_idle_ms': setup.maxConnectionIdleMs ?? 300_000,
    // Default on, and left on: without it `forceShutdown` of 1.14.7 closes no connection (only channelz's session list
    // is walked), and a server with a stuck call would never end. test/common/rpc/drain.test.ts notices.
    'grpc.enable_channelz': 1,
    ...(setup.maxConnectionAgeMs === undefined ? {} : { 'grpc.max_connection_age_ms': setup.maxConnectionAgeMs }),
    ...(setup.maxSessionMemoryMb === undefined ? {} : { 'grpc-node.max_session_memory': setup.maxSessionMemoryMb }),
  };
}

/** A server with these options. Add services, then `bindServer`. */
export function createServer(setup: ServerSetup = {}): Server {
  return new Server({ ...serverOptions(setup), interceptors: [nothingAfterStatus, ...(setup.interceptors ?? [])] });
}

/**
 * Binds and serves, with raised receive windows.
 * @returns the bound port; 0 for a unix socket, whose stale file and mode are the caller's.
 * @throws LockstepError USAGE when the address cannot be bound.
 */
export async function bindServer(
  server: Server,
  address: Address,
  credentials: ServerCredentials,
  windows: ReceiveWindows = DEFAULT_WINDOWS,
): Promise<number> {
  const raised = raiseReceiveWindows(server, windows);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(address.target, credentials, (error, bound) => {
      if (error === null) resolve(bound);
      else reject(new LockstepError('USAGE', `cannot listen on ${address.text}: ${describeError(error)}`));
    });
  });
  raised.afterBind();
  return address.kind === 'unix' ? 0 : port;
}
