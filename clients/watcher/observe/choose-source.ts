/**
 * Which change source a tree gets.
 */
import { type FileSystemKind, fileSystemKind } from '../../../common/fs/free-space.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { ChangeEvents, ChangeSource, ChangeSourceKind } from './change-source.ts';
import { ChokidarSource } from './chokidar-source.ts';
import { DirectoryWalk } from './directory-walk.ts';
import { IgnoreRules } from './ignore-rules.ts';
import { NativeSource } from './native-source.ts';
import { PollSource } from './poll-source.ts';
import { RecursiveSource } from './recursive-source.ts';

/** Beyond so many entries chokidar's own scan and memory cost more than they bring. */
export const MAX_CHOKIDAR_ENTRIES = 20_000;

/** Its start takes some 0.5 ms for each directory. */
export const MAX_CHOKIDAR_DIRECTORIES = 2000;

export type RequestedSource = 'auto' | ChangeSourceKind;

export interface SourceChoice {
  readonly kind: ChangeSourceKind;
  /** For the status: why this one. */
  readonly reason: string;
}

export interface TreeSize {
  readonly entries: number;
  readonly directories: number;
}

/**
 * @param sizeOfTree beyond the limits it need not be exact; only asked for if it matters
 * @throws LockstepError USAGE for chokidar on Windows
 */
export function chooseSource(
  requested: RequestedSource,
  fileSystem: FileSystemKind,
  sizeOfTree: () => TreeSize,
  platform: NodeJS.Platform = process.platform,
): SourceChoice {
  if (platform === 'win32' && requested === 'chokidar') {
    const message = 'chokidar keeps each directory open, and Windows renames none then; use --watcher native or poll';
    throw new LockstepError('USAGE', message);
  }
  if (requested !== 'auto') return { kind: requested, reason: 'as configured' };
  if (fileSystem === 'network') return { kind: 'poll', reason: 'a network file system gives no events' };
  if (platform === 'win32') return { kind: 'native', reason: 'one watch for the whole tree' };
  if (platform !== 'linux') return { kind: 'chokidar', reason: 'watches of our own were tried on Linux only' };
  const { entries, directories } = sizeOfTree();
  if (entries > MAX_CHOKIDAR_ENTRIES) return { kind: 'native', reason: `more than ${MAX_CHOKIDAR_ENTRIES} entries` };
  if (directories > MAX_CHOKIDAR_DIRECTORIES) {
    return { kind: 'native', reason: `more than ${MAX_CHOKIDAR_DIRECTORIES} directories` };
  }
  return { kind: 'chokidar', reason: `${entries} entries in ${directories} directories` };
}

/** Counts what is not ignored, the root included among the directories; stops soon after one of the limits. */
export function measureTree(root: SafeRoot, excludes: readonly string[]): TreeSize {
  const walk = new DirectoryWalk(root, new IgnoreRules(excludes));
  let directories = 0;
  for (const _dir of walk) {
    directories++;
    if (walk.entryCount > MAX_CHOKIDAR_ENTRIES || directories > MAX_CHOKIDAR_DIRECTORIES) break;
  }
  return { entries: walk.entryCount, directories };
}

export interface SourceOptions {
  readonly root: SafeRoot;
  readonly requested: RequestedSource;
  readonly excludes: readonly string[];
  /** Entries of the tree when that is known already, from an index for example: saves counting a large one. */
  readonly entryCount?: number | undefined;
  /** Between two scans of the poll source. */
  readonly pollIntervalMs: number;
  readonly events: ChangeEvents;
}

/** Makes the source; it is not started yet. */
export function makeSource(options: SourceOptions): { readonly source: ChangeSource; readonly choice: SourceChoice } {
  const { root, requested, excludes, events } = options;
  const choice = chooseSource(requested, fileSystemKind(root.path), () => {
    const { entryCount = 0 } = options;
    return entryCount > MAX_CHOKIDAR_ENTRIES ? { entries: entryCount, directories: 1 } : measureTree(root, excludes);
  });
  const rules = new IgnoreRules(excludes);
  switch (choice.kind) {
    case 'chokidar':
      return { source: new ChokidarSource({ root, rules, events }), choice };
    case 'native':
      if (process.platform === 'win32') return { source: new RecursiveSource({ root, events }), choice };
      return { source: new NativeSource({ root, rules, events }), choice };
    case 'poll':
      return { source: new PollSource(events, options.pollIntervalMs), choice };
  }
}
