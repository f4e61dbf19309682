/**
 * Why one change of a batch was not applied. Problems belong to a change, never to its batch; errors that are not
 * a change's own (a failing log, a damaged index) are not of this class and end the group.
 */
import { errnoError, errnoOf, LockstepError, type Reason } from '../../../common/ops/errors.ts';
import { displayPath, type TreePath } from '../../../common/tree/tree-path.ts';
import type { AppliedProblem } from './replica.ts';

export type ProblemKind = AppliedProblem['kind'];

export class ChangeFailure extends Error {
  override readonly name = 'ChangeFailure';
  readonly kind: ProblemKind;
  readonly reason: Reason;
  readonly path: TreePath;

  constructor(kind: ProblemKind, reason: Reason, path: TreePath, message: string) {
    super(message);
    this.kind = kind;
    this.reason = reason;
    this.path = path;
  }
}

export function invalid(reason: Reason, path: TreePath, message: string): ChangeFailure {
  return new ChangeFailure('invalid', reason, path, message);
}

/** The disk is not what the index says. Whoever throws this has the index corrected. */
export function drifted(path: TreePath, what: string): ChangeFailure {
  return new ChangeFailure('drifted', 'DRIFTED', path, `${displayPath(path)} ${what}`);
}

/** Errnos that say "the tree is not what the index says", not "the file system refused". */
const DRIFT_ERRNOS: ReadonlySet<string | undefined> = new Set([
  'ENOENT',
  'ENOTDIR',
  'EISDIR',
  'ENOTEMPTY',
  'EEXIST',
  'ELOOP',
]);

/**
 * What a file call threw while a change was performed, as the change's problem.
 * @throws the error itself when it is no file system's: a defect, or damage of the index
 */
export function failureOf(error: unknown, operation: string, path: TreePath): ChangeFailure {
  if (error instanceof ChangeFailure) return error;
  if (error instanceof LockstepError && error.reason === 'NAME_UNSUPPORTED') {
    return new ChangeFailure('failed', error.reason, path, error.message);
  }
  const errno = errnoOf(error);
  if (errno !== undefined) {
    if (DRIFT_ERRNOS.has(errno)) return drifted(path, `is not what the index says (${operation}: ${errno})`);
    const wrapped = errnoError(`${operation} ${displayPath(path)}`, error, path);
    return new ChangeFailure('failed', wrapped.reason, path, wrapped.message);
  }
  if (error instanceof LockstepError && (error.reason === 'NOT_REGULAR' || error.reason === 'INVALID_TIME')) {
    const kind = error.reason === 'NOT_REGULAR' ? 'drifted' : 'failed';
    return new ChangeFailure(kind, error.reason, path, error.message);
  }
  throw error;
}

/** What checking a peer's field threw, as the change's problem. @throws anything that is not the peer's fault */
export function invalidOf(error: unknown, path: TreePath): ChangeFailure {
  if (error instanceof ChangeFailure) return error;
  if (error instanceof LockstepError && error.reason !== 'INTERNAL' && error.reason !== 'INDEX_DAMAGED') {
    return invalid(error.reason, error.path ?? path, error.message);
  }
  throw error;
}

export function toProblem(failure: ChangeFailure, index: number): AppliedProblem {
  const { kind, path, reason, message } = failure;
  return { index, kind, path, reason, message };
}
