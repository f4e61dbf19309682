/**
 * Channel credentials that connect in a way of their own, with the rest left to credentials of grpc-js: by composition, because its
 * classes are not made to be extended. Where a release after 1.14 renames its method, no connection comes about at all.
 */
import { ChannelCredentials } from '@grpc/grpc-js';

export type SecureConnector = ReturnType<ChannelCredentials['_createSecureConnector']>;

export abstract class WrappingCredentials extends ChannelCredentials {
  readonly #inner: ChannelCredentials;

  constructor(inner: ChannelCredentials) {
    super();
    this.#inner = inner;
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
    const connector = this.#inner._createSecureConnector(...parameters);
    return {
      connect: (socket) => this.connect(socket, connector),
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
    };
  }

  /** Makes the connection on a socket that is connected; `connector` is that of the credentials inside. */
  protected abstract connect(
    ...parameters: [...Parameters<SecureConnector['connect']>, connector: SecureConnector]
  ): ReturnType<SecureConnector['connect']>;
}
