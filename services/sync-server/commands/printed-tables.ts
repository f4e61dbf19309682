/**
 * What `sync-server --print-config` shows: the settings of the process, and the folders with their computed state directories.
 */
import * as z from 'zod/mini';
import { type OptionValues, type Setting, fileOrigin } from '../../../common/ops/configuration.ts';
import { tablesOf } from '../../../common/ops/configuration-tables.ts';
import { defaultLogFormat, isOnTerminal } from '../../../common/ops/logger.ts';
import type { PrintedTable } from '../../../common/ops/print-configuration.ts';
import type { FolderSetup } from '../server.ts';
import { DEFAULT_FOLDER, REFUSE_LINKS } from './folders.ts';
import type { ResolvedCommand, serveOptions } from './options.ts';

type Resolved = Omit<ResolvedCommand<typeof serveOptions>, 'values'> & {
  readonly values: Pick<OptionValues<typeof serveOptions>, 'folder' | 'logFile'>;
};

/** What tells how to look at settings is none. */
const LEFT_OUT = new Set(['config', 'print-config']);
const OF_FOLDERS = new Set(['dir', 'state', 'folder']);

/** One folder without a table: all in one; with tables: what is for all, and a table for each. */
export function printedTables(
  { settings, values, file }: Resolved,
  folders: readonly FolderSetup[],
): readonly PrintedTable[] {
  const shown = settings
    .filter(({ name }) => !LEFT_OUT.has(name))
    .map((setting) => withLogFormat(setting, values.logFile));
  const nameInFile = file?.content['folder'];
  const tables = file === undefined || typeof nameInFile === 'string' ? undefined : tablesOf(file, 'folder');
  if (tables === undefined) {
    const [only] = folders;
    return [
      {
        settings: shown.map((setting) => {
          if (setting.name === 'state') return { ...setting, written: setting.written ?? only?.stateDirectory };
          if (setting.name !== 'folder' || values.folder !== undefined) return setting;
          return file !== undefined && typeof nameInFile === 'string'
            ? made('folder', nameInFile, fileOrigin(file, 'folder'))
            : made('folder', DEFAULT_FOLDER, 'default');
        }),
      },
    ];
  }
  return [
    { settings: shown.filter(({ name }) => !OF_FOLDERS.has(name)) },
    ...folders.map(({ name, directory, stateDirectory, refusesEscapingLinks, keepsOwners = false }, index) => {
      const origin = (key: string) => {
        const table = tables[index];
        return table === undefined || !Object.hasOwn(table.content, key) ? 'default' : fileOrigin(table, key);
      };
      return {
        name: 'folder',
        settings: [
          made('name', name, origin('name')),
          made('dir', directory, origin('dir')),
          made('state', stateDirectory, origin('state')),
          ...(origin(REFUSE_LINKS) === 'default'
            ? []
            : [made(REFUSE_LINKS, String(refusesEscapingLinks), origin(REFUSE_LINKS))]),
          ...(origin('owner') === 'default' ? [] : [made('owner', keepsOwners, origin('owner'))]),
        ],
      };
    }),
  ];
}

function withLogFormat(setting: Setting, logFile: string | undefined): Setting {
  if (setting.name !== 'log-format' || setting.written !== undefined) return setting;
  return { ...setting, written: defaultLogFormat(isOnTerminal(logFile)) };
}

function made(name: string, written: string | boolean, origin: string): Setting {
  return { name, written, origin, source: 'file', declaration: { description: '', schema: z.string() } };
}
