/**
 * Lockstep for who embeds it: `import { serveFolder, watchFolder } from 'lockstep'`. The same engine as the programs', without their
 * command lines; docs/library.md has examples. What is exported here is kept; what else the package has may change.
 */
export { LockstepError, type Reason } from '../common/ops/errors.ts';
export { type ServeOptions, type ServedFolder, serveFolder, type TokenOptions } from './serve-folder.ts';
export {
  type FlushOptions,
  type FolderWatch,
  type SyncedChange,
  type SyncProblem,
  type WatchEvents,
  type WatchFolderOptions,
  watchFolder,
  type WatchProgress,
  type WatchStatus,
} from './watch-folder.ts';
export type { LogOptions } from './log-options.ts';
