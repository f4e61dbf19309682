/**
 * Clients with a connect deadline. grpc-js has none: a peer that accepts TCP and never speaks HTTP/2 keeps a channel
 * connecting for ever, keepalive or not (grpc-node#2785). The way out is a new client, which is why waiting and
 * making are separate: after a failed wait close the client and make another one.
 */
import type { ChannelCredentials, Client, ClientOptions } from '@grpc/grpc-js';
import { untilAborted } from '../ops/async.ts';
import { LockstepError } from '../ops/errors.ts';
import type { Address } from './address.ts';
import { type ChannelSetup, channelOptions } from './channel-options.ts';

/** A generated client class. */
export type ClientConstructor<C extends Client> = new (
  address: string,
  credentials: ChannelCredentials,
  options?: Partial<ClientOptions>,
) => C;

/**
 * Makes a client with the options of its role. It connects at its first call, or in `waitForConnection`.
 * `overrides` are for what only the caller knows, `grpc.ssl_target_name_override` for instance.
 */
export function createClient<C extends Client>(
  constructor: ClientConstructor<C>,
  address: Address,
  credentials: ChannelCredentials,
  setup: Omit<ChannelSetup, 'isLoopback'>,
  overrides: Partial<ClientOptions> = {},
): C {
  const options = channelOptions({ ...setup, isLoopback: address.isLoopback });
  return new constructor(address.target, credentials, { ...options, ...overrides });
}

/**
 * Resolves when the client is connected. The client is not closed when it is not: that is the caller's.
 * @throws LockstepError SERVER_UNREACHABLE after `deadlineMs` milliseconds; the signal's reason when it aborts.
 */
export async function waitForConnection(client: Client, deadlineMs: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  const connected = new Promise<void>((resolve, reject) => {
    client.waitForReady(new Date(Date.now() + deadlineMs), (error) => {
      if (error === undefined || error === null) resolve();
      else reject(unreachable(client, deadlineMs, error));
    });
  });
  await untilAborted(connected, signal);
}

function unreachable(client: Client, deadlineMs: number, cause: Error): LockstepError {
  const target = client.getChannel().getTarget().replace(/^dns:/, '');
  const message = `no connection to ${target} within ${deadlineMs} ms; is a server running there?`;
  return new LockstepError('SERVER_UNREACHABLE', message, { cause });
}
