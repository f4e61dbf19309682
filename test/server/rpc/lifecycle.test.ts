/**
 * How a server comes up and goes: health, ready file, sockets, draining.
 */
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { expect } from 'chai';
import { parseAddress, type TcpAddress } from '../../../common/rpc/address.ts';
import { readMessages } from '../../../common/rpc/call-stream.ts';
import { createClient } from '../../../common/rpc/connect.ts';
import { unary } from '../../../common/rpc/unary.ts';
import {
  HealthCheckResponse_ServingStatus as ServingStatus,
  HealthClient,
} from '../../../gen/grpc/health/v1/health.ts';
import { putFile, reasonOf, SyncFixture, until } from '../../support/sync-fixture.ts';

describe('server', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lockstep-lifecycle-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('writes its ready file when it serves, and takes it away when it stops', async () => {
    const readyFile = join(directory, 'ready.json');
    writeFileSync(readyFile, 'of an earlier run');
    const http = parseAddress('127.0.0.1:0') as TcpAddress;
    const fixture = await SyncFixture.start({ setup: { readyFile, http } });
    expect(JSON.parse(readFileSync(readyFile, 'utf8'))).to.deep.equal({
      grpc: fixture.server.grpc.text,
      http: fixture.server.http?.text,
      pid: process.pid,
    });
    await fixture.stop();
    expect(existsSync(readyFile)).to.equal(false);
  });

  it('says http null when that is off', async () => {
    const readyFile = join(directory, 'ready.json');
    const fixture = await SyncFixture.start({ setup: { readyFile } });
    expect(JSON.parse(readFileSync(readyFile, 'utf8'))).to.have.property('http', null);
    await fixture.stop();
  });

  it('serves on a unix socket that only its owner can open', async () => {
    const listen = parseAddress(`unix:${join(directory, 'socket')}`);
    const fixture = await SyncFixture.start({ setup: { listen } });
    expect(statSync(join(directory, 'socket')).mode & 0o777).to.equal(0o600);
    expect(fixture.server.grpc.text).to.equal(`unix:${join(directory, 'socket')}`);
    expect((await fixture.acquire()).lease).to.equal(1n);
    await fixture.stop();
    expect(existsSync(join(directory, 'socket'))).to.equal(false);
  });

  it('replaces a stale socket, and neither one that is served nor another file (S41)', async () => {
    const path = join(directory, 'socket');
    const listen = parseAddress(`unix:${path}`);
    await leaveStaleSocket(path);
    const first = await SyncFixture.start({ setup: { listen } });
    expect(await reasonOf(SyncFixture.start({ setup: { listen } }))).to.equal('USAGE');
    expect((await first.acquire()).lease).to.equal(1n);
    await first.stop();
    writeFileSync(path, 'precious');
    expect(await reasonOf(SyncFixture.start({ setup: { listen } }))).to.equal('USAGE');
    expect(readFileSync(path, 'utf8')).to.equal('precious');
  });

  it('names the address that is in use, and the remedy', async () => {
    const fixture = await SyncFixture.start();
    try {
      await SyncFixture.start({ setup: { listen: fixture.server.grpc } });
      expect.fail('two servers on one port');
    } catch (error) {
      expect(error).to.have.property('reason', 'USAGE');
      expect(String(error)).to.include(fixture.server.grpc.text).and.to.include('in use').and.to.include('--listen');
    }
    await fixture.stop();
  });

  it('reports SERVING, and drains: streams end with DRAINING, replicas are closed (E116)', async () => {
    const fixture = await SyncFixture.start();
    const healthClient = createClient(HealthClient, fixture.address, credentials.createInsecure(), { role: 'control' });
    for (const service of ['', 'lockstep.sync.v1.SyncService']) {
      const { status } = await unary(healthClient, healthClient.check, { service });
      expect(status).to.equal(ServingStatus.SERVING);
    }
    const { lease } = await fixture.acquire();
    const changes = await fixture.openChanges(lease);
    const feed = readMessages(fixture.client.watchChanges({ folder: 'default', epoch: '', afterRevision: 0n }));
    await feed.next();
    const release = fixture.replica.holdBatches();
    await changes.sendBatch([putFile('a', '1')]);
    await until(() => fixture.replica.received.batches === 1);

    const stopping = fixture.server.stop();
    expect(await reasonOf(changes.next())).to.equal('DRAINING');
    expect(await reasonOf(feed.next())).to.equal('DRAINING');
    release();
    await stopping;
    expect(fixture.replica.isClosed).to.equal(true);
    healthClient.close();
    await fixture.stop();
  });
});

/** A socket file whose owner was killed: bound, and nobody listens any more. */
async function leaveStaleSocket(path: string): Promise<void> {
  const server = createServer();
  // Closing removes the name that was bound, and this is another one by then.
  await new Promise<void>((resolve) => server.listen(`${path}.bound`, resolve));
  renameSync(`${path}.bound`, path);
  await new Promise((resolve) => server.close(resolve));
}
