/**
 * From nothing to a pair over TLS: a certificate, a server, an invitation, a watcher. Real processes, as a user starts them.
 */
import { createPrivateKey } from 'node:crypto';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import { createSecureServer } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { BinProgram, runToEnd } from '../support/bin-program.ts';

describe('an invited watcher', function () {
  this.timeout(60_000);
  let directory: string;
  let server: BinProgram;
  let port = 0;
  const others: BinProgram[] = [];
  const file = (...names: readonly string[]) => join(directory, ...names);
  const tls = () => ['--tls-cert', file('tls/server.crt'), '--tls-key', file('tls/server.key')];

  async function output(...parameters: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await runToEnd('sync-server', { arguments: parameters });
    expect(code, stderr).to.equal(0);
    return stdout.trim();
  }

  const invite = (...flags: readonly string[]) =>
    output(
      'invite',
      '--dir',
      file('replica'),
      '--server',
      `127.0.0.1:${port}`,
      '--tls-cert',
      file('tls/server.crt'),
      ...flags,
    );

  function watcher(
    name: string,
    flags: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): BinProgram {
    mkdirSync(file(name), { recursive: true });
    const own = ['--dir', file(name), '--state', file(`${name}-state`), '--ready-file', file(`${name}-ready`)];
    const program = new BinProgram('sync-watcher', {
      arguments: [...own, '--log-format', 'json', ...flags],
      environment,
    });
    others.push(program);
    return program;
  }

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'lockstep-inviting-'));
    await output('cert', '--out', file('tls'));
    server = new BinProgram('sync-server', {
      arguments: [
        ...['--dir', file('replica'), '--listen', '127.0.0.1:0', '--http', 'off', '--ready-file', file('server-ready')],
        ...['--log-format', 'json', ...tls()],
      ],
    });
    port = Number(
      String((await server.ready(file('server-ready')))['grpc'])
        .split(':')
        .at(-1),
    );
  });
  afterEach(async function () {
    const ended = others.splice(0);
    if (this.currentTest?.state === 'failed')
      for (const program of [server, ...ended]) process.stderr.write(`${program.report()}\n`);
    await Promise.all(ended.map((program) => program.end('SIGKILL')));
  });
  after(async () => {
    await server.end();
    rmSync(directory, { recursive: true, force: true });
  });

  it('needs nothing but the line, and the line is not in the list of processes (S17, S41)', async () => {
    const line = await invite('--label', 'laptop');
    expect(line.split('\n')).to.have.length(1);
    mkdirSync(file('source'));
    writeFileSync(file('source/a'), 'hello');
    const program = watcher('source', ['--join', line]);
    await program.ready(file('source-ready'));
    expect(readFileSync(file('replica/a'), 'utf8')).to.equal('hello');
    writeFileSync(file('source/b'), 'again');
    await program.reaches('the second file', () => readdirSync(file('replica')).includes('b'));
    const secret = line.slice('lockstep://'.length, line.indexOf('@'));
    expect(readFileSync(`/proc/${program.pid}/cmdline`, 'latin1')).not.to.include(secret.slice(0, 40));
    expect(program.stderr).not.to.include(secret.slice(30, 60)).and.not.to.include('Warning');
    expect((await program.end()).code).to.equal(0);
  });

  it('takes the line from the environment as well, and verifies with it', async () => {
    const line = await invite('--scope', 'read');
    mkdirSync(file('same'), { recursive: true });
    const { code, stdout, stderr } = await runToEnd('sync-watcher', {
      arguments: ['verify', '--dir', file('same')],
      environment: { LOCKSTEP_JOIN: line },
    });
    expect(code, stderr).to.equal(1);
    expect(stdout).to.match(/\ba\b/);
  });

  it('changes over to a new token while it runs, when the old one was rotated away (S20)', async () => {
    const [id = ''] = /(?<=lockstep_)[0-9a-f]{16}/.exec(await invite()) ?? [];
    const first = await output('token', 'create', '--dir', file('replica'), '--scope', 'write', '--label', 'rotated');
    const fingerprint = await output('cert', '--out', file('tls'));
    writeFileSync(file('token'), first, { mode: 0o600 });
    const address = ['--server', `127.0.0.1:${port}`, '--fingerprint', fingerprint, '--token-file', file('token')];
    const program = watcher('rotating', address);
    await program.ready(file('rotating-ready'));
    const rotate = ['token', 'rotate', first.split('_')[1] ?? '', '--dir', file('replica'), '--overlap', '1s'];
    writeFileSync(file('token'), await output(...rotate), { mode: 0o600 });
    await program.reaches('the end of the old token', () => program.stderr.includes('expired or was revoked'));
    writeFileSync(file('rotating/late'), 'late');
    await program.reaches('the new token', () => readdirSync(file('replica')).includes('late'));
    // Gives the lease back.
    await program.end();
    const listed = await output('token', 'list', '--dir', file('replica'));
    expect(listed.match(/\texpired\t.*\trotated$/gm)).to.have.length(1);
    expect(listed.match(/\tvalid\t.*Z\trotated$/gm)).to.have.length(1);
    expect(listed).to.match(new RegExp(`^${id}\t.*\tnever\t$`, 'm'));
  });

  it('refuses a server with another key with status 4, and sends it nothing (S17)', async () => {
    const line = await invite();
    const received: Buffer[] = [];
    const impostor = await impostorServer(received);
    const wrong = line.replace(/@.*\//, `@127.0.0.1:${impostor.port}/`);
    const { code, stderr } = await watcher('refused', ['--join', wrong, '--once', '--timeout', '5s']).ended();
    expect(code, stderr).to.equal(4);
    expect(stderr).to.match(/not the expected one: its key is SHA256:/);
    const watching = await watcher('refused', ['--join', wrong]).ended();
    expect(watching.code, watching.stderr).to.equal(4);
    impostor.server.close();
    expect(Buffer.concat(received).toString('latin1')).to.equal('');
  });

  it('refuses a server whose key is not the one in the line', async () => {
    const line = await invite();
    const wrong = line.replace(
      /:([A-Za-z0-9_-]{42})[A-Za-z0-9_-]@/,
      (_, start: string) => `:${start.split('').toReversed().join('')}A@`,
    );
    expect(wrong).not.to.equal(line);
    const { code, stderr } = await watcher('wrong-pin', ['--join', wrong, '--once']).ended();
    expect(code, stderr).to.equal(4);
  });

  it('refuses a server that no authority in --ca stands for with status 4, and says what to do (S17)', async () => {
    await output('cert', '--out', file('foreign'));
    const flags = ['--server', `127.0.0.1:${port}`, '--ca', file('foreign/ca.crt')];
    const programs = [
      watcher('foreign-ca', [...flags, '--once', '--timeout', '10s']),
      watcher('foreign-ca-watching', flags),
    ];
    for (const program of programs) {
      const { code, stderr } = await program.ended();
      expect(code, stderr).to.equal(4);
      expect(stderr).to.match(/was not signed by the authority in .*foreign\/ca\.crt .*give the authority's with --ca/);
    }
    const verified = await runToEnd('sync-watcher', { arguments: ['verify', '--dir', file('foreign-ca'), ...flags] });
    expect(verified.code, verified.stderr).to.equal(4);
  });

  it('verifies an address by the addresses in the certificate, and says nothing of it (S17)', async () => {
    for (const [host, status] of [
      ['127.0.0.2', 0],
      ['127.0.0.3', 4],
    ] as const) {
      const place = `address-${host}`;
      await output('cert', '--out', file(place), '--host', host);
      const ready = file(`${place}-ready`);
      const own = new BinProgram('sync-server', {
        arguments: [
          ...['--dir', file(`${place}-replica`), '--listen', '127.0.0.2:0', '--http', 'off', '--ready-file', ready],
          ...['--tls-cert', file(place, 'server.crt'), '--tls-key', file(place, 'server.key')],
        ],
      });
      others.push(own);
      const { grpc } = await own.ready(ready);
      const flags = ['--server', String(grpc), '--ca', file(place, 'ca.crt'), '--once', '--log-level', 'warn'];
      const { code, stderr } = await watcher(`${place}-watcher`, [...flags, '--progress', 'off']).ended();
      expect(code, stderr).to.equal(status);
      if (status === 0) expect(stderr).to.equal('');
      else
        expect(stderr).to.match(
          /^sync-watcher: the certificate of 127\.0\.0\.2:\d+ is for another name \(.*127\.0\.0\.3.*\n$/,
        );
    }
  });

  it('takes no TLS before 1.3', async () => {
    const line = await invite();
    const keys = { key: readFileSync(file('tls/server.key')), cert: readFileSync(file('tls/server.crt')) };
    const old = createSecureServer({ ...keys, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' });
    const oldPort = await listening(old as unknown as TlsServer);
    const { code, stderr } = await watcher('old', [
      '--join',
      line.replace(/@.*\//, `@127.0.0.1:${oldPort}/`),
      '--once',
      '--timeout',
      '1s',
    ]).ended();
    expect(code, stderr).to.equal(3);
    expect(stderr).to.match(/version/i);
    old.close();
  });

  it('refuses flags that contradict the line, and a line that is damaged', async () => {
    const line = await invite();
    const both = await watcher('both', ['--join', line, '--server', '127.0.0.1:1']).ended();
    expect(both.code).to.equal(2);
    expect(both.stderr).to.match(/--join already says what --server says/);
    const damaged = await watcher('damaged', ['--join', line.slice(0, -20)]).ended();
    expect(damaged.code).to.equal(2);
    expect(damaged.stderr).not.to.include(line.slice(40, 60));
  });

  it('is still right when the server’s certificate was renewed over the same key', async () => {
    const line = await invite();
    const before = readFileSync(file('tls/server.crt'), 'utf8');
    copyFileSync(file('tls/server.key'), file('key-before'));
    await output('cert', '--out', file('tls'));
    expect(readFileSync(file('tls/server.crt'), 'utf8')).not.to.equal(before);
    expect(readFileSync(file('tls/server.key'))).to.deep.equal(readFileSync(file('key-before')));
    expect(statSync(file('tls/server.key')).mode & 0o777).to.equal(0o600);
    createPrivateKey(readFileSync(file('tls/server.key')));
    const { code, stderr } = await watcher('renewed', ['--join', line, '--once']).ended();
    expect(code, stderr).to.equal(0);
  });

  /** A server with a certificate for the right name, and a key of its own. */
  async function impostorServer(received: Buffer[]): Promise<{ readonly server: TlsServer; readonly port: number }> {
    await output('cert', '--out', file('impostor'));
    const keys = { key: readFileSync(file('impostor/server.key')), cert: readFileSync(file('impostor/server.crt')) };
    const impostor = createTlsServer({ ...keys, ALPNProtocols: ['h2'] }, (socket) => {
      socket.on('data', (data: Buffer) => received.push(data));
      socket.on('error', () => {
        // The watcher hangs up in the middle.
      });
    });
    return { server: impostor, port: await listening(impostor) };
  }
});

function listening(server: TlsServer): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : 0);
    });
  });
}
