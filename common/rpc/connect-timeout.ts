/**
 * A time limit on connecting, which grpc-js does not have: towards a peer that accepts TCP and never speaks HTTP/2 a
 * channel stays CONNECTING for ever, and its socket stays open after `close` too (grpc-node#2785; nice-grpc patches the
 * same). With this the attempt fails like any other and the channel tries again after its backoff.
 *
 * Wraps two methods of a class inside grpc-js 1.14. Where a release has moved them nothing is wrapped, and the way
 * out that remains is `waitForConnection` and a new client. To be removed when upstream has an option.
 */
import type { Socket } from 'node:net';
import * as transport from '@grpc/grpc-js/build/src/transport.js';

/** The channel option, in milliseconds, that this file reads. Without it a channel is left as it is. */
export const CONNECT_TIMEOUT_OPTION = 'lockstep.connect_timeout_ms';

interface Transport {
  shutdown(): void;
}

type Options = Readonly<Record<string, unknown>>;

/** What is used of grpc-js's Http2SubchannelConnector; one connector makes one attempt at a time. */
interface Connector {
  connect(address: unknown, secureConnector: unknown, options: Options): Promise<Transport>;
  tcpConnect(address: unknown, options: Options): Promise<Socket>;
}

const wrapped = new WeakSet<object>();

/** Wraps the class of this process's grpc-js, once. False where it is not as expected. */
export function installConnectTimeout(): boolean {
  // A namespace of a CommonJS module; the class is not part of its public types.
  const connectorClass = transport.Http2SubchannelConnector as unknown as
    | { prototype?: Partial<Connector> }
    | undefined;
  const { connect, tcpConnect } = connectorClass?.prototype ?? {};
  const prototype = connectorClass?.prototype;
  if (prototype === undefined || connect === undefined || tcpConnect === undefined) return false;
  if (wrapped.has(prototype)) return true;
  wrapped.add(prototype);
  /** Sockets of attempts under way. */
  const sockets = new WeakMap<object, Socket>();

  prototype.tcpConnect = async function (this: Connector, address, options) {
    const socket = await tcpConnect.call(this, address, options);
    sockets.set(this, socket);
    return socket;
  };
  prototype.connect = function (this: Connector, address, secureConnector, options) {
    const attempt = connect.call(this, address, secureConnector, options);
    const giveUp = () => sockets.get(this)?.destroy();
    return withinTime(attempt, options[CONNECT_TIMEOUT_OPTION], giveUp).finally(() => sockets.delete(this));
  };
  return true;
}

/** A transport that comes too late is shut down, as the channel has given the attempt up. */
function withinTime(attempt: Promise<Transport>, timeoutMs: unknown, giveUp: () => void): Promise<Transport> {
  if (typeof timeoutMs !== 'number') return attempt;
  return new Promise((resolve, reject) => {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      giveUp();
      reject(new Error(`no answer within ${timeoutMs} ms`));
    }, timeoutMs);
    timer.unref();
    attempt.then(
      (made) => {
        clearTimeout(timer);
        if (isLate) made.shutdown();
        else resolve(made);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error instanceof Error ? error : new Error(String(error)));
      },
    );
  });
}
