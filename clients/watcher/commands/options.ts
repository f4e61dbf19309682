/**
 * The options of each command, as the command line, the environment and the file know them.
 */
import * as z from 'zod/mini';
import { defineOptions, parsed } from '../../../common/ops/configuration.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import {
  jsonOption,
  logFileOption,
  logOptionsOf,
  path,
  printConfigOption,
  priorityOptions,
} from '../../../common/ops/shared-options.ts';
import { parseDeleteLimit, parseDuration, parseRate } from '../../../common/ops/units.ts';
import { parseAddress, parseHttpAddress } from '../../../common/rpc/address.ts';
import { parseInvitation } from '../../../common/rpc/invitation.ts';
import { parseFingerprint } from '../../../common/rpc/key-fingerprint.ts';
import { OWNER_MODES } from '../observe/local-owners.ts';
import { bandwidthSchedule } from './bandwidth-schedule.ts';

const onOff = z.boolean();
const logOptions = logOptionsOf(['observe', 'engine', 'push', 'status', 'hooks']);

function parseTimeout(text: string): number | undefined {
  if (text === 'off') return undefined;
  const timeoutMs = parseDuration(text);
  if (timeoutMs > 0) return timeoutMs;
  throw new LockstepError('USAGE', 'nothing runs in no time; write for example 10m, or off');
}

const localOptions = defineOptions({
  dir: {
    flag: '--dir <dir>',
    description: 'the directory to keep the server in step with',
    schema: path,
    required: true,
  },
  state: {
    flag: '--state <dir>',
    description: "the watcher's index; default: in the user's state directory, never inside DIR",
    schema: path,
  },
  config: {
    flag: '--config <file>',
    description: 'a TOML file with the same options; several directories are given there, each in a [[watch]] table',
    schema: path,
    file: false,
  },
});

/** `serverChoice` makes one of them. */
export const serverOptions = defineOptions({
  server: {
    flag: '--server <addr>',
    description: 'HOST:PORT, :PORT or unix:PATH of the sync-server',
    schema: parsed((text) => parseAddress(text, 'dial')),
  },
  join: {
    flag: '--join <line>',
    description:
      'an invitation, as sync-server invite prints it: server, folder, token and fingerprint; or LOCKSTEP_JOIN',
    schema: parsed(parseInvitation),
    file: false,
    secret: true,
  },
  folder: {
    flag: '--folder <name>',
    description: "the replica's name on the server; default: default",
    schema: z.string(),
  },
  tokenFile: {
    flag: '--token-file <file>',
    description: 'a file with the token, mode 0600; or LOCKSTEP_TOKEN',
    schema: path,
  },
  /** Never a flag: others could read it in the list of processes (S41). */
  token: { description: 'the token', schema: z.string(), file: false, secret: true },
  ca: { flag: '--ca <file>', description: 'PEM of the authority to trust; means TLS', schema: path },
  fingerprint: {
    flag: '--fingerprint <sha256>',
    description: 'trust the server with this key only, as sync-server cert prints it; means TLS',
    schema: parsed(parseFingerprint),
  },
  clientCert: { flag: '--client-cert <file>', description: 'our certificate, PEM', schema: path },
  clientKey: { flag: '--client-key <file>', description: 'its key, PEM, mode 0600', schema: path },
  insecure: { flag: '--insecure', description: 'no TLS, also to another machine', schema: onOff, default: false },
  exclude: {
    flag: '--exclude <pattern>',
    description: 'what to leave out, in gitignore syntax; repeatable',
    schema: z.array(z.string()),
    default: [],
    repeatable: true,
  },
});

const ownerOption = defineOptions({
  owner: {
    flag: '--owner <how>',
    description: 'carry owners: off, name (and numbers where there is none) or number; the server needs --owner, too',
    schema: z.enum(OWNER_MODES),
    default: 'off',
  },
});

const hardLinksOption = defineOptions({
  hardLinks: {
    flag: '--hard-links',
    description: 'keep names of one file as names of one file; default: each becomes a file of its own',
    schema: onOff,
    default: false,
  },
});

const timeoutOption = defineOptions({
  timeout: {
    flag: '--timeout <duration>',
    description: 'how long the server may be out of reach where somebody waits for the result',
    schema: parsed(parseDuration),
    default: '30s',
  },
});

/** What holds for the whole process, however many directories it watches. */
export const processOptions = defineOptions({
  once: {
    flag: '--once',
    description: 'bring the server to exactly this tree, wait until it is durable there, and end',
    schema: onOff,
    default: false,
  },
  durable: {
    flag: '--durable',
    description: 'wait for durable, not only for applied',
    schema: onOff,
    default: true,
    negatable: true,
  },
  localFiles: {
    flag: '--local-files',
    description: 'let a server on this machine, of the same user, read large files itself',
    schema: onOff,
    default: true,
    negatable: true,
  },
  dryRun: {
    flag: '--dry-run',
    description: 'print what would be sent, as rsync -n -i does; send nothing',
    schema: onOff,
    default: false,
  },
  progress: {
    flag: '--progress <kind>',
    description: 'auto, plain, json or off',
    schema: z.enum(['auto', 'plain', 'json', 'off']),
    default: 'auto',
  },
  bandwidthLimit: {
    flag: '--bandwidth-limit <rate>',
    description: 'how much is sent per second, such as 2MB/s, or off; sync-watcher limit changes it',
    schema: parsed(parseRate),
    default: 'off',
  },
  bandwidth: {
    description: 'other limits at other times: [[bandwidth]] tables with from, to and limit',
    schema: bandwidthSchedule,
    environment: false,
  },
  ...priorityOptions,
  metrics: {
    flag: '--metrics <addr>',
    description: 'metrics and health over HTTP: HOST:PORT, or off',
    schema: parsed((text) => parseHttpAddress(text, 9465)),
    default: 'off',
  },
  ...logOptions,
  ...logFileOption,
  ...printConfigOption,
});

export const watchOptions = defineOptions({
  ...localOptions,
  ...serverOptions,
  ...ownerOption,
  ...timeoutOption,
  create: { flag: '--create', description: 'make DIR when it does not exist', schema: onOff, default: false },
  takeOver: {
    flag: '--take-over',
    description: 'take the folder from another watcher that holds it',
    schema: onOff,
    default: false,
    environment: false,
    file: false,
  },
  watcher: {
    flag: '--watcher <source>',
    description: 'where changes are heard of: auto, chokidar, native or poll',
    schema: z.enum(['auto', 'chokidar', 'native', 'poll']),
    default: 'auto',
  },
  scanInterval: {
    flag: '--scan-interval <duration>',
    description: 'the full rescan behind the watcher; default: 10m, with --watcher poll 5s',
    schema: parsed(parseDuration),
  },
  maxDelete: {
    flag: '--max-delete <n|p%>',
    description: 'pause before deleting more than this at once; default: 50% and at least 1000 entries',
    schema: parsed(parseDeleteLimit),
  },
  ...hardLinksOption,
  onSynced: {
    flag: '--on-synced <command>',
    description: 'run by /bin/sh when changes have arrived, with LOCKSTEP_REVISION and LOCKSTEP_DIR in its environment',
    schema: z.string().check(z.minLength(1, 'a command is needed')),
  },
  onSyncedTimeout: {
    flag: '--on-synced-timeout <duration>',
    description: 'how long that command may run before it is ended, with all that it has started; or off',
    schema: parsed(parseTimeout),
    default: '10m',
  },
  readyFile: {
    flag: '--ready-file <file>',
    description: 'written once the watcher watches and the first sync is done, of all directories',
    schema: path,
  },
  ...processOptions,
});

export const controlOptions = localOptions;

export const statusOptions = defineOptions({ ...localOptions, ...jsonOption });

export const flushOptions = defineOptions({ ...localOptions, ...timeoutOption });

export const limitOptions = defineOptions({ ...localOptions, ...jsonOption });

export const waitOptions = defineOptions({
  ...localOptions,
  timeout: {
    flag: '--timeout <duration>',
    description: 'how long to wait; 0 looks once',
    schema: parsed(parseDuration),
    default: '30s',
    file: false,
  },
});

export const verifyOptions = defineOptions({
  ...localOptions,
  ...serverOptions,
  ...ownerOption,
  hardLinks: { ...hardLinksOption.hardLinks, description: 'compare which names are names of one file, too' },
  ...timeoutOption,
});

export const doctorOptions = defineOptions({ ...localOptions, ...serverOptions, ...timeoutOption, ...jsonOption });
