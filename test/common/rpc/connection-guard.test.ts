/**
 * The bounds by themselves; test/server/rpc/stalled-connections.test.ts has them in a server.
 */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server as NetServer, type Socket } from 'node:net';
import type { Server } from '@grpc/grpc-js';
import { expect } from 'chai';
import {
  ConnectionGuard,
  type ConnectionBounds,
  DEFAULT_CONNECTION_BOUNDS,
} from '../../../common/rpc/connection-guard.ts';
import { eventually } from '../../support/eventually.ts';

describe('the connection guard', () => {
  let listener: NetServer;
  let client: Socket | undefined;
  beforeEach(async () => {
    listener = createServer();
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
  });
  afterEach(() => {
    client?.destroy();
    listener.close();
  });

  /** A connection that the guard knows; `remoteAddress` is where it seems to come from. */
  async function connected(bounds: Partial<ConnectionBounds>, remoteAddress = '127.0.0.1') {
    const guard = new ConnectionGuard({ ...DEFAULT_CONNECTION_BOUNDS, ...bounds });
    const accepted = once(listener, 'connection') as Promise<[Socket]>;
    listener.prependListener('connection', (socket: Socket) => {
      socket.resume();
      Object.defineProperty(socket, 'remoteAddress', { value: remoteAddress });
    });
    // The part of grpc-js's server that the guard looks at.
    expect(guard.guard({ http2Servers: new Map([[listener, {}]]) } as unknown as Server)).to.equal(true);
    client = connect((listener.address() as AddressInfo).port, '127.0.0.1');
    const [{ remotePort }] = await accepted;
    return { guard, client, peer: `${remoteAddress}:${remotePort}` };
  }

  it('lets who is answered stay on this machine, and no other', async () => {
    const here = await connected({});
    here.guard.answer('127.0.0.1:0');
    expect(here.guard.waiting).to.equal(1);
    here.guard.answer(here.peer);
    expect([here.guard.waiting, here.guard.open]).to.deep.equal([0, 1]);
  });

  it('keeps who is answered elsewhere among those that are bounded', async () => {
    const { guard, peer } = await connected({}, '192.0.2.1');
    guard.answer(peer);
    expect(guard.waiting).to.equal(1);
    guard.admit(peer);
    guard.answer(peer);
    expect([guard.waiting, guard.open]).to.deep.equal([0, 1]);
  });

  it('closes the only one, too, when it has sent too much', async () => {
    const { guard, client: sender } = await connected({ maxWaitingBytes: 10 });
    sender.on('error', () => {
      // Reset.
    });
    sender.write(Buffer.alloc(1000));
    await eventually('its end', () => guard.open === 0);
    expect([guard.closed, guard.waiting]).to.deep.equal([1, 0]);
  });
});
