/**
 * Channel credentials that trust one key: the handshake of TLS 1.3 proves that the server has it, and who has it is the server,
 * whatever its certificate says of names, dates and authorities. The key is looked at before a byte of HTTP/2 is sent,
 * so that no token ever reaches another server.
 *
 * Node cannot do this by `checkServerIdentity`: it is not asked about certificates of unknown authorities. So this looks
 * at the connection that other credentials make.
 */
import { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { ChannelCredentials } from '@grpc/grpc-js';
import { isKeyOf, keyDigestOf } from '../../../common/rpc/key-fingerprint.ts';
import { type SecureConnector, WrappingCredentials } from './wrapping-credentials.ts';

export interface PinnedOptions {
  /** They make the connection; what they verify must hold as well. */
  readonly inner: ChannelCredentials;
  /** SHA-256 of the public key, 32 bytes. */
  readonly keyDigest: Uint8Array;
  /** Hears of the key of another server. */
  readonly onMismatch: (presented: Uint8Array) => void;
}

export class PinnedCredentials extends WrappingCredentials {
  readonly #options: PinnedOptions;

  constructor(options: PinnedOptions) {
    super(options.inner);
    this.#options = options;
  }

  protected override async connect(socket: Socket, connector: SecureConnector): ReturnType<SecureConnector['connect']> {
    const connected = await connector.connect(socket);
    try {
      this.#check(connected.socket);
    } catch (error) {
      connected.socket.destroy();
      throw error;
    }
    return connected;
  }

  /** @throws when the other side did not prove that it has the key */
  #check(socket: unknown): void {
    const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
    if (!(certificate instanceof X509Certificate)) throw new Error('the server showed no certificate');
    if (isKeyOf(certificate.publicKey, this.#options.keyDigest)) return;
    this.#options.onMismatch(keyDigestOf(certificate.publicKey));
    throw new Error("the server's key is not the pinned one");
  }
}
