/**
 * Arrays of tables in a configuration file: `[[folder]]` of a server, `[[watch]]` of a watcher. A table is a file of its own,
 * with the places of its keys.
 */
import { type ConfigurationFile, fileOrigin } from './configuration.ts';
import { LockstepError } from './errors.ts';

/**
 * The tables of this name, undefined when the file has none.
 * @throws LockstepError USAGE when the key holds something else.
 */
export function tablesOf(file: ConfigurationFile, name: string): readonly ConfigurationFile[] | undefined {
  const value = file.content[name];
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || !value.every(isTable) || value.length === 0) {
    throw new LockstepError('USAGE', `${name} in ${fileOrigin(file, name)} must be tables, each headed [[${name}]]`);
  }
  return value.map((content, index) => tableFile(file, `${name}.${index}`, content));
}

/** What a table says, and for all that it does not say what stands above it. */
export function withCommonKeys(table: ConfigurationFile, file: ConfigurationFile, name: string): ConfigurationFile {
  const { [name]: _, ...common } = file.content;
  const own = new Set(Object.keys(table.content));
  const inherited = [...(file.lines ?? [])].filter(([key]) => !own.has(key));
  return {
    path: file.path,
    content: { ...common, ...table.content },
    lines: new Map([...inherited, ...(table.lines ?? [])]),
  };
}

/** Where a table begins, for messages. */
export function tableOrigin(table: ConfigurationFile): string {
  return fileOrigin(table, '');
}

function tableFile(file: ConfigurationFile, prefix: string, content: Record<string, unknown>): ConfigurationFile {
  const lines = new Map<string, number>();
  for (const [key, line] of file.lines ?? []) {
    if (key === prefix) lines.set('', line);
    if (key.startsWith(`${prefix}.`)) lines.set(key.slice(prefix.length + 1), line);
  }
  return { path: file.path, content, lines };
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}
