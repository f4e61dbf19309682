/**
 * A server inside another program. Composition only: options go the way of the command line's, so that they are checked, and named
 * in messages, as there.
 */
import { resolveOptions } from '../common/ops/configuration.ts';
import { LockstepError } from '../common/ops/errors.ts';
import { TokenStore } from '../services/sync-server/auth/token-store.ts';
import { allFolders, ensureDirectory } from '../services/sync-server/commands/folders.ts';
import { serveOptions } from '../services/sync-server/commands/options.ts';
import { scrubSettings, tlsFiles } from '../services/sync-server/commands/serve.ts';
import { openFolder } from '../services/sync-server/open-folder.ts';
import { startServer } from '../services/sync-server/server.ts';
import { readVersion } from '../services/sync-server/version.ts';
import { loggerOf, type LogOptions } from './log-options.ts';

export interface ServeOptions extends LogOptions {
  /** The replica: the directory that is kept in step. Made when it is missing. */
  readonly directory: string;
  /** HOST:PORT, :PORT or unix:PATH. Default: a free port of this machine only. */
  readonly listen?: string | undefined;
  /** Health, metrics and the status page: HOST:PORT. Default: none. */
  readonly http?: string | undefined;
  /** The name that the replica has on the wire. Default: "default". */
  readonly folder?: string | undefined;
  /** Index, log and tokens. Default: `.lockstep` in the directory. */
  readonly state?: string | undefined;
  /** Give entries to the owners that a watcher sends. Default: false. */
  readonly owner?: boolean | undefined;
  /** Report symbolic links that lead out of the folder as problems, instead of keeping them. Default: false. */
  readonly refuseEscapingLinks?: boolean | undefined;
  /** Files in PEM. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa?: string | undefined } | undefined;
  /** Serve without TLS or tokens on an address that is not loopback. */
  readonly insecure?: boolean | undefined;
}

export interface TokenOptions {
  /** write includes read, admin both. */
  readonly scope: 'read' | 'write' | 'admin';
  readonly label?: string | undefined;
  /** Milliseconds from now; undefined: until it is revoked. */
  readonly expiresInMs?: number | undefined;
}

export interface ServedFolder extends AsyncDisposable {
  /** What watchers are told: HOST:PORT with the port that was really taken, or unix:PATH. */
  readonly address: string;
  /** HOST:PORT, where there is one. */
  readonly http: string | undefined;
  /** @returns the token's text, which cannot be had a second time */
  createToken(options: TokenOptions): string;
  /** Answers what has arrived, makes it durable, lets go of everything. Calling it again does nothing. */
  close(): Promise<void>;
}

/**
 * Resolves when it serves.
 * @throws LockstepError whose message names what is wrong and the remedy: USAGE, LOCKED when another server has the replica …
 */
export async function serveFolder(options: ServeOptions): Promise<ServedFolder> {
  const { directory, state, folder, owner, refuseEscapingLinks, listen = '127.0.0.1:0', http = 'off' } = options;
  const { tls, insecure } = options;
  const flags = { dir: directory, state, folder, owner, refuseEscapingLinks, listen, http, insecure };
  const { values } = resolveOptions(serveOptions, {
    flags: { ...flags, tlsCert: tls?.cert, tlsKey: tls?.key, tlsClientCa: tls?.clientCa },
    environment: {},
  });
  const folders = allFolders(values, undefined);
  const [served] = folders;
  if (served === undefined) throw new LockstepError('INTERNAL', 'nothing is to be served');
  ensureDirectory(served);
  const logger = loggerOf('server', options);
  const server = await startServer(
    {
      folders,
      listen: values.listen,
      http: values.http,
      httpIsOptional: false,
      tls: tlsFiles(values),
      insecure: values.insecure,
      readyFile: undefined,
      version: readVersion(),
      scrub: scrubSettings(values),
    },
    openFolder,
    logger,
  );
  let closing: Promise<void> | undefined;
  const close = () => (closing ??= server.stop());
  return {
    address: server.grpc.text,
    http: server.http?.text,
    createToken: ({ scope, label = '', expiresInMs }) => {
      const token = { folder: served.name, scope, label, expiresInMs };
      return new TokenStore(served.stateDirectory).create(token).text;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
