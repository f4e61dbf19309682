/**
 * Two trees in tree order, merged: what is only in one of them, and what differs in both. Pure but for its inputs;
 * memory does not grow with the trees.
 */
import { permissionsOf } from '../../../common/fs/permission-bits.ts';
import { mtimeMatches } from '../../../common/fs/times.ts';
import { type Entry, type EntryRecord, sameContent } from '../../../common/tree/entry.ts';
import { hasOwner, type Owner } from '../../../common/tree/owner.ts';
import { compareTreePaths, type TreePath } from '../../../common/tree/tree-path.ts';
import type { FileId, LinkComparison } from './link-comparison.ts';
import type { LocalEntry } from './local-tree.ts';

export interface TreeDifference {
  /** `only here`, `only there`, `kind`, `content`, `target`, `owner`, `mode`, `mtime`, `links`, `unreadable`, `replica`. */
  readonly what: string;
  readonly path: TreePath;
  /** More about it, or empty. */
  readonly detail: string;
}

export interface ComparisonCounts {
  entries: number;
  contentBytes: number;
}

/** Of the server's tree. */
export interface RemoteEntry {
  readonly entry: Entry;
  /** What names of one file share there. */
  readonly fileId: FileId;
}

/**
 * `isIgnored` tells what the remote tree may have without being different; asked in tree order. `links`: where names of one file are
 * to be such on both sides.
 */
export async function* compareTrees(
  local: Iterator<LocalEntry, void>,
  remote: AsyncIterator<RemoteEntry, void>,
  isIgnored: (path: TreePath, isDirectory: boolean) => boolean,
  counts: ComparisonCounts,
  links?: LinkComparison,
): AsyncGenerator<TreeDifference, void> {
  let here = local.next();
  let there = await remote.next();
  while (!here.done || !there.done) {
    const order = here.done ? 1 : there.done ? -1 : compareTreePaths(here.value.path, there.value.entry.path);
    if (order > 0 && !there.done) {
      const { path, kind } = there.value.entry;
      if (!isIgnored(path, kind === 'directory')) yield { what: 'only there', path, detail: '' };
    }
    if (order <= 0 && !here.done) {
      counts.entries++;
      if ('record' in here.value && here.value.record.kind === 'file')
        counts.contentBytes += here.value.record.sizeBytes;
      yield* differencesOf(here.value, order === 0 && !there.done ? there.value : undefined, links);
    }
    if (order >= 0) there = await remote.next();
    if (order <= 0) here = local.next();
  }
}

function* differencesOf(
  here: LocalEntry,
  there: RemoteEntry | undefined,
  links: LinkComparison | undefined,
): Generator<TreeDifference, void> {
  const { path } = here;
  if ('unreadable' in here) {
    yield { what: 'unreadable', path, detail: here.unreadable };
    return;
  }
  if (there === undefined) {
    yield { what: 'only here', path, detail: '' };
    return;
  }
  yield* recordDifferences(path, here.record, there.entry);
  if (here.record.kind !== 'file' || there.entry.kind !== 'file') return;
  for (const detail of links?.compare(path, here.fileId, there.fileId) ?? []) yield { what: 'links', path, detail };
}

/** What "in step" means: kind, content or target, owner where it is carried, permission bits, and time but for links. */
export function* recordDifferences(
  path: TreePath,
  here: EntryRecord,
  there: EntryRecord,
): Generator<TreeDifference, void> {
  if (here.kind !== there.kind) {
    yield { what: 'kind', path, detail: `${here.kind} here, ${there.kind} there` };
    return;
  }
  if (!sameContent(here, there)) yield { what: here.kind === 'symlink' ? 'target' : 'content', path, detail: '' };
  if (!hasOwner(there, here.owner)) {
    yield { what: 'owner', path, detail: `${ownerText(here.owner)} here, ${ownerText(there.owner)} there` };
  }
  if (here.kind === 'symlink' || there.kind === 'symlink') return;
  if (permissionsOf(here, there) !== there.mode) {
    yield { what: 'mode', path, detail: `${here.mode.toString(8)} here, ${there.mode.toString(8)} there` };
  }
  if (!mtimeMatches(there.mtimeNs, here.mtimeNs)) yield { what: 'mtime', path, detail: '' };
}

/** As `chown` takes it: names where they are known. */
function ownerText(owner: Owner | undefined): string {
  if (owner === undefined) return 'none';
  return `${owner.user || owner.uid}:${owner.group || owner.gid}`;
}
