/**
 * Clients with a connect deadline. grpc-js has none (grpc-node#2785): connect-timeout.ts limits each attempt, and
 * `waitForConnection` the whole. After a failed wait, close the client and make another one: that also helps where
 * the first could not be installed.
 */
import { type ChannelCredentials, type Client, type ClientOptions, connectivityState } from '@grpc/grpc-js';
import { untilAborted } from '../ops/async.ts';
import { LockstepError } from '../ops/errors.ts';
import type { Address } from './address.ts';
import { type ChannelSetup, channelOptions } from './channel-options.ts';
import { CONNECT_TIMEOUT_OPTION, installConnectTimeout } from './connect-timeout.ts';

/** Time for TCP, TLS and the HTTP/2 greeting of one attempt, in milliseconds. */
const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;

/** A generated client class. */
export type ClientConstructor<C extends Client> = new (
  address: string,
  credentials: ChannelCredentials,
  options?: Partial<ClientOptions>,
) => C;

/**
 * Makes a client with the options of its role. It connects at its first call, or in `waitForConnection`.
 */
export function createClient<C extends Client>(
  constructor: ClientConstructor<C>,
  address: Address,
  credentials: ChannelCredentials,
  setup: Omit<ChannelSetup, 'isLoopback'> & { readonly connectTimeoutMs?: number | undefined },
): C {
  installConnectTimeout();
  const options = channelOptions({ ...setup, isLoopback: address.isLoopback });
  const connectTimeoutMs = setup.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS;
  return new constructor(address.target, credentials, {
    ...options,
    [CONNECT_TIMEOUT_OPTION]: connectTimeoutMs,
  });
}

/**
 * Resolves when the client is connected. The client is not closed when it is not: that is the caller's.
 * @throws LockstepError SERVER_UNREACHABLE after `deadlineMs` milliseconds; the signal's reason when it aborts.
 */
export async function waitForConnection(client: Client, deadlineMs: number, signal?: AbortSignal): Promise<void> {
  const channel = client.getChannel();
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    signal?.throwIfAborted();
    const state = channel.getConnectivityState(true);
    if (state === connectivityState.READY) return;
    const remainingMs = endMs - performance.now();
    if (remainingMs <= 0 || state === connectivityState.SHUTDOWN) throw unreachable(channel.getTarget(), deadlineMs);
    await untilAborted(stateChange(channel, state, Math.min(remainingMs, WAIT_SLICE_MS)), signal);
  }
}

/** Waiting is cut into pieces because grpc-js keeps its timer to the end, whoever aborts or closes meanwhile. */
const WAIT_SLICE_MS = 250;

function stateChange(
  channel: ReturnType<Client['getChannel']>,
  state: connectivityState,
  atMostMs: number,
): Promise<void> {
  return new Promise((resolve) => {
    channel.watchConnectivityState(state, Date.now() + Math.ceil(atMostMs), () => resolve());
  });
}

function unreachable(target: string, deadlineMs: number): LockstepError {
  const message = `no connection to ${target.replace(/^dns:/, '')} within ${deadlineMs} ms; is a server running there?`;
  return new LockstepError('SERVER_UNREACHABLE', message);
}
