/**
 * How much each area of a program logs: "info,replica=debug,rpc=warn". Areas are the rooms that a program's loggers name.
 * Pure.
 */
import { LockstepError } from './errors.ts';
import { nearestWord } from './nearest.ts';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const DEFAULT_LOG_LEVEL: LogLevel = 'info';

export interface LogLevels {
  /** Of all areas that are not named. */
  readonly level: LogLevel;
  readonly areas: Readonly<Record<string, LogLevel>>;
}

/** One level is that of all areas. */
export function logLevels(levels: LogLevel | LogLevels): LogLevels {
  return typeof levels === 'string' ? { level: levels, areas: {} } : levels;
}

export function levelOf({ level, areas }: LogLevels, area: unknown): LogLevel {
  return (typeof area === 'string' ? areas[area] : undefined) ?? level;
}

/**
 * A level for everything, levels of areas, or both, separated by commas; default "info" for what is not named.
 * @throws LockstepError USAGE, naming the word and the one that is nearest.
 */
export function parseLogLevels(text: string, areas: readonly string[]): LogLevels {
  const chosen = new Map<string, LogLevel>();
  for (const item of text.split(',').map((word) => word.trim())) {
    const [before = '', ...after] = item.split('=').map((word) => word.trim());
    const area = after.length === 0 ? '' : known('area', before, areas);
    const level = known('level', after.length === 0 ? before : after.join('='), LOG_LEVELS);
    if (chosen.has(area)) {
      throw new LockstepError('USAGE', `"${text}" has two levels for ${area === '' ? 'everything' : `"${area}"`}`);
    }
    chosen.set(area, level);
  }
  const level = chosen.get('') ?? DEFAULT_LOG_LEVEL;
  chosen.delete('');
  return { level, areas: Object.fromEntries(chosen) };
}

function known<T extends string>(what: 'level' | 'area', word: string, words: readonly T[]): T {
  const found = words.find((one) => one === word);
  if (found !== undefined) return found;
  const nearest = nearestWord(word, words);
  const hint = nearest === undefined ? '' : `; did you mean "${nearest}"?`;
  const list = nearest === undefined ? `; write ${words.join(', ')}` : '';
  throw new LockstepError('USAGE', `unknown log ${what} "${word}"${hint}${list}`);
}
