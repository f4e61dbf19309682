/**
 * Logging: JSON lines for machines, one readable line per event for people, both to stderr and both synchronous,
 * so that the last line before an exit is never lost. Knows nothing of trees; names arrive escaped by `displayPath`.
 */
import { isDeepStrictEqual } from 'node:util';
import { type DestinationStream, type Level, type Logger, pino, stdTimeFunctions } from 'pino';
import { describeError, LockstepError } from './errors.ts';
import { DEFAULT_LOG_LEVEL, levelOf, type LogLevel, type LogLevels, logLevels } from './log-levels.ts';
import { prettyDestination } from './pretty-log.ts';

export type { Logger } from 'pino';

export const LOG_FORMATS = ['json', 'pretty'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface LoggerOptions {
  /** The program or room that speaks: "watcher", "server". */
  readonly name: string;
  /** Of everything, or by room. Default: "info". */
  readonly level?: LogLevel | LogLevels | undefined;
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

/** Makes the logger of a program. Rooms get it as an argument, or a `child({ room: 'session' })` of it, which has that area's level. */
export function createLogger(options: LoggerOptions): Logger {
  const raw = options.destination ?? pino.destination({ fd: 2, sync: true });
  const onTerminal = options.onTerminal ?? isOnTerminal(options.destination);
  const format = options.format ?? defaultLogFormat(onTerminal);
  const levels = logLevels(options.level ?? DEFAULT_LOG_LEVEL);
  const family: Family = { levels, children: new Set() };
  const logger: Logger = pino(
    {
      onChild: (child: Logger) => {
        family.children.add(new WeakRef(child));
        child.level = levelOf(family.levels, roomOf(child));
      },
      name: options.name,
      level: levels.level,
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

interface Family {
  levels: LogLevels;
  /** Rooms, of which there are a few. */
  readonly children: Set<WeakRef<Logger>>;
}

/** Of each logger that `createLogger` made. */
const families = new WeakMap<Logger, Family>();

/** Changes the levels of a logger of `createLogger` and of all its children. @returns whether they were others */
export function setLogLevel(logger: Logger, wanted: LogLevel | LogLevels): boolean {
  const levels = logLevels(wanted);
  const family = families.get(logger);
  const before = family?.levels ?? logLevels(logger.level as LogLevel);
  logger.level = levels.level;
  if (family !== undefined) {
    family.levels = levels;
    for (const reference of family.children) {
      const child = reference.deref();
      if (child !== undefined) child.level = levelOf(levels, roomOf(child));
    }
  }
  return !isDeepStrictEqual(before, levels);
}

function roomOf(child: Logger): unknown {
  return child.bindings()['room'];
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
