/**
 * Durations, sizes and delete limits as people write and read them. Pure.
 */
import { LockstepError } from './errors.ts';

const MS_PER_UNIT: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/**
 * Milliseconds of "250ms", "5s", "10m", "1h30m", "90d"; "0" alone needs no unit.
 * @throws LockstepError USAGE, naming the text.
 */
export function parseDuration(text: string): number {
  const trimmed = text.trim();
  if (trimmed === '0') return 0;
  const parts = [...trimmed.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d|w)/g)];
  if (parts.length === 0 || parts.map((part) => part[0]).join('') !== trimmed) {
    throw wrongValue('duration', text, '10m, 5s, 250ms or 90d');
  }
  let totalMs = 0;
  for (const [, amount, unit] of parts) totalMs += Number(amount) * (MS_PER_UNIT[unit ?? ''] ?? Number.NaN);
  if (!(totalMs <= Number.MAX_SAFE_INTEGER)) throw wrongValue('duration', text, '10m, 5s, 250ms or 90d');
  return Math.round(totalMs);
}

/** "3 ms", "1.2 s", "4 m 10 s", "2 h 5 m", "3 d 4 h": the two units that matter. */
export function formatDuration(durationMs: number): string {
  if (!Number.isFinite(durationMs)) return String(durationMs);
  if (durationMs < 0) return `-${formatDuration(-durationMs)}`;
  if (durationMs < 10 && !Number.isInteger(durationMs)) return `${Number(durationMs.toFixed(1))} ms`;
  if (durationMs < 999.5) return `${Math.round(durationMs)} ms`;
  if (durationMs < 59_950) return `${Number((durationMs / 1000).toFixed(1))} s`;
  const seconds = Math.round(durationMs / 1000);
  if (seconds < 3600) return twoUnits(Math.floor(seconds / 60), 'm', seconds % 60, 's');
  const minutes = Math.round(durationMs / 60_000);
  if (minutes < 1440) return twoUnits(Math.floor(minutes / 60), 'h', minutes % 60, 'm');
  const hours = Math.round(durationMs / 3_600_000);
  return twoUnits(Math.floor(hours / 24), 'd', hours % 24, 'h');
}

function twoUnits(major: number, majorUnit: string, minor: number, minorUnit: string): string {
  return minor === 0 ? `${major} ${majorUnit}` : `${major} ${majorUnit} ${minor} ${minorUnit}`;
}

const SIZE_PREFIXES = ['', 'k', 'm', 'g', 't', 'p'];

/**
 * Bytes of "4096", "64KiB", "64K", "1G" (powers of 1024, as in rsync) and "1kB", "5MB" (powers of 1000).
 * @throws LockstepError USAGE, naming the text; also beyond 2^53-1.
 */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?b)?$/i.exec(text.trim());
  if (match === null) throw wrongValue('size', text, '64KiB, 10MB or 1G');
  const [, amount, prefix = '', suffix] = match;
  const base = suffix?.toLowerCase() === 'b' && prefix !== '' ? 1000 : 1024;
  const sizeBytes = Math.round(Number(amount) * base ** SIZE_PREFIXES.indexOf(prefix.toLowerCase()));
  if (!Number.isSafeInteger(sizeBytes)) throw wrongValue('size', text, '64KiB, 10MB or 1G');
  return sizeBytes;
}

/** "17 B", "1.2 kB", "640 MB": powers of 1000, three significant digits at most. */
export function formatBytes(sizeBytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let value = sizeBytes;
  let unit = 0;
  while (Math.abs(value) >= (unit === 0 ? 1000 : 999.5) && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  const rounded = unit === 0 || Math.abs(value) >= 99.95 ? Math.round(value) : Number(value.toFixed(1));
  return `${rounded} ${units[unit]}`;
}

/** Below this nothing would ever arrive, in bytes per second. */
export const MIN_RATE = 1000;

/**
 * Bytes per second of "2MB/s", "500kB/s" or a size alone; undefined for "off".
 * @throws LockstepError USAGE, naming the text; also below MIN_RATE.
 */
export function parseRate(text: string): number | undefined {
  const trimmed = text.trim();
  if (trimmed === 'off') return undefined;
  const match = /^(.+?)(?:\/s)?$/.exec(trimmed);
  const rate = /^\d/.test(trimmed) && match?.[1] !== undefined ? sizeOrUndefined(match[1]) : undefined;
  if (rate === undefined) throw wrongValue('rate', text, '2MB/s, 500kB/s or off');
  if (rate >= MIN_RATE) return rate;
  throw new LockstepError('USAGE', `"${text}" would let nothing through; the lowest rate is ${formatRate(MIN_RATE)}`);
}

/** "2 MB/s"; "off" for no limit. */
export function formatRate(bytesPerSecond: number | undefined): string {
  return bytesPerSecond === undefined ? 'off' : `${formatBytes(bytesPerSecond)}/s`;
}

function sizeOrUndefined(text: string): number | undefined {
  try {
    return parseSize(text);
  } catch {
    // The caller says what was expected of the whole.
    return undefined;
  }
}

/** How many deletes at once are taken for granted: a number of entries, or a share of the tree. */
export type DeleteLimit =
  | { readonly kind: 'entries'; readonly entries: number }
  | { readonly kind: 'percent'; readonly percent: number };

/**
 * "1000" is a number of entries, "50%" a share (0..100) of the entries known.
 * @throws LockstepError USAGE, naming the text.
 */
export function parseDeleteLimit(text: string): DeleteLimit {
  const match = /^(\d+)(%?)$/.exec(text.trim());
  const value = Number(match?.[1]);
  if (match === null || !Number.isSafeInteger(value)) throw wrongValue('delete limit', text, '1000 or 50%');
  if (match[2] !== '%') return { kind: 'entries', entries: value };
  if (value > 100) throw wrongValue('delete limit', text, '1000 or 50%');
  return { kind: 'percent', percent: value };
}

function wrongValue(what: string, text: string, examples: string): LockstepError {
  return new LockstepError('USAGE', `"${text}" is not a ${what}; write for example ${examples}`);
}
