/**
 * Calls that begin over HTTP/2 and do not finish their first message, and the tokens that they show.
 */
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import { unary } from '../../common/rpc/unary.ts';
import { TokenStore } from '../../services/sync-server/auth/token-store.ts';
import { reasonOf, type SyncFixture } from './sync-fixture.ts';

/** The prefix and the length of a message of 1 MiB. */
const MESSAGE_HEADER = Buffer.from([0, 0, 0x10, 0, 0]);

export interface BegunCall {
  readonly stream: ClientHttp2Stream;
  /** What it was answered with. */
  status: string | undefined;
}

/** Sends headers and so many bytes of a message of 1 MiB; `token` null is somebody who does not say who he is. */
export function beginCall(
  session: ClientHttp2Session,
  method: string,
  token: string | null,
  sentBytes: number,
): BegunCall {
  const headers = { ':method': 'POST', ':path': `/${method}`, 'content-type': 'application/grpc', te: 'trailers' };
  const stream = session.request(token === null ? headers : { ...headers, authorization: `Bearer ${token}` });
  const call: BegunCall = { stream, status: undefined };
  for (const event of ['response', 'trailers'] as const)
    stream.on(event, (answer: Readonly<Record<string, string | string[] | undefined>>) => {
      const status = answer['grpc-status'];
      if (typeof status === 'string') call.status = status;
    });
  stream.on('error', () => {
    // Reset when the server stops.
  });
  stream.resume();
  stream.write(Buffer.concat([MESSAGE_HEADER, Buffer.alloc(sentBytes)]));
  return call;
}

export function newToken(fixture: SyncFixture): string {
  const store = new TokenStore(fixture.stateDirectory());
  return store.create({ folder: 'default', scope: 'write', label: '', expiresInMs: undefined }).text;
}

/** To be awaited behind the first token: the server looks for tokens once a second, and lets everybody in until it has found one. */
export async function untilTokensAreAskedFor({ client }: SyncFixture): Promise<void> {
  const info = () => reasonOf(unary(client, client.getServerInfo, { clientVersion: '' }));
  while ((await info()) !== 'UNAUTHENTICATED');
}
