/**
 * Whether names are names of one file on the disk where the index has them as such, and only there (E19). The index knows that by their
 * inodes; that these are others than before is nothing by itself: a replica that was restored has new ones, and the same links.
 */
import { type Inode, isOneInode } from '../../../common/fs/inode.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { Stat } from '../../../common/fs/stat.ts';
import type { IndexedEntry } from '../../../common/tree/entry.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import { displayPath, nameOf, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import { isSameInode } from './disk-identity.ts';

/** Of a file with more names, the others are not asked about. */
const MAX_SIBLINGS = 1_000;

/** A file whose links are in question. */
export interface LinkQuestion {
  readonly path: TreePath;
  /** A name that was found to be one file with it. */
  readonly other: TreePath | undefined;
}

export interface LinkFinding {
  readonly path: TreePath;
  /** The name that it is apart from, or one with, and should not be. */
  readonly other: TreePath;
  readonly message: string;
}

interface Known {
  readonly entry: IndexedEntry;
  /** As the index has it. */
  readonly inode: Inode;
  readonly stat: Stat;
}

/** To be asked where index and disk are of one moment: between two groups. @throws errno errors */
export function findBrokenLink(root: SafeRoot, index: TreeIndex, question: LinkQuestion): LinkFinding | undefined {
  const { path, other } = question;
  const own = knownAt(root, index, path);
  if (own === undefined) return undefined;
  const joined = other === undefined ? undefined : knownAt(root, index, other);
  if (joined !== undefined && isOneInode(own.stat, joined.stat) && !isOneInode(own.inode, joined.inode)) {
    return finding(path, joined.entry.path, 'is one file with', 'and should not be');
  }
  // A name that is where it was leaves it to the others to tell.
  if (isSameInode(own.entry, own.stat)) return undefined;
  const sibling = siblingsOf(index, own.entry).find(({ path: name }) => {
    const there = knownAt(root, index, name);
    return there !== undefined && !isOneInode(own.stat, there.stat);
  });
  return sibling && finding(path, sibling.path, 'is not one file with', 'and should be');
}

/** Undefined also while the index does not know its inode. */
function knownAt(root: SafeRoot, index: TreeIndex, path: TreePath): Known | undefined {
  const entry = index.get(path);
  const stat = root.tryDirectory(parentOf(path))?.lstat(nameOf(path));
  if (entry?.kind !== 'file' || entry.identity === undefined || stat?.kind !== 'file') return undefined;
  return { entry, inode: entry.identity, stat };
}

/** None in a folder in which nothing was ever linked. */
function siblingsOf(index: TreeIndex, { path, identity }: IndexedEntry): readonly IndexedEntry[] {
  if (identity === undefined || !index.keepsInodes) return [];
  return index.findByInode(identity.dev, identity.ino, MAX_SIBLINGS).filter((other) => other.path !== path);
}

function finding(path: TreePath, other: TreePath, is: string, should: string): LinkFinding {
  return { path, other, message: `${displayPath(path)} ${is} ${displayPath(other)}, ${should}` };
}
