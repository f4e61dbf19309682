/**
 * Logging: JSON lines for machines, one readable line per event for people, both to stderr and both synchronous,
 * so that the last line before an exit is never lost. Knows nothing of trees; names arrive escaped by `displayPath`.
 */
import { type DestinationStream, type Level, type Logger, pino, stdTimeFunctions } from 'pino';
import { describeError, LockstepError } from './errors.ts';
import { prettyDestination } from './pretty-log.ts';

export type { Logger } from 'pino';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = Level | 'silent';

export const LOG_FORMATS = ['json', 'pretty'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface LoggerOptions {
  /** The program or room that speaks: "watcher", "server". */
  readonly name: string;
  /** Default "info". */
  readonly level?: LogLevel | undefined;
  /** Default: `defaultLogFormat`. */
  readonly format?: LogFormat | undefined;
  /** Where lines go instead of stderr; each `write` gets one whole line. */
  readonly destination?: DestinationStream | undefined;
  /** Whether `destination` writes to a terminal in the end. Default: `isOnTerminal` of it. */
  readonly onTerminal?: boolean | undefined;
}

/** Fields of every change's line. */
export interface ChangeLogFields {
  /** put, mkdir, symlink, metadata, move, delete … */
  readonly op: string;
  /** Escaped by `displayPath`. */
  readonly path: string;
  readonly revision?: bigint | undefined;
  /** Content size in bytes. */
  readonly bytes?: number | undefined;
  /** Time from the observation to the acknowledgement, in milliseconds. */
  readonly ms?: number | undefined;
}

/** Field names whose values never reach a log, at the top and one level down. */
const SECRET_FIELDS = ['token', 'secret', 'password', 'authorization', 'credential', 'key'];

/** Whether a person reads along: standard error is a terminal, and nothing, such as a file, takes its place. */
export function isOnTerminal(instead?: unknown): boolean {
  return instead === undefined && process.stderr.isTTY === true;
}

/** What a log looks like when nobody has chosen. */
export function defaultLogFormat(onTerminal: boolean): LogFormat {
  return onTerminal ? 'pretty' : 'json';
}

/** Makes the logger of a program. Rooms get it as an argument, or a `child({ room: 'session' })` of it. */
export function createLogger(options: LoggerOptions): Logger {
  const raw = options.destination ?? pino.destination({ fd: 2, sync: true });
  const onTerminal = options.onTerminal ?? isOnTerminal(options.destination);
  const format = options.format ?? defaultLogFormat(onTerminal);
  const family = new Set<WeakRef<Logger>>();
  const logger: Logger = pino(
    {
      onChild: (child: Logger) => void family.add(new WeakRef(child)),
      name: options.name,
      level: options.level ?? 'info',
      base: { name: options.name },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: serializeError, revision: String },
      redact: { paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]), censor: '[redacted]' },
      hooks: { streamWrite: (line) => withoutControls(withoutBearerTokens(line)) },
    },
    format === 'pretty' ? prettyDestination(raw, { colors: onTerminal && wantsColors() }) : raw,
  );
  families.set(logger, family);
  return logger;
}

/** The children of each logger that `createLogger` made: rooms, of which there are a few. */
const families = new WeakMap<Logger, ReadonlySet<WeakRef<Logger>>>();

/** Changes the level of a logger of `createLogger` and of all its children. @returns whether it was another one */
export function setLogLevel(logger: Logger, level: LogLevel): boolean {
  const isNew = logger.level !== level;
  logger.level = level;
  for (const reference of families.get(logger) ?? []) {
    const child = reference.deref();
    if (child !== undefined) child.level = level;
  }
  return isNew;
}

/** Logs one change in the shape that every room uses: message "put docs/a.txt" and the fields beside it. */
export function logChange(logger: Logger, change: ChangeLogFields, level: Level = 'info'): void {
  if (!logger.isLevelEnabled(level)) return;
  logger[level](change, `${change.op} ${change.path}`);
}

/** https://no-color.org: set and not empty means no colours. */
function wantsColors(): boolean {
  const { NO_COLOR, TERM } = process.env;
  return (NO_COLOR === undefined || NO_COLOR === '') && TERM !== 'dumb';
}

/** The stack is for defects; an error that names its reason does not need one. */
function serializeError(error: unknown): Record<string, unknown> {
  if (error instanceof LockstepError) {
    const { reason, details } = error;
    const stack = reason === 'INTERNAL' ? error.stack : undefined;
    return { reason, message: describeError(error), details, stack };
  }
  if (!(error instanceof Error)) return { message: describeError(error) };
  return { type: error.name, message: describeError(error), stack: error.stack };
}

/** The last net: a header that was put into a message's text. */
function withoutBearerTokens(line: string): string {
  return line.includes('earer ') ? line.replace(/([Bb]earer )[A-Za-z0-9._~+/=-]+/g, '$1[redacted]') : line;
}

/** What JSON leaves raw and a terminal would obey: DEL, C1 controls, bidirectional controls and separators (S27). */
const RAW_CONTROLS = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** The same JSON, with escapes for them: who parses the line gets what was there. */
function withoutControls(line: string): string {
  return line.replace(RAW_CONTROLS, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
