/**
 * The parts of a replica that belong to the applier's thread, opened together in the right order: index, log, staging,
 * marker, feed. Composition only. Whoever opens it holds the directory's lock.
 */
import { Accounts } from '../../../common/fs/accounts.ts';
import type { Way } from '../../../common/fs/choose-way.ts';
import type { HeldDirectory } from '../../../common/fs/directory.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { describeError, LockstepError } from '../../../common/ops/errors.ts';
import { type IndexOptions, TreeIndex } from '../../../common/tree/tree-index.ts';
import { ROOT } from '../../../common/tree/tree-path.ts';
import { ChangeFeed } from './change-feed.ts';
import { ContentBuilder } from './content-builder.ts';
import { FolderState } from './folder-state.ts';
import {
  feedDirectoryIn,
  indexFileIn,
  logDirectoryIn,
  OWN_DIRECTORY,
  STAGING_NAME,
  STAGING_PATH,
  syncDoubtFileIn,
} from './layout.ts';
import { Log } from './log.ts';
import { NameFolding } from './name-folding.ts';
import { OwnerKeeper } from './owner-keeper.ts';
import { Performer } from './performer.ts';
import { Planner } from './planner.ts';
import { ProgressMarker } from './progress-marker.ts';
import { Reconciler } from './reconciler.ts';
import type { ReplicaLog } from './replica-log.ts';
import type { ReplicaSettings } from './replica-options.ts';
import { SpaceGuard } from './space-guard.ts';
import { StagedEntries } from './staged-entries.ts';
import { SyncDoubt } from './sync-doubt.ts';
import { makeReplicaDirectory, makeStateDirectory, removeStateFile, stateFileExists } from './state-files.ts';

export interface CoreOptions {
  readonly settings: ReplicaSettings;
  readonly logger: ReplicaLog;
  /** Called at each step that a crash could fall behind; tests throw from it. */
  readonly crashPoint?: ((step: string) => void) | undefined;
  /** For tests without a full disk at hand. */
  readonly space?: SpaceGuard | undefined;
  /** For tests without a file system at hand that is reached, or folds names, otherwise. */
  readonly way?: Way | undefined;
  /** For tests with users and groups of their own. */
  readonly accounts?: Accounts | undefined;
}

export interface ReplicaCore {
  readonly settings: ReplicaSettings;
  readonly logger: ReplicaLog;
  readonly crashPoint: (step: string) => void;
  readonly root: SafeRoot;
  readonly staging: HeldDirectory;
  readonly index: TreeIndex;
  /** True when the index knows nothing yet and is to be filled from the replica. */
  readonly isRebuilt: boolean;
  readonly state: FolderState;
  readonly log: Log;
  readonly doubt: SyncDoubt;
  readonly feed: ChangeFeed;
  /** Undefined where owners are not kept. */
  readonly owners: OwnerKeeper | undefined;
  readonly staged: StagedEntries;
  readonly folding: NameFolding;
  readonly marker: ProgressMarker;
  readonly builder: ContentBuilder;
  readonly planner: Planner;
  readonly performer: Performer;
  readonly reconciler: Reconciler;
}

/** Creates what is missing. @throws ROOT_MISSING, USAGE, READ_ONLY, IO … */
export function openCore(options: CoreOptions): ReplicaCore {
  const { settings, logger } = options;
  const crashPoint = options.crashPoint ?? (() => undefined);
  makeStateDirectory(settings.stateDirectory);
  const { root, staging } = openStaging(settings.directory, options.way);
  const { digestFunction } = settings;
  const { index, isRebuilt } = openIndex(settings, logger);
  const log = Log.open(logDirectoryIn(settings.stateDirectory));
  const state = new FolderState(index);
  const { accounts = new Accounts() } = options;
  const owners = settings.keepsOwners ? new OwnerKeeper({ staging, accounts, logger }) : undefined;
  const staged = new StagedEntries(staging, owners);
  const folding = new NameFolding(staging);
  const marker = ProgressMarker.open(staging);
  const builder = new ContentBuilder(root, staged, digestFunction);
  const space = options.space ?? new SpaceGuard(settings.directory);
  return {
    settings,
    logger,
    crashPoint,
    root,
    staging,
    index,
    isRebuilt,
    state,
    log,
    doubt: SyncDoubt.open(syncDoubtFileIn(settings.stateDirectory)),
    feed: ChangeFeed.open(feedDirectoryIn(settings.stateDirectory), settings.feedBytes, state.revision),
    owners,
    staged,
    folding,
    marker,
    builder,
    planner: new Planner({ index, staged, space, maxEntries: settings.limits.maxEntries }),
    performer: new Performer({ root, index, owners, staged, folding, builder, marker, logger, crashPoint }),
    reconciler: new Reconciler({ root, index, owners, folding, digestFunction, logger }),
  };
}

/** Another directory in the root's place, or none, is never taken for "everything was deleted". @throws ROOT_MISSING, ROOT_REPLACED */
export function assertRoot({ root, settings }: ReplicaCore): void {
  const found = root.checkRoot();
  if (found === 'same') return;
  const reason = found === 'missing' ? 'ROOT_MISSING' : 'ROOT_REPLACED';
  throw new LockstepError(
    reason,
    `the replica's directory ${settings.directory} was ${found === 'missing' ? 'removed' : found}; restart the server`,
  );
}

export function closeCore(core: ReplicaCore): void {
  core.index.close();
  core.feed.close();
  core.log.close();
  core.doubt.close();
  core.staging.close();
  core.root.close();
}

/** The replica's root and its staging, which is always on the replica's own file system (E83). */
export function openStaging(
  directory: string,
  way?: Way,
): { readonly root: SafeRoot; readonly staging: HeldDirectory } {
  makeReplicaDirectory(directory);
  const root = SafeRoot.open(directory, { way });
  try {
    const top = root.directory(ROOT);
    if (top.lstat(OWN_DIRECTORY) === undefined) {
      const { mtimeNs } = top.stat();
      top.makeDirectory(OWN_DIRECTORY, 0o700);
      top.setOwnMtimeNearest(mtimeNs);
    }
    const own = root.directory(OWN_DIRECTORY);
    if (own.lstat(STAGING_NAME) === undefined) own.makeDirectory(STAGING_NAME, 0o700);
    return { root, staging: root.hold(STAGING_PATH) };
  } catch (error) {
    root.close();
    throw error;
  }
}

/** An index that is missing or damaged is made anew and filled from the replica; it is never taken for "empty" (E55, E91). */
function openIndex(
  settings: ReplicaSettings,
  logger: ReplicaLog,
): { readonly index: TreeIndex; readonly isRebuilt: boolean } {
  const file = indexFileIn(settings.stateDirectory);
  const options = indexOptions(settings);
  let index: TreeIndex;
  try {
    index = TreeIndex.open(file, options);
  } catch (error) {
    if (!(error instanceof LockstepError) || error.reason !== 'INDEX_DAMAGED') throw error;
    if (hasState(settings)) logger.warn({ reason: describeError(error) }, 'the index is made anew from the replica');
    else logger.debug({}, 'the index is made for the first time');
    return { index: createIndex(settings, file), isRebuilt: true };
  }
  if (index.getMeta('complete') === 'yes') return { index, isRebuilt: false };
  index.close();
  logger.warn({}, 'the index was never completed and is made anew from the replica');
  return { index: createIndex(settings, file), isRebuilt: true };
}

/** False for a directory that no server has kept yet: that it has no index is no loss. */
function hasState({ stateDirectory }: ReplicaSettings): boolean {
  return stateFileExists(indexFileIn(stateDirectory)) || stateFileExists(logDirectoryIn(stateDirectory));
}

function createIndex(settings: ReplicaSettings, file: string): TreeIndex {
  // It speaks of revisions of the history that is lost.
  removeStateFile(feedDirectoryIn(settings.stateDirectory));
  return TreeIndex.create(file, indexOptions(settings));
}

function indexOptions({ digestFunction, keepsOwners }: ReplicaSettings): IndexOptions {
  return { digestFunction, indexContents: true, listsOwners: keepsOwners };
}
