import { createServer } from 'node:net';
import { Client, credentials, ServerCredentials } from '@grpc/grpc-js';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { parseAddress, tcpAddress } from '../../../common/rpc/address.ts';
import { installConnectTimeout } from '../../../common/rpc/connect-timeout.ts';
import { createClient, waitForConnection } from '../../../common/rpc/connect.ts';
import { bindServer, createServer as createGrpcServer } from '../../../common/rpc/server-options.ts';
import { unaryHandler } from '../../../common/rpc/serve.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { EchoClient, EchoService, errorOf, type Note, startEcho } from './echo-service.ts';

const newClient = (port: number, connectTimeoutMs: number) =>
  createClient(Client, tcpAddress('127.0.0.1', port), credentials.createInsecure(), {
    role: 'control',
    connectTimeoutMs,
  });

/** A TCP listener that never says a word. */
async function startSilentPeer() {
  const server = createServer((socket) => {
    socket.resume();
    socket.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('expected a port');
  /** Resolves when the last client is gone. */
  const stop = () => new Promise((resolve) => server.close(resolve));
  return { port: address.port, server, stop };
}

describe('connecting', () => {
  it('resolves when a server is there', async () => {
    const pair = await startEcho({});
    await waitForConnection(pair.client, 5_000);
    pair.stop();
  });

  it('gives up on a peer that accepts and never speaks, and leaves no socket (grpc-node#2785)', async () => {
    const peer = await startSilentPeer();
    const client = newClient(peer.port, 300);
    const error = await errorOf(waitForConnection(client, 100));
    expect(error).to.include({ reason: 'SERVER_UNREACHABLE' });
    expect(error).to.have.property('message').that.includes(`127.0.0.1:${peer.port}`);
    client.close();
    await peer.stop();
  });

  it('tries a silent peer again by itself', async () => {
    const peer = await startSilentPeer();
    const client = newClient(peer.port, 50);
    const giveUp = new AbortController();
    const waiting = errorOf(waitForConnection(client, 5_000, giveUp.signal));
    for (let connections = 0; connections < 2; connections++) {
      await new Promise((resolve) => peer.server.once('connection', resolve));
    }
    giveUp.abort(new Error('enough'));
    await waiting;
    client.close();
    await peer.stop();
  });

  it('finds the class that it wraps in this release of grpc-js', () => {
    expect(installConnectTimeout()).to.equal(true);
  });

  it('stops waiting when the signal aborts', async () => {
    const peer = await startSilentPeer();
    const client = newClient(peer.port, 300);
    const giveUp = new AbortController();
    const waiting = errorOf(waitForConnection(client, 60_000, giveUp.signal));
    giveUp.abort(new Error('enough'));
    expect(await waiting).to.include({ message: 'enough' });
    client.close();
    await peer.stop();
  });

  it('gives each client a connection of its own, so that a new client is really new', async () => {
    const pair = await startEcho({
      say: unaryHandler<Note, Note>(async (call) => ({ text: call.getPeer() })),
    });
    const other = createClient(EchoClient, pair.address, credentials.createInsecure(), { role: 'bulk' });
    const peers = new Set<string>();
    for (const client of [pair.client, other]) peers.add((await unary(client, client.say, { text: '' })).text);
    expect(peers.size).to.equal(2);
    other.close();
    pair.stop();
  });

  it('works over a unix socket', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'lockstep-'));
    const address = parseAddress(`unix:${join(directory, 'socket')}`);
    const server = createGrpcServer();
    server.addService(EchoService, { say: unaryHandler<Note, Note>(async () => ({ text: 'here' })) });
    expect(await bindServer(server, address, ServerCredentials.createInsecure())).to.equal(0);
    const client = createClient(EchoClient, address, credentials.createInsecure(), { role: 'control' });
    expect(await unary(client, client.say, { text: '' })).to.deep.equal({ text: 'here' });
    client.close();
    server.forceShutdown();
    rmSync(directory, { recursive: true });
  });

  it('reports an address that is in use as a usage error', async () => {
    const pair = await startEcho({});
    const second = createGrpcServer();
    const error = await errorOf(bindServer(second, pair.address, ServerCredentials.createInsecure()));
    expect(error).to.include({ reason: 'USAGE' });
    expect(error).to.have.property('message').that.includes(pair.address.text);
    pair.stop();
  });
});

describe('parseAddress', () => {
  it('reads host and port, numbers and names', () => {
    expect(parseAddress('127.0.0.1:50051')).to.deep.equal({
      kind: 'tcp',
      host: '127.0.0.1',
      port: 50051,
      target: '127.0.0.1:50051',
      text: '127.0.0.1:50051',
      isLoopback: true,
    });
    expect(parseAddress('[::1]:0')).to.include({ host: '::1', port: 0, target: '[::1]:0', isLoopback: true });
    expect(parseAddress('backup.example.org:443', 'dial')).to.include({
      host: 'backup.example.org',
      isLoopback: false,
    });
  });

  it('takes a lone port for all interfaces when listening and for this machine when dialling', () => {
    expect(parseAddress(':50051')).to.include({ target: '0.0.0.0:50051', isLoopback: false });
    expect(parseAddress(':50051', 'dial')).to.include({ target: '127.0.0.1:50051', isLoopback: true });
  });

  it('reads unix sockets', () => {
    expect(parseAddress('unix:/run/s')).to.deep.equal({
      kind: 'unix',
      path: '/run/s',
      target: 'unix:///run/s',
      text: 'unix:/run/s',
      isLoopback: true,
    });
    expect(parseAddress('unix:///run/s')).to.include({ path: '/run/s' });
    expect(() => parseAddress('unix:/run/s', 'dial', 'win32')).to.throw(/is not for Windows; write for example/);
    expect(parseAddress('unix:state/s')).to.include({ path: 'state/s', target: 'unix:state/s' });
  });

  it('knows what only this machine can reach', () => {
    for (const host of ['localhost', 'LOCALHOST', 'a.localhost', '127.8.9.1', '[::1]', '[::ffff:127.0.0.1]']) {
      expect(parseAddress(`${host}:1`).isLoopback, host).to.equal(true);
    }
    for (const host of ['0.0.0.0', '[::]', '10.0.0.1', 'localhost.example.org', '128.0.0.1']) {
      expect(parseAddress(`${host}:1`).isLoopback, host).to.equal(false);
    }
  });

  it('refuses everything else with a usage error that names it', () => {
    const wrong = ['', 'localhost', '50051', 'a:65536', 'a:', 'a:b', '::1:5', '[::1]', '[a]:1', '300.1.1.1:1', 'unix:'];
    for (const text of [...wrong, 'a b:1', 'a/b:1', 'http://a:1', '-a:1', 'unix:////a', 'a:1:2']) {
      expect(() => parseAddress(text), text)
        .to.throw(`"${text}"`)
        .with.property('reason', 'USAGE');
    }
    expect(() => parseAddress('a:0', 'dial'))
      .to.throw()
      .with.property('reason', 'USAGE');
  });

  it('reads back what it writes, for any host and port', () => {
    const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
    fc.assert(
      fc.property(host, fc.nat(65_535), (name, port) => {
        const address = tcpAddress(name, port);
        expect(parseAddress(address.text)).to.deep.equal(address);
      }),
    );
  });
});
