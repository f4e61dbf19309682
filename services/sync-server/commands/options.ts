/**
 * The options of each command, as the command line, the environment and the file know them.
 */
import * as z from 'zod/mini';
import {
  type ConfigurationFile,
  defineOptions,
  fileKeysOf,
  type OptionDeclarations,
  parsed,
  readConfigurationFile,
  type ResolvedOptions,
  resolveOptions,
} from '../../../common/ops/configuration.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import {
  jsonOption,
  logFileOption,
  logOptionsOf,
  path,
  printConfigOption,
  priorityOptions,
} from '../../../common/ops/shared-options.ts';
import { parseDuration, parseSize } from '../../../common/ops/units.ts';
import { parseAddress, parseHttpAddress } from '../../../common/rpc/address.ts';
import { SCOPES } from '../auth/token.ts';
import type { CommandContext } from './context.ts';

const logOptions = logOptionsOf(['replica', 'rpc', 'auth', 'http', 'grpc']);

/** Which folders a command is about. The file's `folder` may be a table per folder, which folders.ts reads. */
const folderOptions = defineOptions({
  dir: {
    flag: '--dir <dir>',
    description: 'the replica: the directory that this server keeps in step',
    schema: path,
  },
  state: { flag: '--state <dir>', description: 'index, log and tokens; default: DIR/.lockstep', schema: path },
  folder: {
    flag: '--folder <name>',
    description: 'the name that the replica has on the wire; default: default',
    schema: z.string(),
    file: false,
  },
  config: {
    flag: '--config <file>',
    description: 'a TOML file with the same options; several folders are given there',
    schema: path,
    file: false,
  },
});

const ownerOption = defineOptions({
  owner: {
    flag: '--owner',
    description: 'give entries to the owners that a watcher with --owner sends; needs root, or CAP_CHOWN',
    schema: z.boolean(),
    default: false,
  },
});

/** Paths of TLS are taken as they are; that their files can be read is checked when they are. */
export const serveOptions = defineOptions({
  ...folderOptions,
  ...ownerOption,
  listen: {
    flag: '--listen <addr>',
    description: 'HOST:PORT, :PORT or unix:PATH; port 0 picks a free one',
    schema: parsed((text) => parseAddress(text, 'listen')),
    default: '127.0.0.1:50051',
  },
  http: {
    flag: '--http <addr>',
    description: 'health, metrics and the status page: HOST:PORT, or off',
    schema: parsed((text) => parseHttpAddress(text, 9464)),
    default: '127.0.0.1:9464',
  },
  tlsCert: { flag: '--tls-cert <file>', description: 'certificate chain in PEM', schema: path },
  tlsKey: { flag: '--tls-key <file>', description: 'its private key in PEM', schema: path },
  tlsClientCa: {
    flag: '--tls-client-ca <file>',
    description: 'clients with a certificate signed by this CA need no token',
    schema: path,
  },
  insecure: {
    flag: '--insecure',
    description: 'serve without TLS or tokens on an address that is not loopback',
    schema: z.boolean(),
    default: false,
  },
  refuseEscapingLinks: {
    flag: '--refuse-escaping-links',
    description: 'refuse symbolic links that lead out of the folder; a [[folder]] may say otherwise for itself',
    schema: z.boolean(),
    default: false,
  },
  readyFile: {
    flag: '--ready-file <file>',
    description: 'written once the server serves, with its addresses and pid as JSON',
    schema: path,
  },
  scrubInterval: {
    flag: '--scrub-interval <duration>',
    description: 'pause between two readings of all contents that find what the disk lost; or off',
    schema: parsed((text) => (text === 'off' ? undefined : parseDuration(text))),
    default: '7d',
  },
  scrubRate: {
    flag: '--scrub-rate <size>',
    description: 'how much of them is read per second, such as 16MiB',
    schema: parsed(parseRate),
    default: '16MiB',
  },
  ...priorityOptions,
  ...logOptions,
  ...logFileOption,
  ...printConfigOption,
});

export const doctorOptions = defineOptions({ ...serveOptions, ...jsonOption });

export const tokenOptions = defineOptions(folderOptions);

export const auditOptions = defineOptions(folderOptions);

const scopeOption = {
  flag: '--scope <scope>',
  description: 'read, write (includes read) or admin (includes both)',
  schema: z.enum(SCOPES),
  file: false,
} as const;

const newTokenOptions = defineOptions({
  expires: {
    flag: '--expires <duration>',
    description: 'how long it is valid, such as 90d; default: until it is revoked',
    schema: parsed(parseDuration),
    file: false,
  },
  label: {
    flag: '--label <text>',
    description: 'what it is for',
    schema: z.string().check(z.maxLength(200, 'a label has at most 200 characters')),
    default: '',
    file: false,
  },
});

export const tokenCreateOptions = defineOptions({
  ...folderOptions,
  scope: { ...scopeOption, required: true },
  ...newTokenOptions,
});

export const tokenRotateOptions = defineOptions({
  ...folderOptions,
  overlap: {
    flag: '--overlap <duration>',
    description: 'how long the old token stays good beside the new one',
    schema: parsed(parseDuration),
    default: '1d',
    environment: false,
    file: false,
  },
});

/** `listen` and `tlsCert` are the server's own: a file that it is started with says enough. */
export const inviteOptions = defineOptions({
  ...folderOptions,
  scope: { ...scopeOption, default: 'write' },
  ...newTokenOptions,
  listen: serveOptions.listen,
  tlsCert: serveOptions.tlsCert,
  server: {
    flag: '--server <addr>',
    description: 'HOST:PORT at which watchers reach this server; default: --listen',
    schema: parsed((text) => parseAddress(text, 'dial')),
    environment: false,
    file: false,
  },
  pin: {
    flag: '--pin',
    description: "put the key's fingerprint into the line; without, the system's authorities must know the certificate",
    schema: z.boolean(),
    default: true,
    negatable: true,
    environment: false,
    file: false,
  },
});

/** Of a certificate's making; nothing of it is in the server's file. */
export const certOptions = defineOptions({
  out: {
    flag: '--out <dir>',
    description: 'where ca.crt, ca.key, server.crt and server.key are, or are to be',
    schema: path,
    required: true,
    environment: false,
    file: false,
  },
  host: {
    flag: '--host <name>',
    description:
      'a name or address that watchers use for this server; repeatable; default: as before, or the name of this machine',
    schema: z.array(z.string()),
    default: [],
    repeatable: true,
    environment: false,
    file: false,
  },
  expires: {
    flag: '--expires <duration>',
    description: 'how long it is valid',
    schema: parsed(parseDuration),
    default: '365d',
    environment: false,
    file: false,
  },
  newKey: {
    flag: '--new-key',
    description: 'make a new key as well; what pinned the old one will refuse it',
    schema: z.boolean(),
    default: false,
    environment: false,
    file: false,
  },
  client: {
    flag: '--client <name>',
    description: "a client's certificate, NAME.crt and NAME.key, instead of the server's",
    schema: z
      .string()
      .check(z.regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/, 'a name has letters, digits, "_", "." and "-"')),
    environment: false,
    file: false,
  },
  scope: {
    flag: '--scope <scope>',
    description: 'with --client: read, write or admin on --folder; default: everything',
    schema: z.enum(SCOPES),
    environment: false,
    file: false,
  },
  folder: {
    flag: '--folder <name>',
    description: 'with --client and --scope: the folder; default: default',
    schema: z.string(),
    environment: false,
    file: false,
  },
});

export const verifyOptions = defineOptions({
  ...folderOptions,
  ...ownerOption,
  repair: {
    flag: '--repair',
    description: 'correct the index to what the disk has, so that the watcher brings it back into step',
    schema: z.boolean(),
    default: false,
    file: false,
  },
  ...logOptions,
});

export interface ResolvedCommand<D extends OptionDeclarations> extends ResolvedOptions<D> {
  readonly file: ConfigurationFile | undefined;
}

/** Merges flags, environment and the file that `--config` or LOCKSTEP_CONFIG names. @throws LockstepError USAGE */
export function resolveCommand<const D extends OptionDeclarations>(
  declarations: D,
  flags: Readonly<Record<string, unknown>>,
  { environment }: CommandContext,
): ResolvedCommand<D> {
  const configPath = flags['config'] ?? environment['LOCKSTEP_CONFIG'];
  const file = typeof configPath === 'string' && configPath !== '' ? readConfigurationFile(configPath) : undefined;
  // All commands read the same file, and each needs only some of it.
  const otherFileKeys = ['folder', ...fileKeysOf(serveOptions)];
  return { ...resolveOptions(declarations, { flags, environment, file, otherFileKeys }), file };
}

function parseRate(text: string): number {
  const bytesPerSecond = parseSize(text);
  if (bytesPerSecond > 0) return bytesPerSecond;
  throw new LockstepError(
    'USAGE',
    'a rate of nothing would never end; write for example 16MiB, or --scrub-interval off',
  );
}
