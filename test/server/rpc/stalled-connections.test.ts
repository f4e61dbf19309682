/**
 * Connections that say nothing, or a byte a second: what they cost, and that others are served as before.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { expect } from 'chai';
import { parseAddress } from '../../../common/rpc/address.ts';
import { readMessages } from '../../../common/rpc/call-stream.ts';
import { ConnectionGuard, DEFAULT_CONNECTION_BOUNDS } from '../../../common/rpc/connection-guard.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { HealthCheckResponse_ServingStatus, HealthClient } from '../../../gen/grpc/health/v1/health.ts';
import { ServerReflectionClient } from '../../../gen/grpc/reflection/v1/reflection.ts';
import { putFile, reasonOf, SyncFixture, until } from '../../support/sync-fixture.ts';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

function portOf(fixture: SyncFixture): number {
  const { address } = fixture;
  return address.kind === 'tcp' ? address.port : 0;
}

/** A connection that sends this and then nothing; `isClosed` tells when the server has ended it. */
async function stall(port: number, bytes = '', sockets: Socket[] = []): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  sockets.push(socket);
  socket.on('error', () => {
    // Reset by the server: `destroyed` says so too.
  });
  socket.resume();
  await new Promise((resolve) => socket.once('connect', resolve));
  if (bytes !== '') socket.write(bytes);
  return socket;
}

describe('connections from which nobody was let in (S15, F20)', function () {
  this.timeout(20_000);
  let sockets: Socket[] = [];
  afterEach(() => {
    for (const socket of sockets) socket.destroy();
    sockets = [];
  });
  const start = ({ admissionMs, ...connections }: Partial<typeof DEFAULT_CONNECTION_BOUNDS> = {}) =>
    SyncFixture.start({ limits: admissionMs === undefined ? {} : { admissionMs }, setup: { connections } });

  it('a thousand of them, and streams of a byte a second, leave a good client its service', async () => {
    const fixture = await start();
    const port = portOf(fixture);
    const memoryBefore = process.memoryUsage().rss;
    for (let round = 0; round < 10; round++) {
      await Promise.all(Array.from({ length: 100 }, (_, at) => stall(port, PREFACE.slice(0, at % 25), sockets)));
    }
    const trickling = setInterval(() => {
      for (const socket of sockets) if (socket.writable) socket.write('\0');
    }, 1000);
    // A client that comes now, from the address that is full.
    const client = fixture.connect();
    const startedAtMs = performance.now();
    for (let call = 0; call < 200; call++) await unary(client, client.getServerInfo, { clientVersion: '' });
    await fixture.apply(putFile('a', 'content'));
    expect(performance.now() - startedAtMs).to.be.lessThan(5000);
    const open = () => sockets.filter(({ destroyed, closed }) => !destroyed && !closed).length;
    await until(() => open() <= DEFAULT_CONNECTION_BOUNDS.maxWaitingPerAddress);
    expect(process.memoryUsage().rss - memoryBefore).to.be.lessThan(200 * 2 ** 20);
    clearInterval(trickling);
    await fixture.stop();
  });

  it('are closed after the deadline, however busily they send', async () => {
    const fixture = await start({ admissionMs: 300 });
    const port = portOf(fixture);
    const silent = await stall(port, '', sockets);
    const busy = await stall(port, PREFACE, sockets);
    // Settings frames, valid ones, all the time.
    const sending = setInterval(() => busy.write(Buffer.from('000000040000000000', 'hex')), 20);
    await until(() => silent.closed && busy.closed);
    clearInterval(sending);
    await fixture.stop();
  });

  it('a call that never ends its request does not count as let in', async () => {
    const fixture = await start({ admissionMs: 300 });
    const session = connectHttp2(`http://127.0.0.1:${portOf(fixture)}`);
    session.on('error', () => {
      // Reset by the server; `destroyed` says so too.
    });
    const path = '/lockstep.sync.v1.SyncService/GetServerInfo';
    const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
    const stream = session.request(headers);
    stream.on('error', () => {
      // The same.
    });
    // A message of 4 MiB, a byte at a time.
    stream.write(Buffer.from([0, 0, 0x40, 0, 0]));
    const sending = setInterval(() => !stream.destroyed && stream.write(Buffer.from([0])), 50);
    // Which of the two depends on whether a farewell came before the reset.
    await until(() => session.destroyed || session.closed);
    clearInterval(sending);
    await fixture.stop();
  });

  it('hold so many bytes together and no more; whoever sends most goes (S15)', async () => {
    const fixture = await start({ admissionMs: 60_000, maxWaitingBytes: 2 ** 20 });
    const path = '/lockstep.sync.v1.SyncService/GetServerInfo';
    const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
    // Messages of 4 MiB that lack their last byte.
    const unfinished = Buffer.alloc(4 * 2 ** 20 + 4);
    unfinished.writeUInt32BE(4 * 2 ** 20, 1);
    const modest = await stall(portOf(fixture), PREFACE, sockets);
    const session = connectHttp2(`http://127.0.0.1:${portOf(fixture)}`);
    session.on('error', () => {
      // Reset by the server; `destroyed` says so too.
    });
    for (let count = 0; count < 20; count++) {
      const stream = session.request(headers);
      stream.on('error', () => {
        // The same.
      });
      stream.write(unfinished);
    }
    await until(() => session.destroyed || session.closed);
    const { client } = fixture;
    await unary(client, client.getServerInfo, { clientVersion: '' });
    expect(modest.closed).to.equal(false);
    await fixture.stop();
  });

  it('who was let in stays, beyond the deadline', async () => {
    const fixture = await start({ admissionMs: 200 });
    const client = fixture.connect();
    await unary(client, client.getServerInfo, { clientVersion: '' });
    const channel = client.getChannel();
    const silent = await stall(portOf(fixture), '', sockets);
    await until(() => silent.closed);
    // 2 is READY: it was never lost.
    expect(channel.getConnectivityState(false)).to.equal(2);
    await fixture.stop();
  });

  it('who asks for health, or what there is, stays on this machine (F20)', async () => {
    const fixture = await start({ admissionMs: 200 });
    const probe = new HealthClient(fixture.server.grpc.target, credentials.createInsecure());
    const { status } = await unary(probe, probe.check, { service: '' });
    expect(status).to.equal(HealthCheckResponse_ServingStatus.SERVING);
    const looker = new ServerReflectionClient(fixture.server.grpc.target, credentials.createInsecure());
    const call = looker.serverReflectionInfo();
    call.write({ host: '', messageRequest: { $case: 'listServices', value: '' } });
    await readMessages(call).next();
    const silent = await stall(portOf(fixture), '', sockets);
    await until(() => silent.closed);
    expect([probe, looker].map((client) => client.getChannel().getConnectivityState(false))).to.deep.equal([2, 2]);
    call.cancel();
    for (const client of [probe, looker]) client.close();
    await fixture.stop();
  });

  it('one address has so many connections and no more, let in or not', async () => {
    const fixture = await start({ maxPerAddress: 2 });
    const port = portOf(fixture);
    const first = await stall(port, '', sockets);
    const second = await stall(port, '', sockets);
    const third = await stall(port, '', sockets);
    await until(() => third.closed);
    expect([first.closed, second.closed]).to.deep.equal([false, false]);
    first.destroy();
    // The place becomes free once the server has seen the end of the first.
    const { client } = fixture;
    let reason = '';
    while (reason !== 'no error') reason = await reasonOf(unary(client, client.getServerInfo, { clientVersion: '' }));
    await fixture.stop();
  });

  it('grpc-js can be guarded, and forgets what is gone', async () => {
    const server = new Server();
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    const guard = new ConnectionGuard({ ...DEFAULT_CONNECTION_BOUNDS, maxWaiting: 10 });
    expect(guard.guard(server)).to.equal(true);
    for (let count = 0; count < 30; count++) await stall(port, '', sockets);
    await until(() => guard.open === 10);
    expect({ waiting: guard.waiting, closed: guard.closed }).to.deep.equal({ waiting: 10, closed: 20 });
    for (const socket of sockets) socket.destroy();
    await until(() => guard.open === 0);
    expect(guard.waiting).to.equal(0);
    server.forceShutdown();
  });

  it('the deadline holds for TLS handshakes that stop half-way', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'lockstep-stalled-'));
    const minVersion = tls.DEFAULT_MIN_VERSION;
    const key = [
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-keyout',
      's.key',
      '-out',
      's.crt',
    ];
    execFileSync('openssl', ['req', '-x509', ...key, '-days', '2', '-subj', '/CN=s'], {
      cwd: directory,
      stdio: 'ignore',
    });
    const files = { certificate: join(directory, 's.crt'), key: join(directory, 's.key'), clientCa: undefined };
    const setup = { listen: parseAddress('127.0.0.1:0'), tls: files };
    const fixture = await SyncFixture.start({ limits: { admissionMs: 300 }, setup });
    const silent = await stall(portOf(fixture), '', sockets);
    // The header of a TLS record that announces 512 bytes, and none of them.
    const half = await stall(portOf(fixture), '\u0016\u0003\u0001\u0002\u0000', sockets);
    await until(() => silent.closed && half.closed);
    await fixture.stop();
    tls.DEFAULT_MIN_VERSION = minVersion;
    rmSync(directory, { recursive: true, force: true });
  });
});
