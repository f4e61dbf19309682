/**
 * SIGHUP: opens the log file anew and takes over from the configuration what can be taken over while work goes on; tells of
 * the rest that it needs a restart. Knows no program; each says how its options are resolved again.
 */
import { closeSync, openSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { Setting } from './configuration.ts';
import type { LogFile } from './log-file.ts';
import { type Logger, setLogLevel } from './logger.ts';
import type { LogLevel, LogLevels } from './log-levels.ts';

export interface Reloaded {
  readonly logLevel: LogLevel | LogLevels;
  readonly settings: readonly (readonly Setting[])[];
  /** Names of settings whose new values the program has taken over by itself. */
  readonly takenOver?: readonly string[] | undefined;
}

export interface Reloadable {
  readonly logger: Logger;
  readonly logFile: LogFile | undefined;
  /** What the process was started with, a list for each directory or folder. */
  readonly settings: readonly (readonly Setting[])[];
  /** Reads flags, environment and file again. @throws LockstepError */
  readonly resolve: () => Reloaded;
}

/** Their values come into use by themselves or are of no use while the process runs. */
const TAKEN_OVER = new Set(['log-level']);

/** Never throws: a wrong file is told about, and all goes on as it was. */
export function reload({ logger, logFile, settings, resolve }: Reloadable): void {
  const reloaded: string[] = [];
  if (logFile !== undefined) {
    try {
      logFile.reopen();
      reloaded.push('log-file');
    } catch (error) {
      logger.error({ err: error }, 'the log file cannot be opened again');
    }
  }
  try {
    const now = resolve();
    if (setLogLevel(logger, now.logLevel)) reloaded.push('log-level');
    const changed = changedSettings(settings, now.settings).filter((name) => !TAKEN_OVER.has(name));
    reloaded.push(...changed.filter((name) => now.takenOver?.includes(name)));
    const restart = changed.filter((name) => now.takenOver?.includes(name) !== true);
    const what =
      restart.length === 0 ? 'reloaded' : `reloaded; changed, but taken over only by a restart: ${restart.join(', ')}`;
    // Also with a level that hides what is usual: somebody has asked.
    logger[logger.isLevelEnabled('info') ? 'info' : 'error']({ reloaded, needs_restart: restart }, what);
  } catch (error) {
    logger.error({ err: error, reloaded }, 'the configuration cannot be used; all goes on as it was');
  }
}

/** Names of settings that are not what they were, each once, and "tables" when there are more or fewer of them. Pure. */
export function changedSettings(
  before: readonly (readonly Setting[])[],
  after: readonly (readonly Setting[])[],
): readonly string[] {
  const changed = new Set<string>();
  if (before.length !== after.length) changed.add('tables');
  for (const [index, settings] of before.entries()) {
    const others = new Map((after[index] ?? settings).map(({ name, written }) => [name, JSON.stringify(written)]));
    for (const { name, written } of settings) {
      if (others.get(name) !== JSON.stringify(written)) changed.add(name);
    }
  }
  return [...changed];
}

/**
 * Calls the handler at each SIGHUP. A program whose terminal is gone is stopped by the signal as ever, cleanly: it gets a
 * SIGTERM of its own. On Windows the signal says that the console was closed, and nothing else.
 * @returns a function that takes the listener down again.
 */
export function onHangup(logger: Logger, handler: () => void): () => void {
  // nohup leaves none of the three on the terminal, and means that the program goes on without it.
  const hadTerminal = [0, 1, 2].some((fd) => isatty(fd));
  const onSignal = () => {
    if (process.platform !== 'win32' && (!hadTerminal || hasTerminal())) {
      handler();
      return;
    }
    // There is nothing left to write to, and trying is an error that would get in the way of the stop.
    setLogLevel(logger, 'silent');
    // Not by the system: Windows would end the process at once.
    if (!process.emit('SIGTERM', 'SIGTERM')) process.kill(process.pid, 'SIGTERM');
  };
  process.on('SIGHUP', onSignal);
  return () => process.off('SIGHUP', onSignal);
}

function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    // ENXIO, EIO: there is none any more.
    return false;
  }
}
