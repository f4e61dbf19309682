/**
 * `sync-watcher watch`: watches until it is told to stop, or looks once.
 */
import { writeSync } from 'node:fs';
import type { OptionValues } from '../../../common/ops/configuration.ts';
import type { ExitCode } from '../../../common/ops/errors.ts';
import { createLogger, type Logger } from '../../../common/ops/logger.ts';
import { prettyDestination } from '../../../common/ops/pretty-log.ts';
import { onTermination } from '../../../common/ops/shutdown.ts';
import { DEFAULT_MASS_DELETE_LIMIT } from '../observe/mass-delete-guard.ts';
import type { EngineOptions } from '../engine/messages.ts';
import { startEngine } from '../engine-thread.ts';
import { channelCredentials, readToken } from '../push/credentials.ts';
import { Progress, progressKind } from '../status/progress.ts';
import { defaultStateDirectory, openStateDirectory, prepareWatchedDirectory } from '../status/state-directory.ts';
import { Watcher } from '../watcher.ts';
import type { CommandContext } from './context.ts';
import { resolveCommand, watchOptions } from './options.ts';
import { hideInvitation, serverChoice } from './server-choice.ts';

const STDOUT = 1;
const STDERR = 2;
const DEFAULT_SCAN_INTERVAL_MS = 600_000;
const DEFAULT_POLL_INTERVAL_MS = 5_000;
/** A clean stop is done in less (E116); what still hangs then is cut off by the second deadline of the parts. */
const STOP_DEADLINE_MS = 9_500;

type WatchValues = OptionValues<typeof watchOptions>;

export async function watch(flags: Readonly<Record<string, unknown>>, context: CommandContext): Promise<ExitCode> {
  hideInvitation(flags);
  const resolved = resolveCommand(watchOptions, flags, context);
  const { values } = resolved;
  const server = serverChoice(resolved);
  const { address, security } = server;
  const stateDirectory = values.state ?? defaultStateDirectory(values.dir, context.environment);
  // What cannot work is said before anything is made.
  channelCredentials(address, security);
  const token = readToken(security);
  const directory = prepareWatchedDirectory(values.dir, stateDirectory, values.create);
  using _lock = openStateDirectory(stateDirectory, directory);
  const { logger, progress } = makeSurroundings(values);
  if (token !== undefined && values.insecure && !address.isLoopback) {
    logger.warn(`the token travels to ${address.text} unencrypted, because of --insecure`);
  }
  const watcher = new Watcher(
    {
      engine: engineOptions(values, server.folder, directory, stateDirectory),
      address,
      security,
      timeoutMs: values.timeout,
      takeOver: values.takeOver,
      readyFile: values.readyFile,
    },
    {
      logger,
      progress,
      startEngine,
      writeLine: (line) => writeText(STDOUT, `${line}\n`),
      complain: (sentence) => {
        progress.clear();
        writeText(STDERR, `sync-watcher: ${sentence}\n`);
        progress.redraw();
      },
    },
  );
  const stopListening = onTermination(async (signal) => {
    logger.info({ signal }, 'stopping');
    setTimeout(() => {
      logger.error('the watcher did not stop in time');
      process.exit(1);
    }, STOP_DEADLINE_MS).unref();
    watcher.stop();
  });
  try {
    return await watcher.run();
  } finally {
    stopListening();
  }
}

function engineOptions(values: WatchValues, folder: string, directory: string, stateDirectory: string): EngineOptions {
  const defaultIntervalMs = values.watcher === 'poll' ? DEFAULT_POLL_INTERVAL_MS : DEFAULT_SCAN_INTERVAL_MS;
  return {
    directory,
    stateDirectory,
    folder,
    mode: values.dryRun ? 'dry-run' : values.once ? 'once' : 'watch',
    changeSource: values.watcher,
    scanIntervalMs: values.scanInterval ?? defaultIntervalMs,
    excludes: values.exclude,
    // Who names a limit means it, however small the tree.
    maxDelete:
      values.maxDelete === undefined ? DEFAULT_MASS_DELETE_LIMIT : { limit: values.maxDelete, floorEntries: 0 },
    acknowledgement: values.durable ? 'durable' : 'applied',
  };
}

/** Logs and the living line share a terminal: whoever writes a log line lifts the living one first. */
function makeSurroundings(values: WatchValues): { readonly logger: Logger; readonly progress: Progress } {
  const isTerminal = process.stderr.isTTY === true;
  const format = values.logFormat ?? (isTerminal ? 'pretty' : 'json');
  const raw = {
    write: (line: string) => {
      progress.clear();
      writeText(STDERR, line);
      progress.redraw();
    },
  };
  const colors = isTerminal && (process.env['NO_COLOR'] ?? '') === '' && process.env['TERM'] !== 'dumb';
  const destination = format === 'pretty' ? prettyDestination(raw, { colors }) : raw;
  const logger = createLogger({ name: 'watcher', level: values.logLevel, format: 'json', destination });
  const progress = new Progress(progressKind(values.progress, isTerminal && values.logLevel !== 'silent'), {
    logger,
    writeLine: (line) => writeText(STDOUT, `${line}\n`),
    terminal: {
      get columns() {
        return process.stderr.columns ?? 80;
      },
      write: (text) => writeText(STDERR, text),
    },
  });
  return { logger, progress };
}

/** Synchronous, so that the last line before an exit is not lost. */
function writeText(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (error) {
      // A pipe whose reader is slow says "again"; one whose reader is gone has nobody who could miss the line.
      if (!(error instanceof Error && 'code' in error && error.code === 'EAGAIN')) return;
    }
  }
}
