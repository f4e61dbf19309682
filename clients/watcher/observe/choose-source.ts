/**
 * Which change source a tree gets.
 */
import { type FileSystemKind, fileSystemKind } from '../../../common/fs/free-space.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { ChangeEvents, ChangeSource, ChangeSourceKind } from './change-source.ts';
import { ChokidarSource } from './chokidar-source.ts';
import { DirectoryWalk } from './directory-walk.ts';
import { IgnoreRules } from './ignore-rules.ts';
import { NativeSource } from './native-source.ts';
import { PollSource } from './poll-source.ts';

/** Beyond so many entries chokidar's own scan and memory cost more than they bring. */
export const MAX_CHOKIDAR_ENTRIES = 20_000;

export type RequestedSource = 'auto' | ChangeSourceKind;

export interface SourceChoice {
  readonly kind: ChangeSourceKind;
  /** For the status: why this one. */
  readonly reason: string;
}

/**
 * @param entryCount entries of the tree; beyond MAX_CHOKIDAR_ENTRIES it need not be exact. Only asked for if it matters.
 */
export function chooseSource(
  requested: RequestedSource,
  fileSystem: FileSystemKind,
  entryCount: () => number,
): SourceChoice {
  if (requested !== 'auto') return { kind: requested, reason: 'as configured' };
  if (fileSystem === 'network') return { kind: 'poll', reason: 'a network file system gives no events' };
  const count = entryCount();
  if (count > MAX_CHOKIDAR_ENTRIES) return { kind: 'native', reason: `more than ${MAX_CHOKIDAR_ENTRIES} entries` };
  return { kind: 'chokidar', reason: `${count} entries` };
}

/** Counts entries that are not ignored; stops soon after `limit`. */
export function countEntries(root: SafeRoot, excludes: readonly string[], limit: number): number {
  const walk = new DirectoryWalk(root, new IgnoreRules(excludes));
  for (const _dir of walk) if (walk.entryCount > limit) break;
  return walk.entryCount;
}

export interface SourceOptions {
  readonly root: SafeRoot;
  readonly requested: RequestedSource;
  readonly excludes: readonly string[];
  /** Entries of the tree when that is known already, from an index for example. */
  readonly entryCount?: number | undefined;
  /** Between two scans of the poll source. */
  readonly pollIntervalMs: number;
  readonly events: ChangeEvents;
}

/** Makes the source; it is not started yet. */
export function makeSource(options: SourceOptions): { readonly source: ChangeSource; readonly choice: SourceChoice } {
  const { root, requested, excludes, events } = options;
  const count = (): number => options.entryCount ?? countEntries(root, excludes, MAX_CHOKIDAR_ENTRIES);
  const choice = chooseSource(requested, fileSystemKind(root.path), count);
  const rules = new IgnoreRules(excludes);
  switch (choice.kind) {
    case 'chokidar':
      return { source: new ChokidarSource({ root, rules, events }), choice };
    case 'native':
      return { source: new NativeSource({ root, rules, events }), choice };
    case 'poll':
      return { source: new PollSource(events, options.pollIntervalMs), choice };
  }
}
