/**
 * `sync-watcher watch`: watches until it is told to stop, or looks once; one directory, or those of the `[[watch]]` tables,
 * which go their own ways in one process.
 */
import { assertCanSync } from '../../../common/fs/descriptor.ts';
import { enterOwnHandles } from '../../../common/fs/own-handles.ts';
import { describeError, ExitCode, LockstepError } from '../../../common/ops/errors.ts';
import type { Logger } from '../../../common/ops/logger.ts';
import { setIoPriority } from '../../../common/ops/io-priority.ts';
import { beNice } from '../../../common/ops/nice.ts';
import { assertPermitted } from '../../../common/ops/permissions.ts';
import { printedConfiguration } from '../../../common/ops/print-configuration.ts';
import { onHangup, reload } from '../../../common/ops/reload.ts';
import { serviceManager } from '../../../common/ops/service-manager.ts';
import { onTermination } from '../../../common/ops/shutdown.ts';
import { isReachableFromAnywhere } from '../../../common/rpc/address.ts';
import type { EngineThreads } from '../engine-thread.ts';
import { exitCodeOfWatcher } from '../exit-code.ts';
import type { MetricsPort } from '../status/metrics-port.ts';
import { openStateDirectory, prepareWatchedDirectory } from '../status/state-directory.ts';
import { Bandwidth } from '../push/bandwidth.ts';
import { Watcher, type WatcherOptions } from '../watcher.ts';
import { bandwidthSettings } from './bandwidth-schedule.ts';
import { resolveWatches, type WatchOptions } from './configuration.ts';
import type { CommandContext } from './context.ts';
import { printedTables } from './printed-tables.ts';
import { hideInvitation } from './server-choice.ts';
import { SharedReadyFile } from './shared-ready-file.ts';
import { Surroundings, type Voice } from './surroundings.ts';
import { planWatch, requireCompatible, type WatchPlan } from './watch-plan.ts';

/** A clean stop is done in less (E116); what still hangs then is cut off by the second deadline of the parts. */
const STOP_DEADLINE_MS = 9_500;

interface Prepared {
  readonly plan: WatchPlan;
  readonly options: WatcherOptions;
}

export async function watch(
  flags: Readonly<Record<string, unknown>>,
  context: CommandContext,
  engines: EngineThreads,
): Promise<ExitCode> {
  hideInvitation(flags);
  const all = resolveWatches(flags, context);
  const [first] = all;
  if (first === undefined) throw new LockstepError('INTERNAL', 'nothing is to be watched');
  const { values } = first;
  if (values.printConfig) {
    process.stdout.write(printedConfiguration(printedTables(all, context)));
    return ExitCode.OK;
  }
  assertPermitted('worker', 'sync-watcher');
  assertCanSync();
  if (all.some((one) => one.values.onSynced !== undefined)) assertPermitted('child', '--on-synced');
  if (values.nice !== undefined) beNice(values.nice);
  if (values.ioPriority !== undefined) setIoPriority(values.ioPriority);
  // What cannot work is said before anything is made.
  const plans = all.map((resolved) => planWatch(resolved, context));
  requireCompatible(plans);
  if (plans.every(({ address }) => isReachableFromAnywhere(address))) enterOwnHandles();
  using locks = new DisposableStack();
  const prepared = plans.map((plan): Prepared => {
    const directory = prepareWatchedDirectory(plan.dir, plan.stateDirectory, plan.create);
    locks.use(openStateDirectory(plan.stateDirectory, directory));
    return { plan, options: plan.optionsFor(directory) };
  });
  const surroundings = new Surroundings(values);
  const { logger } = surroundings;
  using manager = serviceManager(logger);
  await using metrics = await startMetrics(values, prepared, logger);
  const ready = sharedReadyFile(
    all.map(({ values: { readyFile } }) => readyFile),
    metrics?.address.text,
  );
  const watchers: { readonly dir: string; readonly watcher: Watcher }[] = [];
  const bandwidth = new Bandwidth(bandwidthSettings(values));
  const runOne = async ({ plan, options }: Prepared, voice: Voice): Promise<ExitCode> => {
    const { directory } = options.engine;
    const watcher = new Watcher(ready === undefined ? options : { ...options, readyFile: undefined }, {
      ...voice,
      bandwidth,
      metrics,
      startEngine: (engineOptions) => engines.start(engineOptions),
      onReady: (revision) => ready?.isReady(directory, revision),
    });
    watchers.push({ dir: plan.dir, watcher });
    return watcher.run();
  };
  const stopListening = onTermination(async (signal) => {
    logger.info({ signal }, 'stopping');
    manager.stopping();
    setTimeout(() => {
      logger.error('the watcher did not stop in time');
      process.exit(1);
    }, STOP_DEADLINE_MS).unref();
    // To watch ends with a stop; what was to be done once is not done then.
    const exitCode = values.once || values.dryRun ? ExitCode[signal] : ExitCode.OK;
    for (const { watcher } of watchers) watcher.stop(exitCode);
  });
  const stopReloading = onHangup(logger, () => {
    reload({
      logger,
      logFile: surroundings.logFile,
      settings: all.map(({ settings }) => settings),
      resolve: () => {
        const now = resolveWatches(flags, context);
        if (now[0] !== undefined) bandwidth.configure(bandwidthSettings(now[0].values));
        for (const { dir, watcher } of watchers) {
          const its = now.find(({ values }) => values.dir === dir);
          if (its !== undefined) watcher.exclude(its.values.exclude);
        }
        return {
          logLevel: now[0]?.values.logLevel ?? 'info',
          settings: now.map(({ settings }) => settings),
          takenOver: ['bandwidth-limit', 'bandwidth', 'exclude'],
        };
      },
    });
  });
  try {
    const running = prepared.map((one) => {
      const { plan, options } = one;
      const voice = surroundings.voiceOf(options.engine.directory, all.length === 1);
      if (plan.exposesToken) {
        voice.logger.warn(`the token travels to ${options.address.text} unencrypted, because of --insecure`);
      }
      const result = runOne(one, voice);
      return all.length === 1 ? result : endedAlone(result, voice);
    });
    // Not only when the first sync is done: that may take hours, and whoever waits for it has --ready-file.
    manager.ready(`watching ${prepared.length} ${prepared.length === 1 ? 'directory' : 'directories'}`);
    return worstOf(await Promise.all(running));
  } finally {
    stopListening();
    stopReloading();
    if (!values.once) ready?.remove();
  }
}

/** Undefined when it is off. Nothing of it is loaded then. @throws LockstepError USAGE when the port cannot be had */
async function startMetrics(
  { metrics: address, dryRun }: WatchOptions['values'],
  prepared: readonly Prepared[],
  logger: Logger,
): Promise<MetricsPort | undefined> {
  if (address === undefined || dryRun) return undefined;
  const { MetricsPort } = await import('../status/metrics-port.ts');
  const watched = prepared.map(({ options }) => ({
    folder: options.engine.folder,
    server: options.address.text,
    security: options.security,
  }));
  const port = await MetricsPort.start({ address, watched, logger });
  logger.info({ metrics: port.address.text }, 'metrics are served');
  return port;
}

/** One of several: what ends it does not end the others. */
async function endedAlone(result: Promise<ExitCode>, { logger, complain }: Voice): Promise<ExitCode> {
  try {
    return await result;
  } catch (error) {
    complain(describeError(error));
    logger.error({ err: error }, 'this directory is not watched any more; the others are');
    return error instanceof LockstepError ? exitCodeOfWatcher(error.reason) : ExitCode.SOME_FAILED;
  }
}

/** The statuses are ordered by how much a person has to do about them. */
function worstOf(codes: readonly ExitCode[]): ExitCode {
  return codes.reduce((worst, code) => (code > worst ? code : worst), ExitCode.OK);
}

/** Where several are to make the same file, it is made when all of them are ready. */
function sharedReadyFile(
  paths: readonly (string | undefined)[],
  metrics: string | undefined,
): SharedReadyFile | undefined {
  const [first] = paths;
  if (paths.length === 1 || first === undefined) return undefined;
  const isShared = paths.every((path) => path === first);
  return isShared ? new SharedReadyFile(first, paths.length, metrics) : undefined;
}
