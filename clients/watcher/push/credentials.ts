/**
 * Who the server must prove to be, and who we are: TLS and tokens. Plaintext only on this machine or when it was asked
 * for; there is no fallback from one to the other (S17).
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';
import { ChannelCredentials } from '@grpc/grpc-js';
import { isReadByOthers } from '../../../common/fs/permission-bits.ts';
import { describeError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import type { Address } from '../../../common/rpc/address.ts';
import { AddressCredentials } from './address-credentials.ts';
import { PinnedCredentials } from './pinned-credentials.ts';

export interface SecurityOptions {
  /** PEM file of the authorities to trust, instead of the system's. */
  readonly ca: string | undefined;
  readonly clientCert: string | undefined;
  readonly clientKey: string | undefined;
  /** Plaintext to a server that is not on this machine. */
  readonly insecure: boolean;
  readonly tokenFile: string | undefined;
  /** The token itself, from the environment or an invitation. */
  readonly token: string | undefined;
  /** SHA-256 of the server's public key, which is then the only one that is trusted. */
  readonly fingerprint?: Uint8Array | undefined;
}

/** True when the connection to this address is encrypted. */
export function usesTls(address: Address, options: SecurityOptions): boolean {
  if (options.insecure) return false;
  const { ca, clientCert, fingerprint } = options;
  return !address.isLoopback || ca !== undefined || clientCert !== undefined || fingerprint !== undefined;
}

/**
 * Reads the files, anew at each call, so that rotated certificates come into use with the next connection. `onMismatch`
 * hears of a server whose key is not the pinned one; gRPC itself only says that there is no connection.
 * @throws LockstepError USAGE when a file cannot be used, or flags contradict each other.
 */
export function channelCredentials(
  address: Address,
  options: SecurityOptions,
  onMismatch: (presented: Uint8Array) => void = () => {},
): ChannelCredentials {
  if ((options.clientCert === undefined) !== (options.clientKey === undefined)) {
    throw new LockstepError('USAGE', '--client-cert and --client-key belong together; give both');
  }
  const { insecure, fingerprint } = options;
  if (insecure && (options.ca !== undefined || options.clientCert !== undefined || fingerprint !== undefined)) {
    throw new LockstepError(
      'USAGE',
      '--insecure means no TLS; leave it away, or --ca, --fingerprint and --client-cert',
    );
  }
  if (!usesTls(address, options)) return ChannelCredentials.createInsecure();
  // Where one key is trusted, no authority is asked.
  const trusted = fingerprint === undefined ? systemAuthorities() : Buffer.alloc(0);
  const ca = options.ca === undefined ? trusted : readFile('--ca', options.ca);
  const cert = options.clientCert === undefined ? undefined : readFile('--client-cert', options.clientCert);
  const key = options.clientKey === undefined ? undefined : readSecretFile('--client-key', options.clientKey);
  let context: SecureContext;
  try {
    context = createSecureContext({
      ca: ca.length === 0 ? [] : ca,
      minVersion: 'TLSv1.3',
      ...(cert === undefined || key === undefined ? {} : { cert, key }),
    });
  } catch (error) {
    throw new LockstepError('USAGE', `--ca, --client-cert or --client-key is not usable: ${describeError(error)}`, {
      cause: error,
    });
  }
  const inner = verifiedBy(context, address, fingerprint === undefined || options.ca !== undefined);
  if (fingerprint === undefined) return inner;
  // With --ca as well, both must hold: the authority's signature on the name, and the key.
  return new PinnedCredentials({ inner, keyDigest: fingerprint, onMismatch });
}

/** By name, or by address where the server is named by that. */
function verifiedBy(context: SecureContext, address: Address, rejectUnauthorized: boolean): ChannelCredentials {
  return address.kind === 'tcp' && isIP(address.host) !== 0
    ? new AddressCredentials({ context, address: address.host, rejectUnauthorized })
    : ChannelCredentials.createFromSecureContext(context, { rejectUnauthorized });
}

/**
 * The bearer token, undefined for none. The file is read anew at each call, so that tokens can be replaced.
 * @throws LockstepError USAGE when the file cannot be read, others may read it (S41), or it holds no token.
 */
export function readToken(options: SecurityOptions): string | undefined {
  if (options.tokenFile === undefined)
    return options.token === undefined ? undefined : checkedToken(options.token, 'LOCKSTEP_TOKEN');
  const source = `--token-file ${options.tokenFile}`;
  return checkedToken(readSecretFile('--token-file', options.tokenFile).toString('utf8').trim(), source);
}

/** What can travel in a header. The message never shows it. */
function checkedToken(token: string, source: string): string {
  if (token === '') throw new LockstepError('USAGE', `${source} is empty`);
  if (!/^[\x21-\x7e]+$/.test(token)) throw new LockstepError('USAGE', `${source} holds something that is not a token`);
  return token;
}

/** Node brings its own list; what the machine's administrator trusts counts as well. */
function systemAuthorities(): Buffer {
  return Buffer.from([...getCACertificates('default'), ...getCACertificates('system')].join('\n'));
}

function readSecretFile(flag: string, path: string): Buffer {
  const data = readFile(flag, path);
  if (isReadByOthers(path)) {
    throw new LockstepError('USAGE', `${flag} ${path} can be read by others; run: chmod 600 ${path}`);
  }
  return data;
}

function readFile(flag: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new LockstepError('USAGE', `cannot read ${flag} ${path}: ${errnoOf(error) ?? 'unreadable'}`, {
      cause: error,
    });
  }
}
