/**
 * What a server's key is recognised by: the SHA-256 of its public key (SubjectPublicKeyInfo in DER, as RFC 7469 pins it), written
 * as OpenSSH writes it: "SHA256:" and 43 characters of base64. Of the key and not of the certificate, so that a renewed
 * certificate over the same key is still the same server. Pure.
 */
import { createHash, type KeyObject, timingSafeEqual } from 'node:crypto';
import { LockstepError } from '../ops/errors.ts';

const PREFIX = 'SHA256:';
const DIGEST_BYTES = 32;
/** The last of 43 characters carries four bits; both alphabets of base64 are read. */
const PATTERN = /^SHA256:[A-Za-z0-9+/_-]{42}[AEIMQUYcgkosw048]$/;

/** The digest of a public key, 32 bytes. */
export function keyDigestOf(publicKey: KeyObject): Buffer {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest();
}

export function formatFingerprint(digest: Uint8Array): string {
  return PREFIX + Buffer.from(digest).toString('base64').replace(/=+$/, '');
}

/** @returns the digest, 32 bytes. @throws LockstepError USAGE */
export function parseFingerprint(text: string): Buffer {
  const digest = PATTERN.test(text) ? Buffer.from(text.slice(PREFIX.length), 'base64') : Buffer.alloc(0);
  if (digest.length === DIGEST_BYTES) return digest;
  throw new LockstepError(
    'USAGE',
    'a fingerprint is "SHA256:" and 43 characters of base64, as sync-server cert prints it',
  );
}

/** Whether this is the key that the digest is of. */
export function isKeyOf(publicKey: KeyObject, digest: Uint8Array): boolean {
  return timingSafeEqual(keyDigestOf(publicKey), digest);
}
