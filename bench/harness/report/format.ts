/**
 * Figures as people read them. Pure.
 */
import type { Row, Target, Unit } from '../outcome.ts';

const THIN_SIGNIFICANCE = 3;

/** Three digits that matter, never in scientific notation. */
export function formatNumber(value: number): string {
  if (value === 0) return '0';
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en');
  return Number(value.toPrecision(THIN_SIGNIFICANCE)).toString();
}

export function formatBytes(bytes: number): string {
  if (bytes < 10_000) return `${Math.round(bytes)} B`;
  if (bytes < 1e6) return `${formatNumber(bytes / 1e3)} kB`;
  return bytes < 1e9 ? `${formatNumber(bytes / 1e6)} MB` : `${formatNumber(bytes / 1e9)} GB`;
}

export function formatValue(value: number, unit: Unit): string {
  switch (unit) {
    case 'B':
      return formatBytes(value);
    case 'percent':
      return `${formatNumber(value)} %`;
    case 'factor':
      return formatNumber(value);
    case 'files':
      return `${formatNumber(value)} files`;
    case 's':
    case 'ms':
      return `${formatNumber(value)} ${unit}`;
  }
}

export function formatTarget(target: Target, unit: Unit): string {
  switch (target.kind) {
    case 'ratio':
      return `ratio ≤ ${target.atMost}`;
    case 'value':
      return `≤ ${formatBound(target.atMost, unit)}`;
    case 'least':
      return `≥ ${formatBound(target.atLeast, unit)}`;
  }
}

/** As it was set: in the powers of two, where it is a whole number of them. */
function formatBound(bound: number, unit: Unit): string {
  return unit === 'B' && bound > 0 && bound < 1024 ** 2 && bound % 1024 === 0
    ? `${bound / 1024} KiB`
    : formatValue(bound, unit);
}

export function formatTargets(row: Row): string {
  return row.targets.map((target) => formatTarget(target, row.unit)).join(', ');
}

/** "–" for what is not known. */
export function formatOr<T>(value: T | null, format: (known: T) => string): string {
  return value === null ? '–' : format(value);
}

export function formatMet(met: boolean | null): string {
  if (met === null) return '–';
  return met ? 'yes' : 'no';
}
