/**
 * An invitation: one line with all that a watcher needs to reach a folder. Pure.
 *
 *   lockstep://TOKEN:FINGERPRINT@HOST:PORT/FOLDER
 *
 * FINGERPRINT is the digest of the server's key in base64url, and missing where the server is verified by its certificate
 * alone or serves this machine only. What a shell would take for its own is percent-encoded, so that the line needs no quotes.
 */
import { LockstepError } from '../ops/errors.ts';
import { type Address, parseAddress } from './address.ts';

export interface Invitation {
  readonly address: Address;
  readonly folder: string;
  readonly token: string;
  /** SHA-256 of the server's public key, 32 bytes. */
  readonly keyDigest: Uint8Array | undefined;
}

const PATTERN = /^lockstep:\/\/([A-Za-z0-9_~.-]{1,512})(?::([A-Za-z0-9_-]{43}))?@([^@/\s]{1,1024})\/([^@/\s]{1,4096})$/;

export function formatInvitation({ address, folder, token, keyDigest }: Invitation): string {
  const pin = keyDigest === undefined ? '' : `:${Buffer.from(keyDigest).toString('base64url')}`;
  return `lockstep://${token}${pin}@${encoded(address.text)}/${encoded(folder)}`;
}

/** @throws LockstepError USAGE, which never repeats what was given: it holds a secret. */
export function parseInvitation(text: string): Invitation {
  const [, token, pin, address, folder] = PATTERN.exec(text.trim()) ?? [];
  if (token === undefined || address === undefined || folder === undefined) throw damaged();
  return {
    address: parseAddress(decoded(address), 'dial'),
    folder: decoded(folder),
    token,
    keyDigest: pin === undefined ? undefined : Buffer.from(pin, 'base64url'),
  };
}

/** Letters, digits and what no shell looks at; a colon, for readable addresses. */
function encoded(text: string): string {
  return encodeURIComponent(text)
    .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%3A', ':');
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A stray "%": the line was changed on its way.
    throw damaged();
  }
}

function damaged(): LockstepError {
  return new LockstepError(
    'USAGE',
    'the invitation is damaged or incomplete: copy the whole line that sync-server invite printed',
  );
}
