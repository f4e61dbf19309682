/**
 * Channel credentials for a server that is named by its IP address. TLS has no place for an address as the server's name (RFC 6066),
 * so none is sent; the certificate must have the address itself among its alternative names, as ever.
 *
 * grpc-js 1.14 puts the address where only a name may be, which Node calls deprecated (DEP0123) on standard error. So this makes
 * the TLS connection itself. To be removed when grpc-js leaves addresses out.
 */
import type { Socket } from 'node:net';
import { checkServerIdentity, connect, type SecureContext, type TLSSocket } from 'node:tls';
import { ChannelCredentials } from '@grpc/grpc-js';
import { type SecureConnector, WrappingCredentials } from './wrapping-credentials.ts';

export interface AddressOptions {
  readonly context: SecureContext;
  /** The IP address, without brackets. */
  readonly address: string;
  /** False: whoever makes these looks at the certificate himself. */
  readonly rejectUnauthorized: boolean;
}

export class AddressCredentials extends WrappingCredentials {
  readonly #options: AddressOptions;

  constructor(options: AddressOptions) {
    super(ChannelCredentials.createFromSecureContext(options.context));
    this.#options = options;
  }

  protected override async connect(socket: Socket): ReturnType<SecureConnector['connect']> {
    return { socket: await this.#encrypted(socket), secure: true };
  }

  #encrypted(socket: Socket): Promise<TLSSocket> {
    const { context, address, rejectUnauthorized } = this.#options;
    return new Promise((resolve, reject) => {
      const encrypted = connect({
        socket,
        secureContext: context,
        rejectUnauthorized,
        // Said here as well as in `host`: what is verified does not depend on how Node fills it in.
        checkServerIdentity: (_, certificate) => checkServerIdentity(address, certificate),
        host: address,
        ALPNProtocols: ['h2'],
      });
      encrypted.once('secureConnect', () => resolve(encrypted));
      // After the handshake an error is the transport's, which listens for itself.
      encrypted.on('error', reject);
    });
  }
}
