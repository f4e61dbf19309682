/**
 * What a token looks like: `lockstep_<id>_<secret><checksum>`, all lower-case hexadecimal. The prefix lets scanners find a
 * leaked one, the checksum tells a mistyped one from an unknown one without asking the store. Pure.
 */
import { createHash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { LockstepError } from '../../../common/ops/errors.ts';

const ID_BYTES = 8;
const SECRET_BYTES = 32;
const PATTERN = /^lockstep_([0-9a-f]{16})_([0-9a-f]{64})([0-9a-f]{8})$/;

/** What a token allows. Each one includes those before it. */
export const SCOPES = ['read', 'write', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

export function includesScope(held: Scope, needed: Scope): boolean {
  return SCOPES.indexOf(held) >= SCOPES.indexOf(needed);
}

export interface TokenParts {
  /** Public: names the token in lists and logs. */
  readonly id: string;
  /** SHA-256 of the secret: all that is ever stored. */
  readonly secretDigest: Buffer;
}

/** A new random token, 256 bits of secret. The text is shown once and not kept. */
export function createToken(): TokenParts & { readonly text: string } {
  const id = randomBytes(ID_BYTES).toString('hex');
  const secret = randomBytes(SECRET_BYTES).toString('hex');
  return { id, secretDigest: digestOfSecret(secret), text: `lockstep_${id}_${secret}${checksumOf(id, secret)}` };
}

/** @throws UNAUTHENTICATED, without repeating what was given */
export function parseToken(text: string): TokenParts {
  const [, id = '', secret = '', checksum] = PATTERN.exec(text) ?? [];
  if (id === '' || checksum !== checksumOf(id, secret)) {
    throw new LockstepError('UNAUTHENTICATED', 'the token is damaged or incomplete: check how it was copied');
  }
  return { id, secretDigest: digestOfSecret(secret) };
}

function digestOfSecret(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

function checksumOf(id: string, secret: string): string {
  return crc32(`${id}_${secret}`).toString(16).padStart(8, '0');
}
