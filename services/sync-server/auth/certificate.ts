/**
 * Makes X.509 certificates (RFC 5280) for who has none: an authority, and what it signs. ECDSA over P-256 with SHA-256, which
 * every TLS 1.3 peer must know (RFC 8446 9.1). Written here and read by OpenSSL: nothing of a peer's comes in.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import { isIP } from 'node:net';
import {
  bitString,
  boolean,
  integer,
  objectIdentifier,
  octetString,
  sequence,
  setOf,
  tagged,
  time,
  utf8String,
} from './der.ts';

const OID = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

const DAY_MS = 86_400_000;
/** Clocks differ: a certificate made now is good a day ago. */
const BACKDATED_MS = DAY_MS;
const MAX_COMMON_NAME_CHARS = 64;
/** The first and highest bits of a KeyUsage. */
const DIGITAL_SIGNATURE = bitString(Buffer.from([0x80]), 7);
const SIGN_CERTIFICATES = bitString(Buffer.from([0x06]), 1);

/** What a certificate is for. */
export type CertificateUse =
  | { readonly kind: 'authority' }
  /** Host names and addresses, without ports. */
  | { readonly kind: 'server'; readonly hosts: readonly string[] }
  /** URIs that say what the client may do. */
  | { readonly kind: 'client'; readonly uris: readonly string[] };

export interface CertificateRequest {
  /** For people. */
  readonly commonName: string;
  readonly use: CertificateUse;
  /** The key to certify. */
  readonly key: KeyObject;
  /** Who signs; undefined: the key itself. */
  readonly issuer?: Signer | undefined;
  /** From now, in milliseconds. */
  readonly validForMs: number;
  /** Milliseconds since 1970. */
  readonly nowMs?: number | undefined;
}

/** A private key with the certificate that goes with it. */
export interface Signer {
  readonly key: KeyObject;
  readonly certificate: X509Certificate;
}

/** A new private key on P-256. */
export function generateKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

export function privateKeyToPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** @throws what OpenSSL says when this is no private key, or one of another kind than `generateKey` makes */
export function privateKeyFromPem(pem: string): KeyObject {
  const key = createPrivateKey(pem);
  if (key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key;
  throw new Error('it is not an ECDSA key on P-256');
}

/** Whether the text may stand in a server's certificate. */
export function isHost(text: string): boolean {
  return isIP(text) !== 0 || (/^(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/.test(text) && text.length <= 253);
}

/** A certificate with a random serial number. */
export function issueCertificate(request: CertificateRequest): X509Certificate {
  const { commonName, use, key, issuer, validForMs, nowMs = Date.now() } = request;
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const subject = nameOf(commonName);
  const algorithm = sequence(objectIdentifier(OID.ecdsaWithSha256));
  const issuerSpki = issuer?.certificate.publicKey.export({ type: 'spki', format: 'der' }) ?? publicKey;
  // A certificate never outlives who signed it.
  const endMs = Math.min(
    nowMs + validForMs,
    issuer === undefined ? Number.POSITIVE_INFINITY : endOf(issuer.certificate),
  );
  const body = sequence(
    tagged(0xa0, integer(Buffer.from([2]))),
    integer(serialNumber()),
    algorithm,
    issuer === undefined ? subject : nameOf(commonNameOf(issuer.certificate)),
    sequence(time(new Date(nowMs - BACKDATED_MS)), time(new Date(endMs))),
    subject,
    publicKey,
    tagged(
      0xa3,
      sequence(
        ...extensionsOf(use),
        extension(OID.subjectKeyIdentifier, false, octetString(keyIdentifier(publicKey))),
        extension(OID.authorityKeyIdentifier, false, sequence(tagged(0x80, keyIdentifier(issuerSpki)))),
      ),
    ),
  );
  const signature = sign('sha256', body, { key: issuer?.key ?? key, dsaEncoding: 'der' });
  return new X509Certificate(sequence(body, algorithm, bitString(signature)));
}

/** When it ends, in milliseconds since 1970. */
export function endOf(certificate: X509Certificate): number {
  return Date.parse(certificate.validTo);
}

export function commonNameOf(certificate: X509Certificate): string {
  return /^CN=(.*)$/m.exec(certificate.subject)?.[1] ?? '';
}

function extensionsOf(use: CertificateUse): readonly Buffer[] {
  const isAuthority = use.kind === 'authority';
  const constraints = extension(OID.basicConstraints, true, sequence(...(isAuthority ? [boolean(true)] : [])));
  const usage = extension(OID.keyUsage, true, isAuthority ? SIGN_CERTIFICATES : DIGITAL_SIGNATURE);
  if (use.kind === 'authority') return [constraints, usage];
  const purpose = objectIdentifier(use.kind === 'server' ? OID.serverAuth : OID.clientAuth);
  const names = use.kind === 'server' ? use.hosts.map(hostName) : use.uris.map(uriName);
  const alternatives = names.length === 0 ? [] : [extension(OID.subjectAltName, false, sequence(...names))];
  return [constraints, usage, extension(OID.extendedKeyUsage, false, sequence(purpose)), ...alternatives];
}

function extension(oid: string, isCritical: boolean, value: Uint8Array): Buffer {
  return sequence(objectIdentifier(oid), ...(isCritical ? [boolean(true)] : []), octetString(value));
}

function nameOf(commonName: string): Buffer {
  const text = commonName.slice(0, MAX_COMMON_NAME_CHARS);
  return sequence(setOf(sequence(objectIdentifier(OID.commonName), utf8String(text))));
}

/** GeneralName: [2] dNSName, [6] uniformResourceIdentifier, [7] iPAddress. */
function hostName(host: string): Buffer {
  return isIP(host) === 0 ? tagged(0x82, Buffer.from(host, 'latin1')) : tagged(0x87, addressBytes(host));
}

function uriName(uri: string): Buffer {
  return tagged(0x86, Buffer.from(uri, 'latin1'));
}

/** Random, positive, and below the 20 bytes that RFC 5280 4.1.2.2 allows. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

/** 4 or 16 bytes. */
function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  // In its shortest form, without an IPv4 tail.
  const normal = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = '', tail] = normal.split('::');
  const groups = (part: string | undefined) => (part === undefined || part === '' ? [] : part.split(':'));
  const zeros = Array.from({ length: 8 - groups(head).length - groups(tail).length }, () => '0');
  const all = [...groups(head), ...zeros, ...groups(tail)];
  return Buffer.from(all.map((group) => group.padStart(4, '0')).join(''), 'hex');
}

/** RFC 5280 4.2.1.2 leaves the method open, as long as issuer and issued agree. */
function keyIdentifier(spki: Uint8Array): Buffer {
  return createHash('sha256').update(spki).digest().subarray(0, 20);
}
