/**
 * Certificates made here, judged by OpenSSL's strict rules.
 */
import { execFileSync } from 'node:child_process';
import { createPublicKey } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { keyDigestOf } from '../../../common/rpc/key-fingerprint.ts';
import {
  type CertificateUse,
  endOf,
  generateKey,
  isHost,
  issueCertificate,
  privateKeyFromPem,
  privateKeyToPem,
} from '../../../services/sync-server/auth/certificate.ts';
import { grantsOf, grantUri } from '../../../services/sync-server/auth/certificate-grant.ts';
import { integer, objectIdentifier } from '../../../services/sync-server/auth/der.ts';
import { SCOPES } from '../../../services/sync-server/auth/token.ts';

const DAY_MS = 86_400_000;

describe('a certificate', () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'lockstep-certificate-'));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  const authorityKey = generateKey();
  const authority = issueCertificate({
    commonName: 'authority',
    use: { kind: 'authority' },
    key: authorityKey,
    validForMs: 100 * DAY_MS,
  });
  const issuer = { key: authorityKey, certificate: authority };
  const issue = (use: CertificateUse, validForMs = DAY_MS, key = generateKey()) =>
    issueCertificate({ commonName: 'leaf', use, key, issuer, validForMs });

  function openssl(...parameters: readonly string[]): string {
    return execFileSync('openssl', parameters, { cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  }

  it('is what OpenSSL calls good, strictly, for its names and its purpose', () => {
    const hosts = ['a.example', '*.b.example', '10.1.2.3', '2001:db8::1', '::1', '::ffff:1.2.3.4'];
    writeFileSync(join(directory, 'ca.crt'), authority.toString());
    writeFileSync(join(directory, 'server.crt'), issue({ kind: 'server', hosts }).toString());
    writeFileSync(join(directory, 'client.crt'), issue({ kind: 'client', uris: ['lockstep:read:x'] }).toString());
    const verify = ['verify', '-x509_strict', '-CAfile', 'ca.crt'];
    openssl(...verify, 'ca.crt');
    for (const name of ['a.example', 'x.b.example']) {
      openssl(...verify, '-purpose', 'sslserver', '-verify_hostname', name, 'server.crt');
    }
    for (const address of ['10.1.2.3', '2001:db8::1', '::1']) {
      openssl(...verify, '-purpose', 'sslserver', '-verify_ip', address, 'server.crt');
    }
    openssl(...verify, '-purpose', 'sslclient', 'client.crt');
    expect(() => openssl(...verify, '-purpose', 'sslclient', 'server.crt')).to.throw();
    expect(() => openssl(...verify, '-purpose', 'sslserver', 'client.crt')).to.throw();
    expect(() => openssl(...verify, '-verify_hostname', 'c.example', 'server.crt')).to.throw();
  });

  it('never outlives its authority, and is valid before the clocks agree', () => {
    const certificate = issue({ kind: 'server', hosts: ['h'] }, 10_000 * DAY_MS);
    expect(endOf(certificate)).to.equal(endOf(authority));
    expect(Date.parse(certificate.validFrom)).to.be.lessThan(Date.now() - DAY_MS / 2);
    const late = issueCertificate({
      commonName: 'x',
      use: { kind: 'authority' },
      key: authorityKey,
      validForMs: 30_000 * DAY_MS,
    });
    expect(new Date(late.validTo).getUTCFullYear()).to.be.greaterThan(2050);
  });

  it('over the same key has the same fingerprint, the one that OpenSSL computes', () => {
    const key = privateKeyFromPem(privateKeyToPem(generateKey()));
    const [one, other] = [
      issue({ kind: 'server', hosts: ['h'] }, DAY_MS, key),
      issue({ kind: 'server', hosts: ['i'] }, DAY_MS, key),
    ];
    expect(one.fingerprint256).not.to.equal(other.fingerprint256);
    expect(keyDigestOf(one.publicKey)).to.deep.equal(keyDigestOf(other.publicKey));
    writeFileSync(join(directory, 'key.pem'), createPublicKey(key).export({ type: 'spki', format: 'pem' }));
    const spki = execFileSync('openssl', ['pkey', '-pubin', '-in', join(directory, 'key.pem'), '-outform', 'DER']);
    const digest = execFileSync('openssl', ['dgst', '-sha256', '-binary'], { input: spki });
    expect(keyDigestOf(one.publicKey)).to.deep.equal(digest);
  });

  it('takes host names and addresses only', () => {
    expect(['a', 'a.b', '*.a', '1.2.3.4', '::1'].map(isHost)).to.deep.equal([true, true, true, true, true]);
    expect(['', 'a b', 'a..b', 'a:1', '[::1]', 'http://a', 'a,DNS:b', 'ü'].filter(isHost)).to.deep.equal([]);
  });
});

describe('DER', () => {
  it('writes integers in their shortest form, never negative, and large object identifiers', () => {
    expect(integer(Buffer.from([0, 0, 1])).toString('hex')).to.equal('020101');
    expect(integer(Buffer.from([0x80])).toString('hex')).to.equal('02020080');
    expect(integer(Buffer.from([0])).toString('hex')).to.equal('020100');
    expect(objectIdentifier('1.2.840.10045.2.1').toString('hex')).to.equal('06072a8648ce3d0201');
  });
});

describe('what a client certificate grants', () => {
  it('is what was written into it, whatever the folder is called', () => {
    const grant = fc.record({
      scope: fc.constantFrom(...SCOPES),
      folder: fc.string({ minLength: 1, unit: 'grapheme' }),
    });
    fc.assert(
      fc.property(fc.array(grant, { minLength: 1, maxLength: 4 }), (grants) => {
        const names = grants.map((one) => `URI:${grantUri(one)}`).join(', ');
        expect(grantsOf(`DNS:host, ${names}`)).to.deep.equal(grants);
      }),
    );
  });

  it('is everything where it says nothing, and nothing where it cannot be read (S16)', () => {
    expect(grantsOf(undefined)).to.equal(undefined);
    expect(grantsOf('DNS:host, IP Address:1.2.3.4')).to.equal(undefined);
    for (const name of [
      'URI:lockstep:owner:default',
      'URI:lockstep:read:',
      'DNS:lockstep:admin:default',
      'URI:"lockstep:admin:a, b"',
      'URI:lockstep:read:%',
    ]) {
      expect(grantsOf(name)).to.deep.equal([]);
    }
  });
});
