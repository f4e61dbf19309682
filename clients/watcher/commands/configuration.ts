/**
 * From flags, environment and file to a command's options: once for a command about one directory, once per directory for
 * `watch`, which may have several `[[watch]]` tables in its file.
 */
import {
  type ConfigurationFile,
  fileKeysOf,
  fileOrigin,
  type OptionDeclarations,
  readConfigurationFile,
  rejectUnknownKeys,
  type ResolvedOptions,
  resolveOptions,
} from '../../../common/ops/configuration.ts';
import { tableOrigin, tablesOf, withCommonKeys } from '../../../common/ops/configuration-tables.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { displayText } from '../../../common/tree/display-path.ts';
import { realPathOf } from '../status/state-directory.ts';
import type { CommandContext } from './context.ts';
import { processOptions, watchOptions } from './options.ts';

type Flags = Readonly<Record<string, unknown>>;
/** The options of one directory that is watched. */
export type WatchOptions = ResolvedOptions<typeof watchOptions>;

const TABLE = 'watch';
const PROCESS_KEYS: readonly string[] = fileKeysOf(processOptions);
/** All commands read the same file, and each needs only some of it. */
const FILE_KEYS: readonly string[] = fileKeysOf(watchOptions);
const TABLE_KEYS = FILE_KEYS.filter((key) => !PROCESS_KEYS.includes(key));
/** What two directories can never have in common. */
const ONLY_IN_TABLES = ['dir', 'state'];

/** The options of a command about one directory. @throws LockstepError USAGE, also when it is not clear which one */
export function resolveCommand<const D extends OptionDeclarations>(
  declarations: D,
  flags: Flags,
  context: CommandContext,
): ResolvedOptions<D> {
  const sections = sectionsFor(flags, context);
  if (sections.length > 1) {
    const names = sections.map((section) => displayText(String(section?.content['dir']))).join(', ');
    throw new LockstepError('USAGE', `tell which directory with --dir: ${names}`);
  }
  return resolveSection(declarations, sections[0], flags, context);
}

/** The options of each directory that is to be watched; never none. @throws LockstepError USAGE */
export function resolveWatches(flags: Flags, context: CommandContext): readonly WatchOptions[] {
  return sectionsFor(flags, context).map((section) => resolveSection(watchOptions, section, flags, context));
}

function resolveSection<const D extends OptionDeclarations>(
  declarations: D,
  file: ConfigurationFile | undefined,
  flags: Flags,
  { environment }: CommandContext,
): ResolvedOptions<D> {
  return resolveOptions(declarations, { flags, environment, file, otherFileKeys: FILE_KEYS });
}

/** The file as each directory sees it; those of other directories are left away when `--dir` names one. */
function sectionsFor(flags: Flags, { environment }: CommandContext): readonly (ConfigurationFile | undefined)[] {
  const path = given(flags['config'], environment['LOCKSTEP_CONFIG']);
  if (path === undefined) return [undefined];
  const file = readConfigurationFile(path);
  const tables = tablesOf(file, TABLE);
  if (tables === undefined) return [file];
  rejectUnknownKeys(file, [...FILE_KEYS, TABLE]);
  for (const key of ONLY_IN_TABLES) {
    if (!Object.hasOwn(file.content, key)) continue;
    const message = `${fileOrigin(file, key)}: there are [[${TABLE}]] tables; give ${key} in them, not above them`;
    throw new LockstepError('USAGE', message);
  }
  for (const table of tables) checkTable(table);
  const wanted = given(flags['dir'], environment['LOCKSTEP_DIR']);
  const chosen = wanted === undefined ? tables : tables.filter((table) => isSame(table.content['dir'], wanted));
  if (chosen.length === 0) {
    const names = tables.map((table) => displayText(String(table.content['dir']))).join(', ');
    throw new LockstepError('USAGE', `no [[${TABLE}]] in ${path} is for ${wanted}; there are: ${names}`);
  }
  return chosen.map((table) => withCommonKeys(table, file, TABLE));
}

function checkTable(table: ConfigurationFile): void {
  for (const key of Object.keys(table.content)) {
    if (!PROCESS_KEYS.includes(key)) continue;
    const message = `${fileOrigin(table, key)}: ${key} is for all directories; give it above the first [[${TABLE}]]`;
    throw new LockstepError('USAGE', message);
  }
  rejectUnknownKeys(table, TABLE_KEYS);
  if (typeof table.content['dir'] === 'string') return;
  if (Object.hasOwn(table.content, 'dir')) {
    throw new LockstepError('USAGE', `${fileOrigin(table, 'dir')}: dir must be a text`);
  }
  throw new LockstepError('USAGE', `${tableOrigin(table)}: each [[${TABLE}]] needs a dir`);
}

function isSame(dir: unknown, wanted: string): boolean {
  return typeof dir === 'string' && realPathOf(dir) === realPathOf(wanted);
}

/** An empty variable is an unset one. */
function given(flag: unknown, variable: string | undefined): string | undefined {
  if (typeof flag === 'string') return flag;
  return variable === undefined || variable === '' ? undefined : variable;
}
