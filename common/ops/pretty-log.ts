/**
 * How a log line looks on a terminal. pino-pretty is used as a plain function: its stream and its worker transport
 * can lose the lines before an exit.
 */
import type { DestinationStream } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { printable } from './errors.ts';
import { formatBytes, formatDuration } from './units.ts';

export interface PrettyOptions {
  /** ANSI colours. Off for everything but a terminal. */
  readonly colors: boolean;
}

type Fields = Readonly<Record<string, unknown>>;

/** A destination for pino that writes one readable line per JSON line to `raw`, within the call. */
export function prettyDestination(raw: DestinationStream, options: PrettyOptions): DestinationStream {
  const paint = painter(options.colors);
  const format = prettyFactory({
    colorize: false,
    hideObject: true,
    ignore: 'time,level,name,pid,hostname',
    messageFormat: (log) => prettyLine(log, paint),
  });
  return {
    write(line) {
      raw.write(format(line.trimEnd()));
    },
  };
}

type Paint = (style: 'dim' | 'bold' | 'red' | 'yellow' | 'cyan', text: string) => string;

function painter(colors: boolean): Paint {
  const codes = { dim: 2, bold: 1, red: 31, yellow: 33, cyan: 36 } as const;
  return (style, text) => (colors ? `\u001b[${codes[style]}m${text}\u001b[0m` : text);
}

/** Widths that keep the usual lines in columns. */
const NAME_WIDTH = 7;
const OP_WIDTH = 7;

function prettyLine(log: Fields, paint: Paint): string {
  const { time, level, name, room, msg, err, ...rest } = log;
  const speaker = [name, room].filter((part) => typeof part === 'string').join('/');
  const head = [paint('dim', clock(time)), paint('cyan', speaker.padEnd(NAME_WIDTH))];
  if (level !== 'info') head.push(levelMark(String(level), paint));
  const { op, path, revision, bytes, ms, ...fields } = rest;
  const isChange = typeof op === 'string' && typeof path === 'string';
  const parts = [isChange ? `${paint('bold', op.padEnd(OP_WIDTH))} ${textOf(path)}` : textOf(msg)];
  const tail: string[] = [];
  const known: Fields = isChange ? {} : { op, path };
  for (const [key, value] of Object.entries({ ...known, ...fields })) {
    if (value !== undefined) tail.push(printable(`${key}=${shown(value)}`));
  }
  if (revision !== undefined) tail.push(`rev ${textOf(revision)}`);
  if (typeof bytes === 'number') tail.push(formatBytes(bytes));
  if (typeof ms === 'number') tail.push(formatDuration(ms));
  parts.push(...tail.map((text) => paint('dim', text)));
  return `${head.join(' ')}  ${parts.join('  ')}${errorText(err, msg, paint)}`;
}

function levelMark(level: string, paint: Paint): string {
  const label = level.toUpperCase();
  if (level === 'warn') return paint('yellow', label);
  return level === 'error' || level === 'fatal' ? paint('red', label) : paint('dim', label);
}

/** Local time of day; whoever needs the date uses the JSON form. */
function clock(time: unknown): string {
  const date = new Date(typeof time === 'string' || typeof time === 'number' ? time : Number.NaN);
  if (Number.isNaN(date.getTime())) return '--:--:--.---';
  const two = (value: number) => String(value).padStart(2, '0');
  const millis = String(date.getMilliseconds()).padStart(3, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${millis}`;
}

/** Whatever a peer has put into it, it cannot steer the terminal (S27). */
function textOf(value: unknown): string {
  if (value === undefined || value === null) return '';
  return printable(typeof value === 'string' ? value : JSON.stringify(value));
}

function shown(value: unknown): string {
  return typeof value === 'string' ? (/^[^\s"=]+$/.test(value) ? value : JSON.stringify(value)) : JSON.stringify(value);
}

/** `err` reads as "REASON message"; a defect's stack goes below, indented. */
function errorText(err: unknown, shownMessage: unknown, paint: Paint): string {
  if (typeof err !== 'object' || err === null) return '';
  const { reason, message, stack } = err as Fields;
  const words = [reason, message === shownMessage ? '' : message].map(textOf).filter((word) => word !== '');
  const text = words.length === 0 ? '' : `  ${paint('red', words.join(' '))}`;
  if (typeof stack !== 'string') return text;
  const frames = stack
    .split('\n')
    .slice(1)
    .map((line) => `    ${printable(line.trim())}`);
  return `${text}${frames.map((line) => `\n${paint('dim', line)}`).join('')}`;
}
