/**
 * What a change source is. It lives in the observer's thread, whose event loop is never blocked, because the kernel's
 * event queue is short and drops what does not fit without a word. It only says where to look.
 */
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { RescanCause } from './hints.ts';

export type ChangeSourceKind = 'chokidar' | 'native' | 'poll';

export interface ChangeSource {
  readonly kind: ChangeSourceKind;
  /** Why events do not cover the whole tree, so that only a scan proves that nothing changed; undefined when they do. */
  readonly blindness: string | undefined;
  /** Resolves once changes in every directory that existed at the call, and is not ignored, lead to hints. */
  start(): Promise<void>;
  /**
   * Directories that a scan found, or found at another place than before. When this returns, changes in them lead to
   * hints: whoever lists them afterwards misses nothing (E25, E30). Missing or unwatchable ones are no error.
   */
  watchDirectories(dirs: readonly TreePath[]): void;
  /** Directories that are gone, or ignored from now on, with all below. To be told before what took their place. */
  forgetDirectories(dirs: readonly TreePath[]): void;
  close(): Promise<void>;
}

/** Where a source puts what it learns. All calls are cheap. */
export interface ChangeEvents {
  /** One event of the kernel, whatever it was; for noticing that the queue ran over. */
  onRawEvent(): void;
  /** Look at this name, or without one at the whole directory. */
  onHint(dir: TreePath, name?: string): void;
  /** Look at everything below this directory, which is another one than before, or was unwatched for a while. */
  onTreeHint(dir: TreePath): void;
  /** Calls `task` before what this turn of the event loop brought is passed on. */
  beforeTurnEnd(task: () => void): void;
  /** Hints may have been lost: look everywhere. */
  onOverflow(cause: RescanCause): void;
  /** Part of the tree has to be polled, and what to do about it; undefined when all is well again. */
  onDegraded(reason: string | undefined): void;
}
