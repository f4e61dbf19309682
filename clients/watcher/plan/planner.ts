/**
 * The planner: differences in, ordered changes out. Pure; knows neither disk nor wire.
 *
 * Order of a plan: new directories and renames (each rename after the one that frees its target, and before the content that
 * takes its old path), then other contents, then deletions, then metadata of directories, deepest first. Applying the changes in order to what
 * the server has gives what the disk has; a wrong guess about a rename costs bytes, never correctness (E69).
 */
import type { FileRecord, IndexedEntry } from '../../../common/tree/entry.ts';
import { hasOwner, ownerKey } from '../../../common/tree/owner.ts';
import { compareTreePaths, depthOf, type TreePath } from '../../../common/tree/tree-path.ts';
import type { Difference, Observed, ObservedDirectory } from './difference.ts';
import { planDirectoryMoves } from './directory-moves.ts';
import { orderMovesAndDirectories } from './move-order.ts';
import type { Plan, PlannedChange } from './plan.ts';

type PlannedContent = Extract<PlannedChange, { readonly type: 'put' | 'symlink' }>;

export interface PlannerOptions {
  /**
   * Files up to this many bytes travel in batches. When the old path is taken anew, they are sent again rather than renamed, and
   * larger ones are renamed only if what takes the old path is so small: no gap at either path.
   */
  readonly smallFileBytes: number;
  /** A fresh name for an entry that must step aside, in the directory given. */
  readonly asideName: (directory: TreePath) => TreePath;
}

/**
 * Plans one window of differences: at most one difference a path, parents of new entries either known to the server
 * or in the window too.
 */
export function planChanges(differences: readonly Difference[], options: PlannerOptions): Plan {
  const structural = planDirectoryMoves(differences, options);
  if (structural !== undefined) return structural;

  const window = withoutPointlessMoves(differences, options);
  const vacated = new Set<TreePath>();
  for (const { movedFrom } of window) if (movedFrom !== undefined) vacated.add(movedFrom.path);

  const contents: PlannedContent[] = [];
  const deletes: PlannedChange[] = [];
  const metadata: Extract<PlannedChange, { type: 'metadata' }>[] = [];
  const refreshed: Difference[] = [];
  for (const difference of window) {
    const { path, now } = difference;
    const before = pastOf(difference, vacated);
    // The index has it under its old path until the rename is acknowledged.
    const isAtItsPlace = difference.movedFrom === undefined;
    if (now === undefined) {
      if (before !== undefined) deletes.push({ type: 'delete', path });
    } else if (now.kind === 'file') {
      const { copyOf } = difference;
      contents.push({ type: 'put', path, now, before: fileRecord(before), copyOf: fileRecord(copyOf) });
    } else if (now.kind === 'symlink') {
      if (before?.kind !== 'symlink' || !before.target.equals(now.target))
        contents.push({ type: 'symlink', path, now });
      else if (before.mtimeNs !== now.mtimeNs || !hasOwner(before, now.owner))
        metadata.push({ type: 'metadata', path, now });
      else if (isAtItsPlace) refreshed.push(difference);
    } else if (before?.kind === 'directory') {
      if (!sameDirectory(before, now)) metadata.push({ type: 'metadata', path, now });
      else if (isAtItsPlace) refreshed.push(difference);
    }
  }
  const arriving = new Set(window.flatMap(({ path, movedFrom }) => (movedFrom === undefined ? [] : [path])));
  const isSuccessor = ({ path }: PlannedContent) => vacated.has(path) && !arriving.has(path);
  const successors = new Map(contents.filter(isSuccessor).map((change) => [change.path, change]));
  metadata.sort((a, b) => deepestFirst(a.path, b.path));
  return {
    changes: [
      ...withSuccessors(orderMovesAndDirectories(window, vacated, options), successors),
      ...contents.filter(({ path }) => !successors.has(path)),
      ...deletes,
      ...metadata,
    ],
    refreshed,
    lookAgain: [],
  };
}

/** What takes the old path of a rename comes right behind it. */
function withSuccessors(
  steps: readonly PlannedChange[],
  successors: ReadonlyMap<TreePath, PlannedContent>,
): PlannedChange[] {
  return steps.flatMap((step) => {
    const successor = step.type === 'move' ? successors.get(step.from) : undefined;
    return successor === undefined ? [step] : [step, successor];
  });
}

/**
 * What the server has at the path when the moves of this window are done: the moved entry, or nothing where the
 * entry was moved away.
 */
function pastOf(difference: Difference, vacated: ReadonlySet<TreePath>): IndexedEntry | undefined {
  if (difference.movedFrom !== undefined) return difference.movedFrom;
  return vacated.has(difference.path) ? undefined : difference.before;
}

/** Drops the moves that would do harm or not pay: doubled sources, a directory in the way, small files whose old path is taken. */
function withoutPointlessMoves(differences: readonly Difference[], options: PlannerOptions): readonly Difference[] {
  if (!differences.some((difference) => difference.movedFrom !== undefined)) return differences;
  const occupants = new Map<TreePath, Difference>();
  for (const difference of differences) if (difference.now !== undefined) occupants.set(difference.path, difference);
  const isSmall = (now: Observed) => now.kind !== 'file' || now.sizeBytes <= options.smallFileBytes;
  const used = new Set<TreePath>();
  return differences.map((difference) => {
    const { movedFrom, now, before } = difference;
    if (movedFrom === undefined || now === undefined) return difference;
    const occupant = occupants.get(movedFrom.path);
    // What takes the old path must follow at once, which only renames and small contents do.
    const follows = occupant?.movedFrom !== undefined || (occupant?.now !== undefined && isSmall(occupant.now));
    const leavesGap = occupant !== undefined && (isSmall(now) || !follows);
    const pointless = used.has(movedFrom.path) || before?.kind === 'directory' || leavesGap;
    used.add(movedFrom.path);
    if (!pointless) return difference;
    return { path: difference.path, before, now, copyOf: movedFrom };
  });
}

function fileRecord(entry: IndexedEntry | undefined): FileRecord | undefined {
  if (entry?.kind !== 'file') return undefined;
  const { kind, mode, mtimeNs, sizeBytes, digest, owner } = entry;
  return { kind, mode, mtimeNs, sizeBytes, digest, ...ownerKey(owner) };
}

function sameDirectory(before: IndexedEntry & { readonly kind: 'directory' }, now: ObservedDirectory): boolean {
  return before.mode === now.mode && before.mtimeNs === now.mtimeNs && hasOwner(before, now.owner);
}

function deepestFirst(a: TreePath, b: TreePath): number {
  return depthOf(b) - depthOf(a) || compareTreePaths(a, b);
}
