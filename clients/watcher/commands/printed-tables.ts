/**
 * What `sync-watcher --print-config` shows: what holds for the process above what holds for each directory. Pure but for
 * where the state directory would be.
 */
import { type Setting, fileKeysOf } from '../../../common/ops/configuration.ts';
import { defaultLogFormat, isOnTerminal } from '../../../common/ops/logger.ts';
import type { PrintedTable } from '../../../common/ops/print-configuration.ts';
import { formatDuration } from '../../../common/ops/units.ts';
import { defaultStateDirectory } from '../status/state-directory.ts';
import type { WatchOptions } from './configuration.ts';
import type { CommandContext } from './context.ts';
import { processOptions } from './options.ts';
import { DEFAULT_FOLDER } from './server-choice.ts';
import { defaultScanIntervalMs } from './watch-plan.ts';

/** What tells how to look at settings is none. */
const LEFT_OUT = new Set(['config', 'print-config']);
const PROCESS_NAMES = new Set(fileKeysOf(processOptions));

/** One table without a name for one directory; for several, one for each behind one for all. */
export function printedTables(all: readonly WatchOptions[], context: CommandContext): readonly PrintedTable[] {
  const [first] = all;
  if (first === undefined) return [];
  const complete = all.map((resolved) => completed(resolved, context));
  if (all.length === 1) return [{ settings: complete[0] ?? [] }];
  const isForAll = ({ name }: Setting) => PROCESS_NAMES.has(name);
  return [
    { settings: (complete[0] ?? []).filter(isForAll) },
    ...complete.map((settings) => ({ name: 'watch', settings: settings.filter((setting) => !isForAll(setting)) })),
  ];
}

/** With the defaults that depend on other settings. */
function completed({ settings, values }: WatchOptions, { environment }: CommandContext): readonly Setting[] {
  const computed: Readonly<Record<string, string>> = {
    state: values.state ?? defaultStateDirectory(values.dir, environment),
    folder: values.join?.folder ?? DEFAULT_FOLDER,
    'scan-interval': formatDuration(defaultScanIntervalMs(values)).replaceAll(' ', ''),
    'log-format': defaultLogFormat(isOnTerminal(values.logFile)),
  };
  return settings
    .filter(({ name }) => !LEFT_OUT.has(name))
    .map((setting) => (setting.written === undefined ? { ...setting, written: computed[setting.name] } : setting));
}
