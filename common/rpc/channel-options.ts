/**
 * How a client's channels are set up. A client has one control channel for small calls, acknowledgements and changes,
 * and a few bulk channels for contents, each with a connection of its own: bulk never delays an acknowledgement.
 */
import { DEFAULT_MAX_MESSAGE_BYTES, DEFAULT_WINDOWS, KEEPALIVE_TIME_MS, KEEPALIVE_TIMEOUT_MS } from './options.ts';
import type { KnownOptions } from './options.ts';

export interface ChannelSetup {
  /** "bulk" for contents, "control" for everything else. */
  readonly role: 'control' | 'bulk';
  /** The server is on this machine: proxies are not asked for it. */
  readonly isLoopback: boolean;
  /** Largest message taken from the server. Default 4 MiB; grpc-js: 4 MiB. */
  readonly maxReceiveMessageBytes?: number | undefined;
  /** Our receive window per stream and connection. Default 8 MiB; grpc-js: 65,535 bytes. */
  readonly windowBytes?: number | undefined;
}

/** What differs from grpc-js's defaults, and why. Everything else stays as it comes. */
export function channelOptions(setup: ChannelSetup): KnownOptions {
  return {
    // Default 4 MiB. Bounds what a hostile server can make us hold; also after decompression.
    'grpc.max_receive_message_length': setup.maxReceiveMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES,
    // Default 65,535 bytes: 64 KiB per round trip. For what streams from the server to us.
    'grpc-node.flow_control_window': setup.windowBytes ?? DEFAULT_WINDOWS.streamBytes,
    // Default off. Finds a dead peer or middlebox within half a minute.
    'grpc.keepalive_time_ms': KEEPALIVE_TIME_MS,
    // Default 20,000.
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    // Default 0. An idle watcher must notice a lost server too.
    'grpc.keepalive_permit_without_calls': 1,
    // Default on. Retries buffer up to 1 MiB per call and report writes early; contents are resumed by the program.
    'grpc.enable_retries': setup.role === 'bulk' ? 0 : 1,
    // Default 1,000, growing to 120,000 by 1.6 with jitter 0.2. A restarted server is found again at once.
    'grpc.initial_reconnect_backoff_ms': 250,
    'grpc.max_reconnect_backoff_ms': 15_000,
    // Default 0: clients of one target share a connection, and a new client would inherit a stuck one.
    'grpc.use_local_subchannel_pool': 1,
    // Default 1: honours http_proxy and friends.
    'grpc.enable_http_proxy': setup.isLoopback ? 0 : 1,
    // Default on: records every call for a debugging service that is not offered.
    'grpc.enable_channelz': 0,
  };
}
