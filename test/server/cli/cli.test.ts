/**
 * The command line of sync-server as a process, with replicas in memory: exit statuses, messages, files.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { credentials, Metadata } from '@grpc/grpc-js';
import { expect } from 'chai';
import { parseAddress } from '../../../common/rpc/address.ts';
import { createClient } from '../../../common/rpc/connect.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { SyncServiceClient } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { ServerProgram } from '../../support/server-program.ts';
import { reasonOf } from '../../support/sync-fixture.ts';

const script = join(import.meta.dirname, '../../support/memory-server.ts');

describe('sync-server', function () {
  this.timeout(15_000);
  let directory: string;
  let started: ServerProgram[] = [];
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lockstep-cli-'));
  });
  afterEach(async () => {
    for (const program of started) program.process.kill('SIGKILL');
    await Promise.all(started.map(({ finished }) => finished));
    started = [];
    rmSync(directory, { recursive: true, force: true });
  });

  const file = (name: string) => join(directory, name);
  const start = (parameters: readonly string[], environment?: Record<string, string>) => {
    const program = new ServerProgram(script, parameters, environment);
    started.push(program);
    return program;
  };
  const run = (parameters: readonly string[], environment?: Record<string, string>) =>
    start(parameters, environment).finished;
  const quiet = ['--listen', '127.0.0.1:0', '--http', 'off'];
  const dir = () => ['--dir', file('replica')];

  it('serves by default, creates --dir, says when it is ready, and stops cleanly on SIGTERM', async () => {
    const server = start([...dir(), '--listen', '127.0.0.1:0', '--http', '127.0.0.1:0', '--ready-file', file('ready')]);
    const ready = await server.ready(file('ready'));
    expect(ready).to.have.property('pid', server.process.pid);
    expect(ready['grpc']).to.match(/^127\.0\.0\.1:\d+$/);
    expect((await fetch(`http://${String(ready['http'])}/readyz`)).status).to.equal(200);
    expect(statSync(file('replica')).isDirectory()).to.equal(true);
    const { exitCode, stdout } = await server.stop();
    expect({ exitCode, stdout }).to.deep.equal({ exitCode: 0, stdout: '' });
    expect(existsSync(file('ready'))).to.equal(false);
  });

  it('stops on SIGINT while a stream is open, within 10 s (E116)', async () => {
    const server = start(['serve', ...dir(), ...quiet, '--ready-file', file('ready')]);
    const { grpc } = await server.ready(file('ready'));
    const address = parseAddress(String(grpc), 'dial');
    const client = createClient(SyncServiceClient, address, credentials.createInsecure(), { role: 'control' });
    const feed = client.watchChanges({ folder: 'default', epoch: '', afterRevision: 0n });
    const codes: unknown[] = [];
    feed.on('error', (error: { code?: unknown }) => codes.push(error.code));
    await new Promise((resolve) => feed.once('data', resolve));
    const startedAtMs = Date.now();
    expect((await server.stop('SIGINT')).exitCode).to.equal(0);
    expect(Date.now() - startedAtMs).to.be.lessThan(10_000);
    // 14 is UNAVAILABLE.
    expect(codes).to.deep.equal([14]);
    client.close();
  });

  it('logs JSON where there is no terminal, and names, not secrets', async () => {
    const server = start([...dir(), ...quiet, '--ready-file', file('ready')]);
    await server.ready(file('ready'));
    const { stderr } = await server.stop();
    const lines = stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.map(({ msg }) => msg))
      .to.include('ready')
      .and.to.include('stopped');
  });

  it('takes options from the environment and from a file; flag over environment over file', async () => {
    writeFileSync(file('server.toml'), `dir = "${file('from-file')}"\nhttp = "off"\nfolder = "docs"\nlisten = "bad"\n`);
    const environment = {
      LOCKSTEP_CONFIG: file('server.toml'),
      LOCKSTEP_LISTEN: '127.0.0.1:0',
      LOCKSTEP_READY_FILE: file('ready'),
      LOCKSTEP_DIR: file('from-environment'),
    };
    const server = start(['--dir', file('from-flag')], environment);
    const { grpc } = await server.ready(file('ready'));
    expect(existsSync(file('from-flag'))).to.equal(true);
    expect(existsSync(file('from-file')) || existsSync(file('from-environment'))).to.equal(false);
    const address = parseAddress(String(grpc), 'dial');
    const client = createClient(SyncServiceClient, address, credentials.createInsecure(), { role: 'control' });
    const { folders } = await unary(client, client.getServerInfo, { clientVersion: '' });
    expect(folders.map(({ folder }) => folder)).to.deep.equal(['docs']);
    client.close();
    await server.stop();
  });

  it('serves several folders of a file', async () => {
    writeFileSync(
      file('server.toml'),
      `listen = "unix:${file('socket')}"\nhttp = "off"\n[[folder]]\nname = "a"\ndir = "${file('a')}"\n[[folder]]\nname = "b"\ndir = "${file('b')}"\n`,
    );
    const server = start(['--config', file('server.toml'), '--ready-file', file('ready')]);
    const { grpc } = await server.ready(file('ready'));
    expect(grpc).to.equal(`unix:${file('socket')}`);
    const address = parseAddress(String(grpc), 'dial');
    const client = createClient(SyncServiceClient, address, credentials.createInsecure(), { role: 'control' });
    const { folders } = await unary(client, client.getServerInfo, { clientVersion: '' });
    expect(folders.map(({ folder }) => folder)).to.deep.equal(['a', 'b']);
    client.close();
    expect((await server.stop()).exitCode).to.equal(0);
    expect(existsSync(file('socket'))).to.equal(false);
  });

  it('creates, lists and revokes tokens, and a running server follows', async () => {
    const server = start([...dir(), ...quiet, '--ready-file', file('ready')]);
    const { grpc } = await server.ready(file('ready'));
    const address = parseAddress(String(grpc), 'dial');
    const client = createClient(SyncServiceClient, address, credentials.createInsecure(), { role: 'control' });
    const created = await run(['token', 'create', ...dir(), '--scope', 'read', '--expires', '90d', '--label', 'ci']);
    expect(created).to.have.property('exitCode', 0);
    expect(created.stdout).to.match(/^lockstep_[0-9a-f]{16}_[0-9a-f]{72}\n$/);
    expect(created.stderr).not.to.include(created.stdout.trim());
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${created.stdout.trim()}`);
    const info = (with_: Metadata) =>
      reasonOf(unary(client, client.getServerInfo, { clientVersion: '' }, { metadata: with_ }));
    let anonymous = '';
    while (anonymous !== 'UNAUTHENTICATED') anonymous = await info(new Metadata());
    expect(await info(metadata)).to.equal('no error');

    const id = created.stdout.split('_')[1] ?? '';
    const listed = (await run(['token', 'list', ...dir()])).stdout;
    expect(listed).to.match(new RegExp(`^${id}\\tdefault\\tread\\tvalid\\t\\S+\\t\\S+\\t\\d{4}-\\S+Z\\tci$`, 'm'));
    expect(listed).not.to.include(created.stdout.trim().slice(-20));
    expect((await run(['token', 'revoke', id, ...dir()])).exitCode).to.equal(0);
    let revoked = '';
    while (revoked !== 'UNAUTHENTICATED') revoked = await info(metadata);
    expect((await run(['token', 'list', ...dir()])).stdout).to.match(/\trevoked\t/);
    expect((await run(['token', 'revoke', 'unknown', ...dir()])).exitCode).to.equal(2);
    client.close();
    await server.stop();
  });

  it('audit verify follows the chain that server and commands write, and names the damaged line', async () => {
    await run(['token', 'create', ...dir(), '--scope', 'read']);
    await run(['token', 'create', ...dir(), '--scope', 'write']);
    const whole = await run(['audit', 'verify', ...dir()]);
    expect(whole).to.have.property('exitCode', 0);
    expect(whole.stdout).to.match(/^default\t2 lines\t[0-9a-f]{64}\n$/);
    const path = file('replica/.lockstep/audit.jsonl');
    writeFileSync(path, readFileSync(path, 'utf8').replace('"read"', '"admin"'));
    const damaged = await run(['audit', 'verify', ...dir()]);
    expect(damaged.exitCode).to.equal(1);
    expect(damaged.stderr).to.match(/line 2 of .*audit\.jsonl does not follow/);
    expect((await run(['audit', 'verify', '--dir', file('none')])).exitCode).to.equal(2);
  });

  it('verify exits 1 when there are differences, and names each', async () => {
    await run(['token', 'create', ...dir(), '--scope', 'read']);
    const { exitCode, stdout, stderr } = await run(['verify', ...dir()]);
    // The replica in memory always reports one.
    expect({ exitCode, stdout }).to.deep.equal({ exitCode: 1, stdout: 'content\t.\tmade up\n' });
    expect(stderr).to.include('1 difference');
  });

  describe('what it refuses, in one sentence that names the thing and the remedy', () => {
    const expectUsage = async (
      parameters: readonly string[],
      message: RegExp,
      environment?: Record<string, string>,
    ) => {
      const { exitCode, stderr } = await run(parameters, environment);
      expect(stderr).to.match(message);
      expect(exitCode).to.equal(2);
      expect(stderr.trimEnd().split('\n').length).to.be.lessThan(3);
      expect(stderr).not.to.match(/\n\s+at /);
    };

    it('no directory', () => expectUsage(quiet, /--dir DIR/));
    it('a flag that does not exist, with the one that was meant', () =>
      expectUsage([...dir(), '--lisen', 'x'], /unknown option '--lisen'[\s\S]*--listen/));
    it('a command that does not exist', () => expectUsage(['verfy', ...dir()], /verfy|too many arguments/));
    it('an address that is none', () =>
      expectUsage([...dir(), '--listen', '1.2.3.4.5:x'], /--listen: .*not an address/));
    it('a socket in a directory that is not there', () =>
      expectUsage(
        [...dir(), '--http', 'off', '--listen', `unix:${file('nowhere/s.sock')}`],
        /cannot listen on unix:.*: the directory \/.*\/nowhere does not exist; make it, or give another path/,
      ));
    it('a socket below a file', () => {
      writeFileSync(file('file'), '');
      return expectUsage(
        [...dir(), '--http', 'off', '--listen', `unix:${file('file/s.sock')}`],
        /cannot listen on unix:.*\/file is, or lies below, something that is not a directory; .*--listen/,
      );
    });
    it('an http address that is none', () => expectUsage([...dir(), '--http', 'unix:x'], /--http: .*or off/));
    it('a scope that does not exist', () =>
      expectUsage(['token', 'create', ...dir(), '--scope', 'root'], /--scope: .*read.*write.*admin/));
    it('a duration that is none', () =>
      expectUsage(
        ['token', 'create', ...dir(), '--scope', 'read', '--expires', 'soon'],
        /--expires: "soon" is not a duration/,
      ));
    it('a configuration file that is not there', () =>
      expectUsage(['--config', file('none.toml')], /cannot read the configuration file .*none\.toml/));
    it('a key that the file may not have, with the one that was meant', async () => {
      writeFileSync(file('x.toml'), 'lisen = "127.0.0.1:0"\n');
      await expectUsage([...dir(), '--config', file('x.toml')], /unknown key "lisen".*did you mean "listen"/);
    });
    it('a directory that is a file', async () => {
      writeFileSync(file('a-file'), '');
      await expectUsage(['--dir', file('a-file'), ...quiet], /a-file is.*not a directory; give another --dir/);
    });
    it('an address for strangers without protection', () =>
      expectUsage([...dir(), '--listen', ':0', '--http', 'off'], /--tls-cert and --tls-key, or --insecure/));
    it('half of TLS', () => expectUsage([...dir(), ...quiet, '--tls-cert', 'x'], /give both/));
    it('a certificate that cannot be read', () =>
      expectUsage([...dir(), ...quiet, '--tls-cert', 'x', '--tls-key', 'y'], /--tls-cert: cannot read \/.*\/x/));
    it('a ready file in a directory that is not there', () =>
      expectUsage([...dir(), ...quiet, '--ready-file', file('no/ready')], /ready/));
    it('verification of what is not there', () => expectUsage(['verify', ...dir()], /there is no directory/));

    it('ports that are in use', async () => {
      const other = createServer();
      await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
      const address = other.address();
      const taken = `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
      await expectUsage([...dir(), '--listen', taken, '--http', 'off'], new RegExp(`${taken}: .*in use.*--listen`));
      await expectUsage(
        [...dir(), '--listen', '127.0.0.1:0', '--http', taken],
        new RegExp(`${taken}: .*in use.*--http`),
      );
      other.close();
    });
  });

  it('explains itself with --help, and tells its version', async () => {
    const help = await run(['--help']);
    expect(help.exitCode).to.equal(0);
    for (const word of ['--dir', '--listen', 'token', 'verify', '127.0.0.1:50051'])
      expect(help.stdout).to.include(word);
    expect((await run(['token', 'create', '--help'])).stdout).to.include('--expires');
    const version = await run(['--version']);
    expect(version).to.deep.include({ exitCode: 0 });
    expect(version.stdout).to.match(/^\d+\.\d+\.\d+\n$/);
  });
});
