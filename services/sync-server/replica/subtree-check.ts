/**
 * Looks, before a directory is removed, whether it holds anything that the index does not know (E96). Nothing is ever
 * removed "with all that is below it" on trust.
 */
import type { Directory } from '../../../common/fs/directory.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { IndexedEntry } from '../../../common/tree/entry.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import { joinPath, type TreePath } from '../../../common/tree/tree-path.ts';
import type { KnownFiles } from './known-file.ts';

/** Rows fetched at a time. */
const PAGE_ROWS = 1_000;

/**
 * The first entry below `path` on the disk that is unknown or has changed; undefined when all is as the rows below
 * `rows` (a directory of the index, undefined for none) say. What is missing on the disk does not matter, nor do FIFOs,
 * sockets and devices, which are not kept in step.
 */
export function findForeignEntry(
  root: SafeRoot,
  index: TreeIndex,
  path: TreePath,
  rows: TreePath | undefined,
  files: KnownFiles,
): TreePath | undefined {
  const pending: { readonly path: TreePath; readonly rows: TreePath | undefined }[] = [{ path, rows }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const directory = root.directory(next.path);
    const unknown = new Set(directory.list());
    if (next.rows !== undefined) {
      for (const row of pagesOf(index, next.rows)) {
        const name = row.path.slice(row.path.lastIndexOf('/') + 1);
        if (!unknown.delete(name)) continue;
        const stat = directory.lstat(name);
        if (stat === undefined) continue;
        const diskPath = joinPath(next.path, name);
        if (!files.isAsKnown(directory, name, row, stat)) return diskPath;
        if (row.kind === 'directory') pending.push({ path: diskPath, rows: row.path });
      }
    }
    const foreign = firstOfKnownKind(directory, unknown);
    if (foreign !== undefined) return joinPath(next.path, foreign);
  }
  return undefined;
}

function firstOfKnownKind(directory: Directory, names: ReadonlySet<string>): string | undefined {
  for (const name of names) {
    const stat = directory.lstat(name);
    if (stat !== undefined && stat.kind !== 'other') return name;
  }
  return undefined;
}

function* pagesOf(index: TreeIndex, directory: TreePath): Generator<IndexedEntry, void, void> {
  let after = '';
  for (;;) {
    const page = index.children(directory, { after, limit: PAGE_ROWS });
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE_ROWS) return;
    after = last.path.slice(last.path.lastIndexOf('/') + 1);
  }
}
