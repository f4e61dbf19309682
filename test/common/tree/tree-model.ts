/** The tree index in its simplest form: a map of paths. What the real one must do, without caring what it costs. */
import type { Digest } from '../../../common/content/digest.ts';
import type { DiskIdentity, Entry, IndexedEntry } from '../../../common/tree/entry.ts';
import { type TreeDigestChild, treeDigestOf } from '../../../common/tree/tree-digest.ts';
import {
  compareTreePaths,
  isInside,
  nameOf,
  parentOf,
  ROOT,
  rebase,
  type TreePath,
} from '../../../common/tree/tree-path.ts';

export class TreeModel {
  readonly entries = new Map<TreePath, IndexedEntry>([
    [ROOT, { path: ROOT, kind: 'directory', mode: 0o755, mtimeNs: 0n, identity: undefined }],
  ]);

  isDirectory(path: TreePath): boolean {
    return this.entries.get(path)?.kind === 'directory';
  }

  /** The reason for which it is refused, as the index must give it. */
  put(entry: Entry, identity: DiskIdentity | undefined): string | undefined {
    if (!this.isDirectory(parentOf(entry.path))) return 'PARENT_MISSING';
    if (entry.kind !== 'directory') this.remove(entry.path);
    this.entries.set(entry.path, { ...entry, identity });
    return undefined;
  }

  remove(path: TreePath): number {
    const doomed = this.subtree(path);
    for (const each of doomed) this.entries.delete(each);
    return doomed.length;
  }

  move(from: TreePath, to: TreePath): string | undefined {
    if (isInside(to, from)) return 'MOVE_INTO_SELF';
    if (!this.entries.has(from)) return 'ENTRY_NOT_FOUND';
    if (!this.isDirectory(parentOf(to))) return 'PARENT_MISSING';
    if (this.entries.has(to)) return 'TARGET_EXISTS';
    for (const path of this.subtree(from)) {
      const entry = this.entries.get(path);
      this.entries.delete(path);
      const moved = rebase(path, from, to);
      if (entry !== undefined) this.entries.set(moved, { ...entry, path: moved });
    }
    return undefined;
  }

  /** `path` and all below it, without the root, in tree order. */
  subtree(path: TreePath): TreePath[] {
    const inside = [...this.entries.keys()].filter((each) => each !== ROOT && isInside(each, path));
    return inside.toSorted(compareTreePaths);
  }

  /** What `walk` yields. */
  below(path: TreePath, after: TreePath = path): IndexedEntry[] {
    const paths = this.subtree(path).filter((each) => each !== path && compareTreePaths(each, after) > 0);
    return paths.map((each) => this.entry(each));
  }

  children(path: TreePath): IndexedEntry[] {
    return this.below(path).filter((entry) => parentOf(entry.path) === path);
  }

  bytes(): number {
    return [...this.entries.values()].reduce((sum, entry) => sum + (entry.kind === 'file' ? entry.sizeBytes : 0), 0);
  }

  treeDigest(path: TreePath): Digest {
    return treeDigestOf(
      'blake3',
      this.children(path).map((entry): TreeDigestChild => {
        const name = nameOf(entry.path);
        return entry.kind === 'directory'
          ? { ...entry, name, treeDigest: this.treeDigest(entry.path) }
          : { ...entry, name };
      }),
    );
  }

  private entry(path: TreePath): IndexedEntry {
    const entry = this.entries.get(path);
    if (entry === undefined) throw new Error('no such entry');
    return entry;
  }
}
