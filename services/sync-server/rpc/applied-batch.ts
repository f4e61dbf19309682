/**
 * The answer to a batch in its wire form.
 */
import { describeError } from '../../../common/ops/errors.ts';
import { toWirePath } from '../../../common/tree/tree-path.ts';
import { type ChangeProblem, ChangeProblemKind } from '../../../gen/lockstep/sync/v1/change.ts';
import type { BatchApplied } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { AppliedBatch, AppliedProblem } from '../replica/replica.ts';

const MAX_MESSAGE_CHARS = 256;
/** Sentences for people in one answer, in chars; what has no room goes without. The reason always goes. */
const MAX_MESSAGES_CHARS = 512 * 1024;

export function toWireApplied(batch: AppliedBatch): BatchApplied {
  let room = MAX_MESSAGES_CHARS;
  const problems = batch.problems.map((problem): ChangeProblem => {
    const message = describeError(problem.message).slice(0, Math.min(MAX_MESSAGE_CHARS, room)).toWellFormed();
    room -= message.length;
    return {
      index: problem.index,
      kind: toWireKind(problem.kind),
      path: toWirePath(problem.path),
      reason: problem.reason,
      message,
    };
  });
  return { batchId: batch.batchId, revision: batch.revision, durable: batch.durable, problems };
}

function toWireKind(kind: AppliedProblem['kind']): ChangeProblemKind {
  switch (kind) {
    case 'content-needed':
      return ChangeProblemKind.CHANGE_PROBLEM_KIND_CONTENT_NEEDED;
    case 'drifted':
      return ChangeProblemKind.CHANGE_PROBLEM_KIND_DRIFTED;
    case 'basis-mismatch':
      return ChangeProblemKind.CHANGE_PROBLEM_KIND_BASIS_MISMATCH;
    case 'invalid':
      return ChangeProblemKind.CHANGE_PROBLEM_KIND_INVALID;
    case 'failed':
      return ChangeProblemKind.CHANGE_PROBLEM_KIND_FAILED;
  }
}
