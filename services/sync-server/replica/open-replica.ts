/**
 * Opens a replica: lock, workers, facade. Composition only; the one entry that the server uses besides the interface.
 */
import { join, resolve } from 'node:path';
import type { ResourceLimits } from 'node:worker_threads';
import type { DigestFunction } from '../../../common/content/digest.ts';
import { acquireDirectoryLock, type DirectoryLock } from '../../../common/fs/file-lock.ts';
import { Deferred } from '../../../common/ops/async.ts';
import type { LockstepError } from '../../../common/ops/errors.ts';
import { YOUNG_GENERATION } from '../../../common/ops/garbage-collection.ts';
import { RESERVED_NAME } from '../../../common/tree/tree-path.ts';
import type { ApplierApi, ApplierInfo } from './applier-api.ts';
import type { ContentApi } from './content-api.ts';
import { FolderReplica } from './folder-replica.ts';
import type { Replica } from './replica.ts';
import type { ReplicaLog } from './replica-log.ts';
import { DEFAULT_REPLICA_LIMITS, type ReplicaLimits, type ReplicaSettings } from './replica-options.ts';
import type { ScrubSettings } from './scrub.ts';
import { ReplicaWorker } from './replica-worker.ts';
import { makeStateDirectory } from './state-files.ts';
import type { WorkerEvent } from './worker-messages.ts';
import { WorkerOnDemand } from './worker-on-demand.ts';

export interface OpenReplicaOptions {
  readonly folder: string;
  /** The replica's root; created when it does not exist. */
  readonly directory: string;
  /** Index and log; default `<directory>/.lockstep`. */
  readonly stateDirectory?: string | undefined;
  /** Default blake3. An index made with another function is made anew. */
  readonly digestFunction?: DigestFunction | undefined;
  /** Pino's `Logger` fits. */
  readonly logger: ReplicaLog;
  /** Entries are given to the owners that they come with. Default false: a remote writer cannot hand files to others. */
  readonly keepsOwners?: boolean | undefined;
  readonly driftIntervalMs: number;
  /** Default true. False leaves the index as it is, for an open replica that only verifies. */
  readonly looksForDrift?: boolean | undefined;
  readonly limits?: ReplicaLimits | undefined;
  /** Default false. True: links that lead out of the folder are refused (S07). */
  readonly refusesEscapingLinks?: boolean | undefined;
  /** Default: none. */
  readonly scrub?: ScrubSettings | undefined;
  /** Length of the log after which a checkpoint is made; default 64 MiB. */
  readonly checkpointBytes?: number | undefined;
  /** Length of the change feed that is kept; default 32 MiB. */
  readonly feedBytes?: number | undefined;
}

const DEFAULT_CHECKPOINT_BYTES = 64 * 2 ** 20;
const DEFAULT_FEED_BYTES = 32 * 2 ** 20;

/**
 * Resolves as soon as the log is replayed; the first look through the replica goes on, `info().state` says so, and
 * calls wait for it.
 * @throws LOCKED naming the other server; ROOT_MISSING, USAGE, READ_ONLY, PERMISSION_DENIED, IO
 */
export async function openReplica(options: OpenReplicaOptions): Promise<Replica> {
  const settings = settingsOf(options);
  const locks = lockDirectories(settings);
  try {
    return await openWorkers(settings, options, locks);
  } catch (error) {
    for (const lock of locks) lock.release();
    throw error;
  }
}

function settingsOf(options: OpenReplicaOptions): ReplicaSettings {
  const directory = resolve(options.directory);
  return {
    folder: options.folder,
    directory,
    stateDirectory: resolve(options.stateDirectory ?? join(directory, RESERVED_NAME)),
    digestFunction: options.digestFunction ?? 'blake3',
    limits: options.limits ?? DEFAULT_REPLICA_LIMITS,
    keepsOwners: options.keepsOwners ?? false,
    driftIntervalMs: options.driftIntervalMs,
    looksForDrift: options.looksForDrift,
    refusesEscapingLinks: options.refusesEscapingLinks,
    checkpointBytes: options.checkpointBytes ?? DEFAULT_CHECKPOINT_BYTES,
    feedBytes: options.feedBytes ?? DEFAULT_FEED_BYTES,
  };
}

/** The replica's own directory, and the state's if that is elsewhere: neither may be used twice (E107). */
function lockDirectories(settings: ReplicaSettings): readonly DirectoryLock[] {
  const own = join(settings.directory, RESERVED_NAME);
  const directories = [...new Set([own, settings.stateDirectory])];
  const locks: DirectoryLock[] = [];
  try {
    for (const directory of directories) {
      makeStateDirectory(directory);
      locks.push(acquireDirectoryLock(directory, 'sync-server'));
    }
    return locks;
  } catch (error) {
    for (const lock of locks) lock.release();
    throw error;
  }
}

async function openWorkers(
  settings: ReplicaSettings,
  { logger, scrub }: Pick<OpenReplicaOptions, 'logger' | 'scrub'>,
  locks: readonly DirectoryLock[],
): Promise<Replica> {
  // What the workers say before the facade exists is kept for it.
  const facade: { replica?: FolderReplica } = {};
  let latest: ApplierInfo | undefined;
  const told = new Deferred<ApplierInfo>();
  const onEvent = (event: WorkerEvent): void => {
    if (event.type === 'info') {
      latest = event.info;
      facade.replica?.onInfo(event.info);
      told.resolve(event.info);
    } else if (event.type === 'drift') facade.replica?.tellDrift(event.directories, event.headRevision);
    else if (event.type === 'trash') sweep();
  };
  const sweep = (): void => {
    content.api.sweep().catch((error: unknown) => logger.error({ err: error }, 'staging could not be tidied'));
  };
  const onFailure = (error: LockstepError): void => {
    told.reject(error);
    facade.replica?.fail(error);
  };
  const start = <Api extends { close(): Promise<void> }>(
    name: string,
    resourceLimits: ResourceLimits,
  ): Promise<ReplicaWorker<Api>> => {
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    return ReplicaWorker.start<Api>({
      url: new URL(`./${name}.${extension}`, import.meta.url),
      resourceLimits,
      settings,
      logger,
      onEvent,
      onFailure,
    });
  };
  const content = new WorkerOnDemand<ContentApi>(() => start('content-worker', YOUNG_GENERATION.ofContents));
  told.promise.catch(() => undefined); // Whoever starts the worker reports it.
  const applier = await start<ApplierApi>('applier-worker', YOUNG_GENERATION.ofEntries);
  const close = async (): Promise<void> => {
    // Uploads first: what they finish now could not be referred to any more.
    await content.close();
    await applier.close();
    for (const lock of locks) lock.release();
  };
  const { folder, digestFunction } = settings;
  const replica = new FolderReplica(
    {
      ...{ folder, digestFunction, applier: applier.api, content: content.api, close: once(close) },
      scrub: scrub && { ...scrub, logger },
    },
    latest ?? (await told.promise),
  );
  facade.replica = replica;
  return replica;
}

function once(task: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => {
    running ??= task();
    return running;
  };
}
