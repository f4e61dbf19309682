/**
 * What `--print-config` prints: settings as a TOML file that means the same, with the origin of each. Pure.
 */
import { stringify } from 'smol-toml';
import type { Setting } from './configuration.ts';
import { printable } from './errors.ts';

export interface PrintedTable {
  /** "folder" for `[[folder]]`; undefined for what stands above all tables. */
  readonly name?: string | undefined;
  readonly settings: readonly Setting[];
}

const NOT_SHOWN = '(not shown)';

/** With a line break at the end. Secrets are never in it, whatever they were set by. */
export function printedConfiguration(tables: readonly PrintedTable[]): string {
  return tables
    .map(({ name, settings }) => `${name === undefined ? '' : `\n[[${name}]]\n`}${table(settings)}`)
    .join('');
}

function table(settings: readonly Setting[]): string {
  const rows = settings.map((setting) => [assignment(setting), setting] as const);
  const width = Math.max(0, ...rows.map(([text]) => (text.length > MAX_ALIGNED_CHARS ? 0 : text.length)));
  return rows.map(([text, { origin }]) => `${text.padEnd(width)}  # ${printable(origin)}\n`).join('');
}

/** Longer values do not push the origins of all others away. */
const MAX_ALIGNED_CHARS = 60;

const BARE_KEY = /^[A-Za-z0-9_-]+$/;

/** Tables as well: headed by their name they would swallow the settings behind them. */
function inline(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? '[]' : `[ ${value.map(inline).join(', ')} ]`;
  if (typeof value !== 'object' || value === null || value instanceof Date) {
    return stringify({ value })
      .trimEnd()
      .replace(/^value = /, '');
  }
  return `{ ${Object.entries(value)
    .map(([key, inner]) => `${BARE_KEY.test(key) ? key : JSON.stringify(key)} = ${inline(inner)}`)
    .join(', ')} }`;
}

/** What cannot be in a file, or is set by nobody, is a comment. */
function assignment({ name, declaration, written }: Setting): string {
  if (written === undefined) return `# ${name} =`;
  if (declaration.secret) return `# ${name} = ${NOT_SHOWN}`;
  const text = `${name} = ${inline(written)}`;
  return declaration.file === false ? `# ${text}` : text;
}
