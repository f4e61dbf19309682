/**
 * What the engine says about itself, gathered from its rooms.
 */
import type { EngineStatus } from './messages.ts';
import type { Problems } from './problems.ts';

const MAX_LISTED_PROBLEMS = 100;

export interface StatusFacts extends Omit<EngineStatus, 'inStep' | 'phase' | 'problems' | 'problemCount' | 'reason'> {
  readonly isConnected: boolean;
  readonly isPaused: boolean;
  readonly isComparing: boolean;
  readonly isScanning: boolean;
  readonly hasPending: boolean;
  readonly hasIndex: boolean;
  readonly problems: Problems;
}

export function statusOf(facts: StatusFacts): EngineStatus {
  const { isConnected, isPaused, isComparing, isScanning, hasPending, hasIndex, problems, ...told } = facts;
  const isDone = isConnected && !hasPending;
  const phaseOfWork = isScanning ? 'scanning' : 'sending';
  const phaseWithIndex = isDone ? 'idle' : hasIndex ? phaseOfWork : 'starting';
  const held = told.heldDeletes;
  return {
    ...told,
    phase: isPaused ? 'paused' : isComparing ? 'comparing' : phaseWithIndex,
    inStep: isDone && problems.count === 0 && held === 0,
    problems: problems.list(MAX_LISTED_PROBLEMS),
    problemCount: problems.count,
    reason: held > 0 ? `${held} deletions wait for confirmation (sync-watcher resume)` : '',
  };
}
