/**
 * What a change does to the index, and nothing else: for changes that the disk has already. The disk's view of the
 * entries is filled in when recovery checks them.
 */
import { withMetadata } from '../../../common/tree/entry.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import type { Change } from './change.ts';
import { nowNs, withLaterCtime } from './disk-identity.ts';

/** @throws LockstepError PARENT_MISSING, ENTRY_NOT_FOUND … when index and log do not fit together */
export function replayOnIndex(index: TreeIndex, change: Change): void {
  if (change.operation === 'link') index.keepInodes();
  switch (change.operation) {
    case 'put':
    case 'link':
    case 'symlink':
      if (index.get(change.entry.path)?.kind === 'directory') index.remove(change.entry.path);
      index.put(change.entry, undefined);
      return;
    case 'mkdir': {
      const known = index.get(change.entry.path);
      index.put(change.entry, known?.kind === 'directory' ? known.identity : undefined);
      return;
    }
    case 'metadata': {
      const known = index.get(change.path);
      if (known === undefined) return;
      // Without an identity, because the disk's time is another one now.
      index.put(withMetadata(known, change), undefined);
      return;
    }
    case 'move':
      if (index.has(change.to)) index.remove(change.to);
      index.move(change.from, change.to);
      // The rename has given the inode a new ctime.
      index.setIdentity(change.to, withLaterCtime(index.get(change.to)?.identity, nowNs()));
      return;
    case 'delete':
      index.remove(change.path);
      return;
  }
}
