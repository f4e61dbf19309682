/**
 * Hints: what a change source says about the tree. "Look here", nothing more: they may be wrong, doubled or late, and
 * the scan is the truth. Pure; knows neither the disk nor threads.
 */
import type { TreePath } from '../../../common/tree/tree-path.ts';

/** Why the whole tree is looked at. The words are labels of a metric (docs/metrics.md). */
export type RescanReason =
  /** Nothing is known yet. */
  | 'start'
  /** The interval of the scan behind the watches is over. */
  | 'interval'
  /** The change source does nothing else. */
  | 'polling'
  /** The system may have dropped events. */
  | 'overflow'
  /** More directories than can be watched, and than can be looked at one by one. */
  | 'watch-limit'
  /** The change source, or its thread, has failed. */
  | 'watch-error'
  /** Changes in more directories, or of more files, than are remembered one by one. */
  | 'many-changes'
  /** A flush could not know that all hints had come. */
  | 'flush'
  /** More files with several names than are remembered one by one, or it is not known which the server has linked. */
  | 'hard-links'
  /** The file system refused what it usually does not. */
  | 'file-system'
  /** Other entries are excluded than before. */
  | 'excludes'
  /** Somebody asked for it. */
  | 'command';

export interface RescanCause {
  readonly reason: RescanReason;
  /** For people. */
  readonly detail: string;
}

/** Where to look. */
export type Hint =
  /**
   * At one name of a directory (latin1, one char per byte). If it is a directory that the index does not know, all
   * below it is new. The name `''` of the root is the root itself: its identity, mode and time.
   */
  | { readonly type: 'name'; readonly dir: TreePath; readonly name: string }
  /** At all names of one directory; with `recursive` at everything below it too. */
  | { readonly type: 'directory'; readonly dir: TreePath; readonly recursive: boolean }
  /** At the whole tree, because hints may have been lost. */
  | { readonly type: 'everything'; readonly cause: RescanCause };

/** The root itself, as a name in the root. */
export const SELF_NAME = '';

/** What was hinted at in one turn of the observer's event loop, in the order of the first hint of each directory. */
export interface HintBatch {
  readonly directories: readonly DirectoryHints[];
  /** Set when hints may have been lost: look at the whole tree. */
  readonly everything: RescanCause | undefined;
  /** When the turn ended, on the clock of `monotonicMs`. */
  readonly observedAtMs: number;
}

export interface DirectoryHints {
  readonly dir: TreePath;
  /** Distinct names, the whole directory, or everything below it. */
  readonly names: readonly string[] | 'all' | 'subtree';
}

/** Milliseconds on a clock that never jumps (E117) and is the same in all threads, as `performance.now()` is not. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}
