/**
 * Renames of whole directories: one operation, however much is below (E64). They give everything below another
 * past, so they are sent alone, and the rest of the window is looked at again when they are acknowledged.
 */
import { depthOf, isInside, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { Difference, ObservedDirectory } from './difference.ts';
import type { Plan, PlannedChange } from './plan.ts';
import type { PlannerOptions } from './planner.ts';

interface DirectoryMove {
  readonly from: TreePath;
  readonly to: TreePath;
  readonly replaces: 'nothing' | 'entry' | 'directory';
}

/** Undefined when the window holds no rename of a directory. */
export function planDirectoryMoves(differences: readonly Difference[], options: PlannerOptions): Plan | undefined {
  const moves = movesOf(differences);
  const first = moves[0];
  if (first === undefined) return undefined;

  const newDirectories = newDirectoriesOf(differences, moves);
  const chosen: DirectoryMove[] = [];
  for (const move of moves) {
    const obstacle = obstacleOf(move, moves, newDirectories, differences);
    if (obstacle === undefined && chosen.every((other) => areApart(move, other))) chosen.push(move);
  }
  const changes: PlannedChange[] = [];
  const made = new Set<TreePath>();
  for (const move of chosen) {
    for (const path of missingParents(move.to, newDirectories)) {
      const now = newDirectories.get(path);
      if (now === undefined || made.has(path)) continue;
      made.add(path);
      changes.push({ type: 'mkdir', path, now });
    }
    if (move.replaces === 'directory') changes.push({ type: 'delete', path: move.to });
    changes.push({ type: 'move', from: move.from, to: move.to });
  }
  // A circle (a swap of directories, one moved into its former child): what is in the way steps aside, to
  // the root, which nothing ever replaces.
  if (chosen.length === 0) {
    const from = obstacleOf(first, moves, newDirectories, differences) ?? first.from;
    changes.push({ type: 'move', from, to: options.asideName(ROOT) });
  }
  return { changes, refreshed: [], lookAgain: differences.map((difference) => difference.path) };
}

function movesOf(differences: readonly Difference[]): DirectoryMove[] {
  const moves: DirectoryMove[] = [];
  const used = new Set<TreePath>();
  for (const { path, before, now, movedFrom } of differences) {
    if (now?.kind !== 'directory' || movedFrom === undefined || used.has(movedFrom.path)) continue;
    used.add(movedFrom.path);
    const replaces = before === undefined ? 'nothing' : before.kind === 'directory' ? 'directory' : 'entry';
    moves.push({ from: movedFrom.path, to: path, replaces });
  }
  return moves.sort((a, b) => depthOf(a.to) - depthOf(b.to));
}

/** Directories that are new, not renamed ones, whatever stood at their paths before. */
function newDirectoriesOf(
  differences: readonly Difference[],
  moves: readonly DirectoryMove[],
): ReadonlyMap<TreePath, ObservedDirectory> {
  const found = new Map<TreePath, ObservedDirectory>();
  for (const { path, before, now } of differences) {
    if (now?.kind === 'directory' && before?.kind !== 'directory') found.set(path, now);
  }
  for (const { to } of moves) found.delete(to);
  return found;
}

/**
 * What a rename has to wait for: the source that must go elsewhere first, because it is in the way, above or below.
 * The uppermost rename waits only for sources that can step aside, so there is always a way on.
 */
function obstacleOf(
  move: DirectoryMove,
  moves: readonly DirectoryMove[],
  newDirectories: ReadonlyMap<TreePath, ObservedDirectory>,
  differences: readonly Difference[],
): TreePath | undefined {
  const above = moves.find((other) => other !== move && isInside(move.to, other.to));
  if (above !== undefined) return above.from;
  if (isInside(move.to, move.from) || isInside(move.from, move.to)) return move.from;
  // What went into a directory that is to go elsewhere would go along.
  const leaving = moves.find((other) => other !== move && isInside(move.to, other.from));
  if (leaving !== undefined) return leaving.from;
  if (move.replaces !== 'nothing') {
    const rescued = sourceInside(move.to, move.from, differences);
    if (rescued !== undefined) return rescued;
  }
  for (const parent of missingParents(move.to, newDirectories)) {
    const rescued = sourceInside(parent, move.from, differences);
    if (rescued !== undefined) return rescued;
  }
  return undefined;
}

/** The source of another rename that is at the path given, or below. */
function sourceInside(path: TreePath, own: TreePath, differences: readonly Difference[]): TreePath | undefined {
  return differences.find(({ movedFrom: from }) => from !== undefined && from.path !== own && isInside(from.path, path))
    ?.movedFrom?.path;
}

function areApart(a: DirectoryMove, b: DirectoryMove): boolean {
  for (const x of [a.from, a.to]) {
    for (const y of [b.from, b.to]) if (isInside(x, y) || isInside(y, x)) return false;
  }
  return true;
}

/** New directories above a path, the uppermost first. */
function missingParents(path: TreePath, newDirectories: ReadonlyMap<TreePath, ObservedDirectory>): TreePath[] {
  const missing: TreePath[] = [];
  for (let above = parentOf(path); newDirectories.has(above); above = parentOf(above)) missing.unshift(above);
  return missing;
}
