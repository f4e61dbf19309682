/**
 * Certificates of a running server: renewed without a restart, and those of clients with what they allow.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import { expect } from 'chai';
import { parseAddress } from '../../../common/rpc/address.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { generateKey, issueCertificate, privateKeyToPem } from '../../../services/sync-server/auth/certificate.ts';
import { grantUri } from '../../../services/sync-server/auth/certificate-grant.ts';
import { HOLDER_ID, reasonOf, SyncFixture } from '../../support/sync-fixture.ts';

const DAY_MS = 86_400_000;

describe('the certificates of a running server', () => {
  const minVersion = tls.DEFAULT_MIN_VERSION;
  const authorityKey = generateKey();
  const authority = issueCertificate({
    commonName: 'authority',
    use: { kind: 'authority' },
    key: authorityKey,
    validForMs: DAY_MS,
  });
  const issuer = { key: authorityKey, certificate: authority };
  let directory: string;
  let fixture: SyncFixture;
  const file = (name: string) => join(directory, name);
  const port = () => (fixture.server.grpc.kind === 'tcp' ? fixture.server.grpc.port : 0);

  function writeServerCertificate(commonName: string): void {
    const key = generateKey();
    const use = { kind: 'server', hosts: ['localhost', '127.0.0.1', '0.0.0.0'] } as const;
    const certificate = issueCertificate({ commonName, use, key, issuer, validForMs: DAY_MS });
    writeFileSync(file('server.key'), privateKeyToPem(key), { mode: 0o600 });
    writeFileSync(file('server.crt'), certificate.toString());
  }

  function clientWith(...grants: readonly Parameters<typeof grantUri>[0][]) {
    const key = generateKey();
    const use = { kind: 'client', uris: grants.map(grantUri) } as const;
    const certificate = issueCertificate({ commonName: 'client', use, key, issuer, validForMs: DAY_MS });
    const [ca, own] = [Buffer.from(authority.toString()), Buffer.from(certificate.toString())];
    return fixture.connect(credentials.createSsl(ca, Buffer.from(privateKeyToPem(key)), own));
  }

  /** The name in the certificate that a new connection is shown. */
  function shownName(): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = tls.connect({ port: port(), host: '127.0.0.1', ca: authority.toString(), ALPNProtocols: ['h2'] });
      socket.once('error', reject);
      socket.once('secureConnect', () => {
        resolve(/CN=(.*)/.exec(socket.getPeerX509Certificate()?.subject ?? '')?.[1] ?? '');
        socket.destroy();
      });
    });
  }

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'lockstep-renewal-'));
    writeServerCertificate('first');
    writeFileSync(file('ca.crt'), authority.toString());
    fixture = await SyncFixture.start({
      folders: ['default', 'other'],
      setup: {
        listen: parseAddress('0.0.0.0:0'),
        tls: { certificate: file('server.crt'), key: file('server.key'), clientCa: file('ca.crt'), refreshMs: 50 },
      },
    });
  });
  after(async () => {
    await fixture.stop();
    tls.DEFAULT_MIN_VERSION = minVersion;
    rmSync(directory, { recursive: true, force: true });
  });

  it('are replaced while connections go on, and a half-written renewal changes nothing', async () => {
    expect(await shownName()).to.equal('first');
    const client = clientWith();
    const info = () => reasonOf(unary(client, client.getServerInfo, { clientVersion: '' }));
    expect(await info()).to.equal('no error');
    const certificate = readFileSync(file('server.crt'));
    writeFileSync(file('server.crt'), certificate.subarray(0, 100));
    expect(await shownName()).to.equal('first');
    writeServerCertificate('second');
    const endMs = Date.now() + 5000;
    while ((await shownName()) !== 'second' && Date.now() < endMs);
    expect(await shownName()).to.equal('second');
    expect(await info()).to.equal('no error');
  });

  it('take no TLS before 1.3 after a renewal either', async () => {
    const options = {
      port: port(),
      host: '127.0.0.1',
      ca: authority.toString(),
      maxVersion: 'TLSv1.2',
      minVersion: 'TLSv1.2',
    } as const;
    const socket = tls.connect(options);
    const outcome = await new Promise((resolve) => {
      socket.once('error', resolve);
      socket.once('secureConnect', () => resolve('connected'));
    });
    socket.destroy();
    expect(String(outcome)).to.match(/protocol version/i);
  });

  it('give a client what its certificate says and no more (S36)', async () => {
    const reasonsOf = async (client: ReturnType<typeof clientWith>, folder: string) => {
      const lease = { folder, holderId: HOLDER_ID, holder: '', takeOver: true, knownEpoch: '', knownRevision: 0n };
      return [
        await reasonOf(unary(client, client.getEntry, { folder, path: '' })),
        await reasonOf(unary(client, client.acquireLease, lease)),
      ];
    };
    const reader = clientWith({ scope: 'read', folder: 'default' });
    expect(await reasonsOf(reader, 'default')).to.deep.equal(['no error', 'PERMISSION_DENIED']);
    expect(await reasonsOf(reader, 'other')).to.deep.equal(['FOLDER_NOT_FOUND', 'FOLDER_NOT_FOUND']);
    const both = clientWith({ scope: 'read', folder: 'default' }, { scope: 'write', folder: 'other' });
    expect(await reasonsOf(both, 'default')).to.deep.equal(['no error', 'PERMISSION_DENIED']);
    expect(await reasonsOf(both, 'other')).to.deep.equal(['no error', 'no error']);
    expect(await reasonsOf(clientWith(), 'other')).to.deep.equal(['no error', 'no error']);
  });
});
