/**
 * The order of new directories and renames of files and links: a depth-first topological sort. A rename waits for the
 * new directories above its target and for the rename that frees its target; a new directory waits for the
 * rename that frees its place. A rename that waits for itself in a circle steps aside first (E61).
 */
import { parentOf, type TreePath } from '../../../common/tree/tree-path.ts';
import type { Difference } from './difference.ts';
import type { PlannedChange } from './plan.ts';
import type { PlannerOptions } from './planner.ts';

type Move = Extract<PlannedChange, { readonly type: 'move' }>;

interface Step {
  change: Extract<PlannedChange, { readonly type: 'mkdir' }> | Move;
  state: 'waiting' | 'entered' | 'done';
}

export function orderMovesAndDirectories(
  window: readonly Difference[],
  vacated: ReadonlySet<TreePath>,
  options: PlannerOptions,
): PlannedChange[] {
  const directories = new Map<TreePath, Step>();
  const movesBySource = new Map<TreePath, Step>();
  const steps: Step[] = [];
  for (const { path, before, now, movedFrom } of window) {
    if (now === undefined) continue;
    let step: Step | undefined;
    if (now.kind === 'directory' && (before?.kind !== 'directory' || vacated.has(path))) {
      step = { change: { type: 'mkdir', path, now }, state: 'waiting' };
      directories.set(path, step);
    } else if (movedFrom !== undefined) {
      step = { change: { type: 'move', from: movedFrom.path, to: path }, state: 'waiting' };
      movesBySource.set(movedFrom.path, step);
    }
    if (step !== undefined) steps.push(step);
  }

  const ordered: PlannedChange[] = [];
  const parked: PlannedChange[] = [];
  for (const step of steps) visit(step);
  return [...ordered, ...parked];

  function visit(step: Step): void {
    if (step.state !== 'waiting') return;
    step.state = 'entered';
    const { change } = step;
    for (const needed of neededBefore(change)) {
      if (needed.state === 'entered' && change.type === 'move') {
        parked.push(stepAside(change));
        step.state = 'done';
        return;
      }
      // The directory takes its path now; the rest of that rename comes when what it waits for is done.
      if (needed.state === 'entered' && needed.change.type === 'move') needed.change = stepAside(needed.change);
      visit(needed);
    }
    ordered.push(step.change);
    step.state = 'done';
  }

  /** Returns what is left of the rename. */
  function stepAside({ from, to }: Move): Move {
    const aside = options.asideName(parentOf(from));
    ordered.push({ type: 'move', from, to: aside });
    return { type: 'move', from: aside, to };
  }

  function neededBefore(change: Step['change']): Step[] {
    const target = change.type === 'move' ? change.to : change.path;
    const needed: Step[] = [];
    const above = nearestNewDirectory(target);
    if (above !== undefined) needed.push(above);
    const freeing = movesBySource.get(target);
    if (freeing !== undefined && freeing.change !== change) needed.push(freeing);
    return needed;
  }

  /** Its own ancestors are reached through it. */
  function nearestNewDirectory(path: TreePath): Step | undefined {
    for (let above = path; above !== ''; ) {
      above = parentOf(above);
      const step = directories.get(above);
      if (step !== undefined) return step;
    }
    return undefined;
  }
}
