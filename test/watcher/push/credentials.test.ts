import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { expect } from 'chai';
import { Connection } from '../../../clients/watcher/push/connection.ts';
import { readToken, type SecurityOptions, usesTls } from '../../../clients/watcher/push/credentials.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { parseAddress } from '../../../common/rpc/address.ts';
import { formatFingerprint, keyDigestOf } from '../../../common/rpc/key-fingerprint.ts';
import { unaryHandler } from '../../../common/rpc/serve.ts';
import { GetServerInfoResponse, SyncServiceService } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { generateKey, issueCertificate, privateKeyToPem } from '../../../services/sync-server/auth/certificate.ts';
import { NO_SECURITY } from '../../support/no-security.ts';

function reasonOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof LockstepError) return error.reason;
    throw error;
  }
  return 'none';
}

describe('usesTls', () => {
  it('is plaintext only on this machine, or when that was asked for (S17)', () => {
    const [here, socket, there] = [
      parseAddress('127.0.0.1:1'),
      parseAddress('unix:/x'),
      parseAddress('host.example:1'),
    ];
    expect([here, socket, there].map((address) => usesTls(address, NO_SECURITY))).to.deep.equal([false, false, true]);
    expect(usesTls(there, { ...NO_SECURITY, insecure: true })).to.equal(false);
    expect(usesTls(here, { ...NO_SECURITY, ca: 'ca.pem' })).to.equal(true);
  });
});

describe('Connection', () => {
  let directory: string;
  let server: Server;
  const file = (name: string) => join(directory, name);

  function openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: directory, stdio: 'ignore' });
  }

  function authority(name: string): void {
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', `${name}.key`];
    openssl('req', '-x509', ...key, '-out', `${name}.crt`, '-days', '2', '-subj', `/CN=${name}`);
  }

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'lockstep-tls-'));
    authority('ca');
    authority('foreign');
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', 'server.key'];
    openssl('req', ...key, '-out', 'server.csr', '-subj', '/CN=localhost');
    writeFileSync(file('san'), 'subjectAltName=DNS:localhost');
    const signed = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'san'];
    openssl('x509', '-req', '-in', 'server.csr', ...signed, '-out', 'server.crt');
    server = new Server();
    const unused = () => {};
    server.addService(SyncServiceService, {
      getServerInfo: unaryHandler(async ({ metadata }) => {
        if (metadata.get('authorization').length > 0) throw new LockstepError('UNAUTHENTICATED', 'unknown token');
        return GetServerInfoResponse.fromPartial({ protocolVersion: 1 });
      }),
      acquireLease: unused,
      compareTree: unused,
      uploadContent: unused,
      applyChanges: unused,
      getSignature: unused,
      listEntries: unused,
      getEntry: unused,
      readContent: unused,
      watchChanges: unused,
      verifyFolder: unused,
    });
    const pair = { private_key: readFileSync(file('server.key')), cert_chain: readFileSync(file('server.crt')) };
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createSsl(null, [pair]), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    target = { named: `localhost:${port}`, numbered: `127.0.0.1:${port}` };
  });

  let target: { readonly named: string; readonly numbered: string };

  after(() => {
    server.forceShutdown();
    rmSync(directory, { recursive: true, force: true });
  });

  async function greet(address: string, security: Partial<SecurityOptions>): Promise<string> {
    const connection = new Connection({ address: parseAddress(address), security: { ...NO_SECURITY, ...security } });
    try {
      const info = await connection.getServerInfo({ clientVersion: 'test' }, new AbortController().signal);
      return `protocol ${info.protocolVersion}`;
    } catch (error) {
      if (error instanceof LockstepError) return `${error.reason} ${error.message}`;
      throw error;
    } finally {
      connection.close();
    }
  }

  it('trusts the given authority, and only that (S17)', async () => {
    expect(await greet(target.named, { ca: file('ca.crt') })).to.equal('protocol 1');
    expect(await greet(target.named, { ca: file('foreign.crt') })).to.match(
      /^UNAUTHENTICATED the certificate of localhost:\d+ was not signed by the authority in .*foreign\.crt \(.+\); give .* --ca/,
    );
    expect(
      await greet(target.named, { fingerprint: undefined, clientCert: file('ca.crt'), clientKey: file('ca.key') }),
    ).to.match(/^UNAUTHENTICATED .* not signed by an authority that this machine trusts/);
  });

  it('refuses a certificate for another name (S17)', async () => {
    expect(await greet(target.numbered, { ca: file('ca.crt') })).to.match(
      /^UNAUTHENTICATED the certificate of 127\.0\.0\.1:\d+ is for another name .*altnames.*--fingerprint/i,
    );
  });

  it('waits for a certificate to be renewed, or for a clock to be set', async () => {
    const key = generateKey();
    const authority = { commonName: 'a', use: { kind: 'authority' }, key, validForMs: 86_400_000 } as const;
    const issuer = { key, certificate: issueCertificate(authority) };
    const leaf = generateKey();
    const use = { kind: 'server', hosts: ['localhost'] } as const;
    const expired = issueCertificate({ commonName: 'b', use, key: leaf, issuer, validForMs: -1000 });
    writeFileSync(file('own.crt'), issuer.certificate.toString());
    const pair = { private_key: Buffer.from(privateKeyToPem(leaf)), cert_chain: Buffer.from(expired.toString()) };
    const late = new Server();
    const port = await new Promise<number>((resolve, reject) => {
      late.bindAsync('127.0.0.1:0', ServerCredentials.createSsl(null, [pair]), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    expect(await greet(`localhost:${port}`, { ca: file('own.crt') })).to.match(
      /^SERVER_UNREACHABLE the certificate has expired at localhost:\d+; renew it/,
    );
    late.forceShutdown();
  });

  it('tells that one side has TLS and the other has not', async () => {
    expect(await greet(target.named, {})).to.match(
      /^SERVER_UNREACHABLE what listens at localhost:\d+ does not answer to gRPC in the clear; if it has TLS, give --join, /,
    );
    const plain = new Server();
    const port = await new Promise<number>((resolve, reject) => {
      plain.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    expect(await greet(`localhost:${port}`, { ca: file('ca.crt') })).to.match(
      /^SERVER_UNREACHABLE what listens at localhost:\d+ does not speak TLS; give the server --tls-cert/,
    );
    plain.forceShutdown();
  });

  it('is no trouble of certificates where there is no server', async () => {
    expect(await greet('localhost:1', { ca: file('ca.crt') })).to.match(/^SERVER_UNREACHABLE .*ECONNREFUSED/);
  });

  it('leaves what the server itself says as it is', async () => {
    expect(await greet(target.named, { ca: file('ca.crt'), token: 'abc' })).to.equal('UNAUTHENTICATED unknown token');
  });

  it('trusts the pinned key whatever the certificate says, and no other key (S17)', async () => {
    const keyOf = (certificate: string) => keyDigestOf(new X509Certificate(readFileSync(file(certificate))).publicKey);
    const fingerprint = keyOf('server.crt');
    expect(await greet(target.named, { fingerprint })).to.equal('protocol 1');
    expect(await greet(target.numbered, { fingerprint })).to.equal('protocol 1');
    expect(await greet(target.named, { fingerprint, ca: file('ca.crt') })).to.equal('protocol 1');
    // With an authority as well, name and signature have to be good, too.
    expect(await greet(target.numbered, { fingerprint, ca: file('ca.crt') })).to.match(/^UNAUTHENTICATED .*altnames/i);
    const other = await greet(target.numbered, { fingerprint: keyOf('foreign.crt') });
    expect(other).to.match(/^UNAUTHENTICATED the server at 127\.0\.0\.1:\d+ is not the expected one: its key is /);
    expect(other).to.contain(formatFingerprint(fingerprint));
  });

  it('says which file it cannot use', () => {
    const make = (security: Partial<SecurityOptions>) =>
      reasonOf(
        () => new Connection({ address: parseAddress('localhost:1'), security: { ...NO_SECURITY, ...security } }),
      );
    expect(make({ ca: file('missing') })).to.equal('USAGE');
    expect(make({ ca: file('ca.crt'), clientCert: file('ca.crt') })).to.equal('USAGE');
    writeFileSync(file('garbage'), 'no certificate', { mode: 0o600 });
    expect(make({ clientCert: file('garbage'), clientKey: file('garbage') })).to.equal('USAGE');
    expect(make({ ca: 'no\0name' })).to.equal('USAGE');
    const pair = { clientCert: file('ca.crt'), clientKey: file('ca.key') };
    for (const tls of [{ ca: file('ca.crt') }, { fingerprint: Buffer.alloc(32) }, pair]) {
      expect(make({ insecure: true, ...tls })).to.equal('USAGE');
    }
  });

  it('takes its token from the file, which only the user may read (S41)', () => {
    writeFileSync(file('token'), 'abc\n', { mode: 0o600 });
    expect(readToken({ ...NO_SECURITY, tokenFile: file('token'), token: 'other' })).to.equal('abc');
    chmodSync(file('token'), 0o640);
    expect(reasonOf(() => readToken({ ...NO_SECURITY, tokenFile: file('token') }))).to.equal('USAGE');
    expect(readToken({ ...NO_SECURITY, token: 'from-the-environment' })).to.equal('from-the-environment');
    for (const token of ['two words', '']) {
      expect(reasonOf(() => readToken({ ...NO_SECURITY, token }))).to.equal('USAGE');
    }
  });
});
