/**
 * What is to be watched, from the options of each directory: checked as far as that is possible before anything is made.
 */
import type { OptionValues } from '../../../common/ops/configuration.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { Address } from '../../../common/rpc/address.ts';
import { displayText } from '../../../common/tree/display-path.ts';
import { DEFAULT_MASS_DELETE_LIMIT } from '../observe/mass-delete-guard.ts';
import type { EngineOptions } from '../engine/messages.ts';
import { channelCredentials, readToken } from '../push/credentials.ts';
import { isWithin } from '../../../common/fs/nesting.ts';
import { defaultStateDirectory, realPathOf } from '../status/state-directory.ts';
import type { WatcherOptions } from '../watcher.ts';
import type { WatchOptions } from './configuration.ts';
import type { CommandContext } from './context.ts';
import type { watchOptions } from './options.ts';
import { serverChoice } from './server-choice.ts';

type WatchValues = OptionValues<typeof watchOptions>;

const DEFAULT_SCAN_INTERVAL_MS = 600_000;
const DEFAULT_POLL_INTERVAL_MS = 5_000;

export interface WatchPlan {
  /** As the user named it. */
  readonly dir: string;
  readonly stateDirectory: string;
  readonly address: Address;
  /** On the server. */
  readonly folder: string;
  /** Make the directory when it is missing. */
  readonly create: boolean;
  /** The token goes over a network in the clear, because that was asked for. */
  readonly exposesToken: boolean;
  /** The rest, once the directory's real path is known. */
  optionsFor(directory: string): WatcherOptions;
}

/** @throws LockstepError USAGE */
export function planWatch(resolved: WatchOptions, { environment }: CommandContext): WatchPlan {
  const { values } = resolved;
  const { address, security, folder } = serverChoice(resolved);
  const stateDirectory = values.state ?? defaultStateDirectory(values.dir, environment);
  channelCredentials(address, security);
  const token = readToken(security);
  return {
    dir: values.dir,
    stateDirectory,
    address,
    folder,
    create: values.create,
    exposesToken: token !== undefined && values.insecure && !address.isLoopback,
    optionsFor: (directory) => ({
      engine: engineOptions(values, folder, directory, stateDirectory),
      address,
      security,
      timeoutMs: values.timeout,
      takeOver: values.takeOver,
      localFiles: values.localFiles,
      readyFile: values.readyFile,
      onSynced:
        values.onSynced === undefined
          ? undefined
          : { command: values.onSynced, environment, timeoutMs: values.onSyncedTimeout },
    }),
  };
}

/** @throws LockstepError USAGE when two of several directories would get in each other's way */
export function requireCompatible(plans: readonly WatchPlan[]): void {
  const real = plans.map(({ dir, stateDirectory, address, folder }) => ({
    dir: realPathOf(dir),
    state: realPathOf(stateDirectory),
    stateDirectory,
    address,
    folder,
  }));
  for (const [index, one] of real.entries()) {
    for (const other of real.slice(index + 1)) {
      if (one.dir === other.dir) throw new LockstepError('USAGE', `${one.dir} is to be watched twice`);
      const both = `${one.dir} and ${other.dir}`;
      if (one.state === other.state) {
        const message = `${both} have the same state directory ${one.stateDirectory}; give each its own`;
        throw new LockstepError('USAGE', message);
      }
      if (one.folder !== other.folder || serverOf(one.address) !== serverOf(other.address)) continue;
      const where = `folder "${displayText(one.folder)}" of ${one.address.text}`;
      const message = `${both} are both to be kept in step with ${where}, which follows one directory; give each its own folder`;
      throw new LockstepError('USAGE', message);
    }
    const around = real.find(({ dir }) => isWithin(one.state, dir));
    if (around === undefined || around === one) continue;
    const where = `lies inside ${around.dir}, which is watched as well`;
    throw new LockstepError('USAGE', `the state directory ${one.stateDirectory} ${where}; give another`);
  }
}

/** The same for all ways of writing this machine; other names are taken as they are. */
function serverOf(address: Address): string {
  if (address.kind === 'unix') return `unix:${realPathOf(address.path)}`;
  return `${address.isLoopback ? 'localhost' : address.host.toLowerCase()}:${address.port}`;
}

function engineOptions(values: WatchValues, folder: string, directory: string, stateDirectory: string): EngineOptions {
  return {
    directory,
    stateDirectory,
    folder,
    mode: values.dryRun ? 'dry-run' : values.once ? 'once' : 'watch',
    changeSource: values.watcher,
    scanIntervalMs: values.scanInterval ?? defaultScanIntervalMs(values),
    excludes: values.exclude,
    owner: values.owner,
    // Who names a limit means it, however small the tree.
    maxDelete:
      values.maxDelete === undefined ? DEFAULT_MASS_DELETE_LIMIT : { limit: values.maxDelete, floorEntries: 0 },
    acknowledgement: values.durable ? 'durable' : 'applied',
    hardLinks: values.hardLinks,
  };
}

export function defaultScanIntervalMs({ watcher }: Pick<WatchValues, 'watcher'>): number {
  return watcher === 'poll' ? DEFAULT_POLL_INTERVAL_MS : DEFAULT_SCAN_INTERVAL_MS;
}
