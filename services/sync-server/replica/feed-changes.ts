/**
 * What the change feed tells of an operation that was performed. Pure.
 */
import { type Entry, type IndexedEntry, withMetadata } from '../../../common/tree/entry.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { Operation } from './operation.ts';
import type { FeedChange } from './replica.ts';

export function feedChangeOf(operation: Operation): FeedChange {
  switch (operation.type) {
    case 'install':
      return { operation: 'put', entry: operation.entry };
    case 'metadata':
      return { operation: 'metadata', entry: withMetadata(entryAt(operation.before, operation.path), operation) };
    case 'move':
      return { operation: 'move', entry: entryAt(operation.before, operation.to), from: operation.from };
    case 'delete':
      return { operation: 'delete', path: operation.path };
  }
}

function entryAt(entry: IndexedEntry, path: TreePath): Entry {
  const { identity: _, ...rest } = entry;
  return { ...rest, path };
}
