/**
 * bin/sync-server as it is shipped: the real replica, a real process, a client over a real socket.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials } from '@grpc/grpc-js';
import { expect } from 'chai';
import { parseAddress } from '../../../common/rpc/address.ts';
import { readMessages } from '../../../common/rpc/call-stream.ts';
import { createClient } from '../../../common/rpc/connect.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { SyncServiceClient } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
import { ServerProgram } from '../../support/server-program.ts';
import { ChangesStream, collect, HOLDER_ID, makeDirectory, putFile, reasonOf } from '../../support/sync-fixture.ts';

const script = join(import.meta.dirname, '../../../services/sync-server/main.ts');

describe('sync-server with its replica on disk', function () {
  this.timeout(30_000);
  let directory: string;
  let started: ServerProgram[] = [];
  const clients: SyncServiceClient[] = [];
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lockstep-real-'));
  });
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    for (const program of started) program.process.kill('SIGKILL');
    await Promise.all(started.map(({ finished }) => finished));
    started = [];
    rmSync(directory, { recursive: true, force: true });
  });

  const file = (name: string) => join(directory, name);
  const dir = () => ['--dir', file('replica')];
  const start = (parameters: readonly string[]) => {
    const program = new ServerProgram(script, parameters);
    started.push(program);
    return program;
  };

  async function serve(readyFile = 'ready') {
    const server = start([...dir(), '--listen', '127.0.0.1:0', '--http', 'off', '--ready-file', file(readyFile)]);
    const { grpc } = await server.ready(file(readyFile));
    const address = parseAddress(String(grpc), 'dial');
    const client = createClient(SyncServiceClient, address, credentials.createInsecure(), { role: 'control' });
    clients.push(client);
    return { server, client };
  }

  async function openChanges(client: SyncServiceClient) {
    const request = { folder: 'default', holderId: HOLDER_ID, holder: 'test', takeOver: false };
    const acquired = await unary(client, client.acquireLease, { ...request, knownEpoch: '', knownRevision: 0n });
    const stream = new ChangesStream(client);
    const open = { folder: 'default', lease: acquired.lease, acknowledgement: 1 } as const;
    await stream.send({ message: { $case: 'open', value: open } });
    expect(await stream.next()).to.have.property('$case', 'opened');
    return { stream, acquired };
  }

  it('applies changes to the disk, logs each, drains on SIGTERM, and goes on where it was', async () => {
    const { server, client } = await serve();
    const { stream } = await openChanges(client);
    await stream.sendBatch([makeDirectory('d'), putFile('d/a', 'content', 0o640)]);
    expect(await stream.nextApplied()).to.deep.include({ revision: 1n, durable: true, problems: [] });
    expect(readFileSync(file('replica/d/a'), 'utf8')).to.equal('content');
    expect(statSync(file('replica/d/a')).mode & 0o777).to.equal(0o640);

    const startedAtMs = Date.now();
    const stopping = server.stop();
    expect(await reasonOf(stream.next())).to.equal('DRAINING');
    const { exitCode, stderr } = await stopping;
    expect(exitCode, stderr).to.equal(0);
    expect(Date.now() - startedAtMs).to.be.lessThan(10_000);
    const lines = stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.find(({ op }) => op === 'put')).to.deep.include({ path: 'd/a', revision: '1', bytes: 7 });
    expect(lines.find(({ op }) => op === 'mkdir')).to.deep.include({ path: 'd', revision: '1' });

    const again = await serve();
    const { acquired } = await openChanges(again.client);
    expect(acquired).to.deep.include({ headRevision: 1n, entries: 2n });
    expect((await again.server.stop()).exitCode).to.equal(0);
  });

  it('streams a content back as it is on the disk', async () => {
    const { server, client } = await serve();
    const { stream } = await openChanges(client);
    const content = 'x'.repeat(200_000);
    await stream.sendBatch([putFile('a', content)]);
    await stream.nextApplied();
    const parts = await collect(
      readMessages(client.readContent({ folder: 'default', path: 'a', offset: 10n, length: 0n })),
    );
    expect(Buffer.concat(parts.map(({ data }) => data)).toString()).to.equal(content.slice(10));
    await server.stop();
  });

  it('says in one sentence that its output cannot be written', function () {
    if (!existsSync('/dev/full')) skipBecause(this, 'there is no /dev/full here');
    const full = openSync('/dev/full', 'w');
    try {
      for (const command of [['create', '--scope', 'read', ...dir()], ['list', ...dir()], ['--help']]) {
        const parameters = [script, 'token', ...command];
        const { status, stderr } = spawnSync(process.execPath, parameters, {
          stdio: ['ignore', full, 'pipe'],
          encoding: 'utf8',
        });
        expect(stderr).to.match(/(^|\n)sync-server: cannot write to standard output: ENOSPC\n$/);
        expect(stderr).not.to.match(/\n {4}at /);
        expect(status).to.equal(1);
      }
    } finally {
      closeSync(full);
    }
  });

  it('refuses a second server on the same directory with status 4 (E107)', async () => {
    await serve();
    const second = start([...dir(), '--listen', '127.0.0.1:0', '--http', 'off']);
    const { exitCode, stderr } = await second.finished;
    expect(exitCode).to.equal(4);
    expect(stderr.trimEnd().split('\n')).to.have.length(1);
  });

  it('verify finds what was changed behind the server’s back, and --repair takes it over', async () => {
    const { server, client } = await serve();
    const { stream } = await openChanges(client);
    await stream.sendBatch([putFile('a', 'content'), putFile('b', 'other')]);
    await stream.nextApplied();
    await server.stop();
    const clean = await start(['verify', ...dir()]).finished;
    expect(clean.exitCode, clean.stderr + clean.stdout).to.equal(0);
    writeFileSync(file('replica/a'), 'changed');
    chmodSync(file('replica/b'), 0o600);
    const found = await start(['verify', ...dir()]).finished;
    expect(found.exitCode, found.stderr).to.equal(1);
    expect(found.stdout)
      .to.match(/^content\ta\t/m)
      .and.to.match(/^metadata\tb\t/m);
    expect((await start(['verify', ...dir(), '--repair']).finished).exitCode).to.equal(1);
    expect((await start(['verify', ...dir()]).finished).exitCode).to.equal(0);
    expect(existsSync(file('replica/.lockstep'))).to.equal(true);
  });
});
