/**
 * `sync-server cert` and `invite` as processes: what they write, print and refuse.
 */
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseInvitation } from '../../../common/rpc/invitation.ts';
import { formatFingerprint, keyDigestOf } from '../../../common/rpc/key-fingerprint.ts';
import { ServerProgram } from '../../support/server-program.ts';

const script = join(import.meta.dirname, '../../support/memory-server.ts');

describe('sync-server cert', function () {
  this.timeout(60_000);
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lockstep-cert-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const file = (...names: readonly string[]) => join(directory, ...names);
  const run = (...parameters: readonly string[]) => new ServerProgram(script, parameters).finished;
  const cert = (...flags: readonly string[]) => run('cert', '--out', file('tls'), ...flags);
  const certificate = (name: string) => new X509Certificate(readFileSync(file('tls', `${name}.crt`)));

  async function expectUsage(parameters: readonly string[], message: RegExp): Promise<void> {
    const { exitCode, stdout, stderr } = await run(...parameters);
    expect({ exitCode, stdout }, stderr).to.deep.equal({ exitCode: 2, stdout: '' });
    expect(stderr).to.match(message);
  }

  it('makes an authority and a certificate, prints the fingerprint, and keeps keys to itself', async () => {
    const { exitCode, stdout, stderr } = await cert('--host', 'backup.example', '--host', '2001:db8::1');
    expect(exitCode, stderr).to.equal(0);
    expect(readdirSync(file('tls')).toSorted()).to.deep.equal(['ca.crt', 'ca.key', 'server.crt', 'server.key']);
    expect(['ca.key', 'server.key'].map((name) => statSync(file('tls', name)).mode & 0o777)).to.deep.equal([
      0o600, 0o600,
    ]);
    expect(statSync(file('tls')).mode & 0o777).to.equal(0o700);
    expect(stdout).to.equal(`${formatFingerprint(keyDigestOf(certificate('server').publicKey))}\n`);
    expect(certificate('server').checkHost('backup.example')).to.equal('backup.example');
    expect(certificate('server').checkIP('2001:db8::1')).to.equal('2001:db8::1');
    expect(certificate('server').checkHost('localhost')).to.equal('localhost');
    expect(stderr).not.to.include('PRIVATE');
  });

  it('renews: the same authority, key, names and fingerprint; another key only when asked for', async () => {
    const first = await cert('--host', 'backup.example');
    const before = [certificate('ca'), certificate('server')];
    const second = await cert('--expires', '30d');
    expect(second.stdout).to.equal(first.stdout);
    const after = [certificate('ca'), certificate('server')];
    expect(after[0]?.fingerprint256).to.equal(before[0]?.fingerprint256);
    expect(after[1]?.fingerprint256).not.to.equal(before[1]?.fingerprint256);
    expect(after[1]?.subjectAltName).to.equal(before[1]?.subjectAltName);
    expect(Date.parse(after[1]?.validTo ?? '')).to.be.lessThan(Date.now() + 31 * 86_400_000);
    expect((await cert('--new-key')).stdout).not.to.equal(first.stdout);
  });

  it('makes certificates for clients with a scope', async () => {
    const { exitCode, stderr } = await cert('--client', 'laptop', '--scope', 'read', '--folder', 'my photos');
    expect(exitCode, stderr).to.equal(0);
    expect(certificate('laptop').subjectAltName).to.equal('URI:lockstep:read:my%20photos');
    expect(readdirSync(file('tls'))).not.to.include('server.crt');
  });

  it('never writes over an authority that is incomplete or not its own', async () => {
    await cert();
    rmSync(file('tls/ca.key'));
    await expectUsage(['cert', '--out', file('tls')], /has ca\.crt and no ca\.key/);
    await run('cert', '--out', file('other'));
    writeFileSync(file('tls/ca.key'), readFileSync(file('other/ca.key')));
    await expectUsage(['cert', '--out', file('tls')], /ca\.key is not the key of ca\.crt/);
    writeFileSync(file('tls/ca.key'), 'no key');
    await expectUsage(['cert', '--out', file('tls')], /cannot use the private key/);
  });

  it('says what it cannot use', async () => {
    await expectUsage(['cert'], /--out is required/);
    await expectUsage(['cert', '--out', file('tls'), '--host', 'http://x'], /neither a host name nor an address/);
    await expectUsage(['cert', '--out', file('tls'), '--client', '../x'], /--client/);
    await expectUsage(['cert', '--out', file('tls'), '--client', 'ca'], /is taken/);
    await expectUsage(['cert', '--out', file('tls'), '--scope', 'read'], /give --client/);
  });

  describe('invite', () => {
    const invite = (...flags: readonly string[]) => ['invite', '--dir', file('replica'), ...flags];

    it('prints one line with the server’s address, folder, token and key; the token is listed', async () => {
      await cert();
      const tls = ['--tls-cert', file('tls/server.crt')];
      const flags = ['--server', 'backup.example:50051', '--folder', 'docs', '--label', 'laptop', ...tls];
      const { exitCode, stdout, stderr } = await run(...invite(...flags));
      expect(exitCode, stderr).to.equal(0);
      const { address, folder, token, keyDigest } = parseInvitation(stdout);
      expect([address.text, folder]).to.deep.equal(['backup.example:50051', 'docs']);
      expect(keyDigest).to.deep.equal(keyDigestOf(certificate('server').publicKey));
      expect(stderr).not.to.include(token);
      const listed = (await run('token', 'list', '--dir', file('replica'), '--folder', 'docs')).stdout;
      expect(listed).to.match(new RegExp(`^${token.split('_')[1]}\tdocs\twrite\tvalid\t.*\tlaptop$`, 'm'));
    });

    it('knows address and certificate from the server’s own file', async () => {
      await cert();
      const tables = `tls-cert = "${file('tls/server.crt')}"\nlisten = "10.0.0.1:50051"\ndir = "${file('replica')}"\n`;
      writeFileSync(file('server.toml'), tables);
      const { stdout } = await run('invite', '--config', file('server.toml'));
      expect(parseInvitation(stdout)).to.have.nested.property('address.text', '10.0.0.1:50051');
    });

    it('goes without a key on this machine, and on a name that a public authority certifies', async () => {
      await cert();
      const local = parseInvitation((await run(...invite('--listen', '127.0.0.1:50051'))).stdout);
      expect(local.keyDigest).to.equal(undefined);
      const tls = ['--tls-cert', file('tls/server.crt')];
      const named = parseInvitation((await run(...invite('--server', 'x.example:1', ...tls, '--no-pin'))).stdout);
      expect(named.keyDigest).to.equal(undefined);
    });

    it('refuses what a watcher could not use, and makes no token then', async () => {
      await expectUsage(invite('--listen', ':50051'), /--server HOST:PORT/);
      await expectUsage(invite('--server', 'backup.example:50051'), /--tls-cert/);
      await expectUsage(invite('--server', 'x.example:1', '--tls-cert', file('missing')), /is no certificate/);
      const { stdout } = await run('token', 'list', '--dir', file('replica'));
      expect(stdout.trimEnd().split('\n')).to.have.length(1);
    });
  });
});
