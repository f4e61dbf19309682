/**
 * When the disk refuses an operation, the rows that its plan set go back to what they stood for. Then nothing that is as
 * it was has to be read again, and above all no row of what did not come to be is taken for what is on the disk.
 */
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { IndexedEntry } from '../../../common/tree/entry.ts';
import { type Operation, pathsOf } from './operation.ts';
import type { Planner } from './planner.ts';

export interface TakeBackOptions {
  readonly index: TreeIndex;
  readonly planner: Planner;
}

/** Whoever calls this has the paths of the operation held against the disk afterwards: it may be as neither says. */
export function takeBack(operation: Operation, { index, planner }: TakeBackOptions): void {
  // They would be given the inode of whatever is there instead.
  for (const path of pathsOf(operation)) planner.lateIdentities.removed(path);
  switch (operation.type) {
    case 'install':
      if (operation.grave === undefined) return restore(index, operation.entry.path, operation.before);
      index.remove(operation.entry.path);
      return planner.graves.restore(operation.grave, operation.entry.path);
    case 'delete':
      if (operation.grave === undefined) return restore(index, operation.path, operation.before);
      return planner.graves.restore(operation.grave, operation.path);
    case 'metadata':
      return restore(index, operation.path, operation.before);
    case 'move': {
      const { from, to, replaced } = operation;
      if (!index.has(from) && index.has(to)) {
        // A later change of the group may have removed the directory that it was in.
        if (index.hasPlaceFor(from)) index.move(to, from);
        else index.remove(to);
      }
      if (!index.has(to)) restore(index, to, replaced);
      return;
    }
  }
}

function restore(index: TreeIndex, path: TreePath, before: IndexedEntry | undefined): void {
  if (before?.kind !== 'directory' || index.get(path)?.kind !== 'directory') index.remove(path);
  if (before === undefined || !index.hasPlaceFor(path)) return;
  index.put(before, before.identity);
}
