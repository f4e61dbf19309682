/**
 * What a connection has when nobody asked for TLS or a token.
 */
import type { SecurityOptions } from '../../clients/watcher/push/credentials.ts';

export const NO_SECURITY: SecurityOptions = {
  ca: undefined,
  clientCert: undefined,
  clientKey: undefined,
  insecure: false,
  tokenFile: undefined,
  token: undefined,
};
