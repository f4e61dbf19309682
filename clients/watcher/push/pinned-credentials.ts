/**
 * Channel credentials that trust one key: the handshake of TLS 1.3 proves that the server has it, and who has it is the server,
 * whatever its certificate says of names, dates and authorities. The key is looked at before a byte of HTTP/2 is sent,
 * so that no token ever reaches another server.
 *
 * Node cannot do this by `checkServerIdentity`: it is not asked about certificates of unknown authorities. So this wraps
 * grpc-js 1.14's connector, by composition: where a release has renamed its method, no connection comes about at all.
 */
import { X509Certificate } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import { ChannelCredentials } from '@grpc/grpc-js';
import { isKeyOf, keyDigestOf } from '../../../common/rpc/key-fingerprint.ts';

export interface PinnedOptions {
  /** They make the connection; what they verify must hold as well. */
  readonly inner: ChannelCredentials;
  /** SHA-256 of the public key, 32 bytes. */
  readonly keyDigest: Uint8Array;
  /** Hears of the key of another server. */
  readonly onMismatch: (presented: Uint8Array) => void;
}

type SecureConnector = ReturnType<ChannelCredentials['_createSecureConnector']>;

export class PinnedCredentials extends ChannelCredentials {
  readonly #options: PinnedOptions;

  constructor(options: PinnedOptions) {
    super();
    this.#options = options;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(
    ...parameters: Parameters<ChannelCredentials['_createSecureConnector']>
  ): SecureConnector {
    const connector = this.#options.inner._createSecureConnector(...parameters);
    return {
      connect: async (socket) => {
        const connected = await connector.connect(socket);
        try {
          this.#check(connected.socket);
        } catch (error) {
          connected.socket.destroy();
          throw error;
        }
        return connected;
      },
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
    };
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
