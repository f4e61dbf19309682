/**
 * Renames of whole directories: one operation, however much is below (E64). They give everything below another
 * past, so they are sent alone, and the rest of the window is looked at again when they are acknowledged.
 */
import { depthOf, isInside, parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
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

  const newDirectories = new Map<TreePath, ObservedDirectory>();
  for (const { path, before, now } of differences) {
    if (now?.kind === 'directory' && before === undefined) newDirectories.set(path, now);
  }
  for (const { to } of moves) newDirectories.delete(to);

  const chosen: DirectoryMove[] = [];
  for (const move of moves) {
    if (canGoNow(move, moves, differences) && chosen.every((other) => areApart(move, other))) chosen.push(move);
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
  // A circle (a swap of directories, one moved into its former child): one steps aside, which opens it.
  if (chosen.length === 0)
    changes.push({ type: 'move', from: first.from, to: options.asideName(parentOf(first.from)) });
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

/** A rename must wait while something that is to be kept stands at its target or is inside what it would remove. */
function canGoNow(move: DirectoryMove, moves: readonly DirectoryMove[], differences: readonly Difference[]): boolean {
  if (isInside(move.to, move.from)) return false;
  if (move.replaces === 'nothing') return true;
  const rescuedFromTarget = (source: TreePath): boolean => isInside(source, move.to);
  return (
    !moves.some((other) => rescuedFromTarget(other.from)) &&
    !differences.some(({ movedFrom }) => movedFrom !== undefined && rescuedFromTarget(movedFrom.path))
  );
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
