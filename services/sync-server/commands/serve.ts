/**
 * `sync-server serve`: runs until it is told to stop.
 */
import { Deferred } from '../../../common/ops/async.ts';
import { enterOwnHandles } from '../../../common/fs/own-handles.ts';
import { ExitCode, LockstepError } from '../../../common/ops/errors.ts';
import { setIoPriority } from '../../../common/ops/io-priority.ts';
import { LogFile } from '../../../common/ops/log-file.ts';
import { createLogger } from '../../../common/ops/logger.ts';
import { beNice } from '../../../common/ops/nice.ts';
import { assertPermitted } from '../../../common/ops/permissions.ts';
import { printedConfiguration } from '../../../common/ops/print-configuration.ts';
import { onHangup, reload } from '../../../common/ops/reload.ts';
import { serviceManager } from '../../../common/ops/service-manager.ts';
import { onTermination } from '../../../common/ops/shutdown.ts';
import { isReachableFromAnywhere } from '../../../common/rpc/address.ts';
import type { TlsFiles } from '../auth/tls.ts';
import type { ScrubSettings } from '../replica/scrub.ts';
import { startServer } from '../server.ts';
import type { CommandContext } from './context.ts';
import { allFolders, ensureDirectory } from './folders.ts';
import { resolveCommand, serveOptions } from './options.ts';
import { printedTables } from './printed-tables.ts';

/** Longer than any clean stop takes; shorter than what supervisors wait before they kill. */
const STOP_DEADLINE_MS = 9000;

export async function serve(flags: Readonly<Record<string, unknown>>, context: CommandContext): Promise<ExitCode> {
  const resolved = resolveCommand(serveOptions, flags, context);
  const { values, sources, file } = resolved;
  const folders = allFolders(values, file);
  if (values.printConfig) {
    process.stdout.write(printedConfiguration(printedTables(resolved, folders)));
    return ExitCode.OK;
  }
  assertPermitted('worker', 'sync-server');
  assertPermitted('child', 'sync-server, which syncs the replica by `sync -f`,');
  const tls = tlsFiles(values);
  if (values.nice !== undefined) beNice(values.nice);
  if (values.ioPriority !== undefined) setIoPriority(values.ioPriority);
  for (const folder of folders) ensureDirectory(folder);
  if (isReachableFromAnywhere(values.listen)) enterOwnHandles();
  const logFile = values.logFile === undefined ? undefined : new LogFile(values.logFile);
  const logger = createLogger({
    name: 'server',
    level: values.logLevel,
    format: values.logFormat,
    destination: logFile,
  });
  using manager = serviceManager(logger);
  const setup = {
    folders,
    listen: values.listen,
    http: values.http,
    httpIsOptional: sources.http === 'default',
    tls,
    insecure: values.insecure,
    readyFile: values.readyFile,
    version: context.version,
    scrub: scrubSettings(values),
  };

  const stopped = new Deferred<void>();
  // A stop that fails because the start failed is told by the start.
  stopped.promise.catch(() => undefined);
  const starting = startServer(setup, context.openFolder, logger);
  const stopListening = onTermination(async (signal) => {
    logger.info({ signal }, 'stopping');
    manager.stopping();
    const timer = setTimeout(() => {
      logger.error('the server did not stop in time');
      process.exit(ExitCode.SOME_FAILED);
    }, STOP_DEADLINE_MS).unref();
    try {
      // A signal in the middle of the start waits for it: what is half open cannot be closed cleanly.
      await (await starting).stop();
      logger.info('stopped');
      stopped.resolve();
    } catch (error) {
      stopped.reject(error);
    } finally {
      clearTimeout(timer);
    }
  });
  // Tokens and certificates come into use without being told: they are looked at by themselves.
  const stopReloading = onHangup(logger, () => {
    reload({
      logger,
      logFile,
      settings: settingsOf(resolved, folders),
      resolve: () => {
        const now = resolveCommand(serveOptions, flags, context);
        return { logLevel: now.values.logLevel, settings: settingsOf(now, allFolders(now.values, now.file)) };
      },
    });
  });
  try {
    await starting;
    manager.ready(`serving ${folders.map(({ name }) => name).join(', ')}`);
    await stopped.promise;
  } finally {
    stopListening();
    stopReloading();
  }
  return ExitCode.OK;
}

const settingsOf = (...printed: Parameters<typeof printedTables>) =>
  printedTables(...printed).map(({ settings }) => settings);

interface TlsValues {
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly tlsClientCa: string | undefined;
}

export function tlsFiles({ tlsCert, tlsKey, tlsClientCa }: TlsValues): TlsFiles | undefined {
  if (tlsCert === undefined && tlsKey === undefined) {
    if (tlsClientCa === undefined) return undefined;
    throw new LockstepError('USAGE', '--tls-client-ca needs --tls-cert and --tls-key');
  }
  if (tlsCert === undefined || tlsKey === undefined) {
    throw new LockstepError('USAGE', '--tls-cert and --tls-key belong together: give both');
  }
  return { certificate: tlsCert, key: tlsKey, clientCa: tlsClientCa };
}

interface ScrubValues {
  readonly scrubInterval: number | undefined;
  readonly scrubRate: number;
}

/** Undefined when nothing is to be read again. */
export function scrubSettings({ scrubInterval, scrubRate }: ScrubValues): ScrubSettings | undefined {
  return scrubInterval === undefined ? undefined : { intervalMs: scrubInterval, bytesPerSecond: scrubRate };
}
