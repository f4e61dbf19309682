/**
 * What a plan consists of. Pure data; the engine encodes and sends it.
 */
import type { FileRecord } from '../../../common/tree/entry.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { Difference, Observed, ObservedDirectory, ObservedFile, ObservedSymlink } from './difference.ts';

export type PlannedChange =
  /**
   * Bring the file's content and metadata to the server. `before` is the file that the server will have at the path when this
   * change arrives: when the content turns out to be equal, metadata are all that is sent, or nothing.
   */
  | {
      readonly type: 'put';
      readonly path: TreePath;
      readonly now: ObservedFile;
      readonly before: FileRecord | undefined;
      /** Content that the server has at another path, and that this may be. */
      readonly copyOf: FileRecord | undefined;
    }
  | { readonly type: 'mkdir'; readonly path: TreePath; readonly now: ObservedDirectory }
  | { readonly type: 'symlink'; readonly path: TreePath; readonly now: ObservedSymlink }
  | { readonly type: 'metadata'; readonly path: TreePath; readonly now: Observed }
  | { readonly type: 'move'; readonly from: TreePath; readonly to: TreePath }
  | { readonly type: 'delete'; readonly path: TreePath };

export interface Plan {
  /** In the order in which they must be applied. */
  readonly changes: readonly PlannedChange[];
  /** Nothing to send: only the disk's identity of the entry is new. */
  readonly refreshed: readonly Difference[];
  /** Paths to be looked at again once the changes are acknowledged, because these give them another past. */
  readonly lookAgain: readonly TreePath[];
}

/** Names that the planner gives to entries that must step aside for a moment. */
export const ASIDE_PREFIX = '.lockstep-aside-';
