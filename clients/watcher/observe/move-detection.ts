/**
 * Recognises renames at scan time: inotify's pairing is not to be had, and a rename made while
 * nobody watched has no events at all. An inode number alone proves nothing, it may be a new file's (E46).
 */
import { permissionsOf } from '../../../common/fs/permission-bits.ts';
import type { IndexedEntry } from '../../../common/tree/entry.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import { joinPath, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { Difference } from '../plan/difference.ts';
import type { Scanner } from './scanner.ts';

/** Children that are compared before a directory is believed to be one that the server knows under another name. */
const EVIDENCE_CHILDREN = 16;

/**
 * Adds `movedFrom` where an entry is what the server has under a path that the disk has no more.
 * @param isSettled false for paths whose past is on its way to be another one: soon the server has nothing there
 * @param detectFiles false where no file can have been renamed, which saves a look-up for each
 */
export function withMoves(
  differences: readonly Difference[],
  index: TreeIndex,
  scanner: Scanner,
  isSettled: (path: TreePath) => boolean,
  detectFiles = true,
): readonly Difference[] {
  const paths = new Set(differences.map(({ path }) => path));
  // What else came to an old path has to be planned together with the rename, or is to follow later, which leaves a gap there.
  const maySource = (path: TreePath, now: bigint | undefined) =>
    isSettled(path) && (now === undefined || paths.has(path));
  return differences.map((difference) => {
    if (!detectFiles && difference.now?.kind === 'file') return difference;
    const movedFrom = sourceOf(difference, index, scanner, maySource);
    return movedFrom === undefined ? difference : { ...difference, now: broughtFrom(movedFrom, difference), movedFrom };
  });
}

/** Where the system has no permission bits, an entry brings along those that it is known to have had. */
function broughtFrom(source: IndexedEntry, { now }: Difference): Difference['now'] {
  return now === undefined || now.kind === 'symlink' ? now : { ...now, mode: permissionsOf(now, source) };
}

function sourceOf(
  difference: Difference,
  index: TreeIndex,
  scanner: Scanner,
  maySource: (path: TreePath, now: bigint | undefined) => boolean,
): IndexedEntry | undefined {
  const { path, before, now } = difference;
  if (path === ROOT || now === undefined || before?.identity?.ino === now.identity.ino) return undefined;
  // What the server turned out to have at this very path may be this directory already, and would be deleted for the rename.
  if (before?.kind === 'directory' && before.identity === undefined) return undefined;
  const { dev, ino } = now.identity;
  let found: IndexedEntry | undefined;
  for (const entry of index.findByInode(dev, ino)) {
    if (entry.path === path || entry.kind !== now.kind || !looksTheSame(entry, difference, index, scanner)) continue;
    const there = scanner.inodeAt(entry.path);
    if (there === ino || there === 'unknown' || !maySource(entry.path, there)) continue;
    // Of several names that it had, one is best where nothing is now.
    if (there === undefined) return entry;
    found ??= entry;
  }
  return found;
}

function looksTheSame(entry: IndexedEntry, { path, now }: Difference, index: TreeIndex, scanner: Scanner): boolean {
  if (entry.kind === 'directory') return sharesChildren(entry.path, path, index, scanner);
  if (entry.mtimeNs !== now?.mtimeNs) return false;
  return now.kind !== 'file' || (entry.kind === 'file' && entry.sizeBytes === now.sizeBytes);
}

/** A new directory that was given a freed inode number shares no children with the old one. */
function sharesChildren(known: TreePath, found: TreePath, index: TreeIndex, scanner: Scanner): boolean {
  const rows = index.childRows(known, { limit: EVIDENCE_CHILDREN });
  const shared = rows.filter(
    ({ name, identity }) => identity !== undefined && scanner.inodeAt(joinPath(found, name)) === identity.ino,
  );
  return shared.length > 0 && shared.length * 2 >= rows.length;
}
