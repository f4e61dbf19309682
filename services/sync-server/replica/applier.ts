/**
 * The write-ahead discipline: plan a group of batches against the index and stage what they bring, log them, sync the log
 * once, and only then let the replica follow and the index commit. So what can be seen is durable, and a crash
 * anywhere in between is made good from the log (recovery.ts).
 */
import { describeError, LockstepError } from '../../../common/ops/errors.ts';
import { displayPath, type TreePath } from '../../../common/tree/tree-path.ts';
import { decodeBatch } from './batch-decoder.ts';
import { ChangeFailure, invalidOf, toProblem } from './change-failure.ts';
import { nowNs } from './disk-identity.ts';
import { recordDrift } from './drift-record.ts';
import { feedChangeOf } from './feed-changes.ts';
import { settleIdentities } from './group-identities.ts';
import type { AcceptedBatch, GroupResult, PlannedBatch } from './group.ts';
import { stagedName } from './layout.ts';
import { type Operation, pathsOf } from './operation.ts';
import { identifyCopied } from './other-file-system.ts';
import { errnoText } from './performer.ts';
import { runToEnd } from './steps.ts';
import { takeBack } from './take-back.ts';
import type { AppliedBatch, AppliedProblem, IncomingBatch } from './replica.ts';
import { assertRoot, type ReplicaCore } from './replica-core.ts';

export interface GroupOutcome {
  /** In the order of the batches. */
  readonly results: readonly GroupResult[];
  /** Entries that were not what the index said; a revision of its own corrected them. */
  readonly drifted: readonly TreePath[];
}

export class Applier {
  readonly #core: ReplicaCore;
  #durableRevision: bigint;
  #isIntact = true;

  constructor(core: ReplicaCore) {
    this.#core = core;
    this.#durableRevision = core.state.revision;
  }

  get durableRevision(): bigint {
    return this.#durableRevision;
  }

  /** False after a group failed in the middle: only recovery can say what the disk has. */
  get isIntact(): boolean {
    return this.#isIntact;
  }

  /** Makes `lease` the newest; durable when this returns. */
  nextLease(): bigint {
    const { index, state } = this.#core;
    const lease = state.lease + 1n;
    index.transaction(() => state.setLease(lease));
    index.checkpoint();
    return lease;
  }

  /**
   * Applies batches in order. What a batch does wrong is its own result; an error thrown concerns all of them: the log
   * could not be written (then nothing was changed), or index or disk failed in the middle (then recovery is needed).
   */
  applyGroup(batches: readonly IncomingBatch[]): GroupOutcome {
    const { index, log, crashPoint, state, root, planner, folding, settings } = this.#core;
    assertRoot(this.#core);
    // Handles of directories that others moved meanwhile would lead astray.
    root.forgetAll();
    // A directory that is filled in staging is not asked name by name.
    planner.begin({ fillsDirectories: !folding.isFolding, refusesEscapingLinks: settings.refusesEscapingLinks });
    index.begin();
    const planned: PlannedBatch[] = [];
    const accepted: AcceptedBatch[] = [];
    try {
      for (const batch of batches) planned.push(this.#plan(batch, accepted));
      planner.end();
      crashPoint('planned');
      log.write();
      crashPoint('logged');
      if (accepted.some(({ incoming }) => incoming.acknowledgement === 'durable')) log.sync();
      crashPoint('synced');
    } catch (error) {
      this.#abandon(accepted);
      throw error;
    }
    this.#isIntact = false;
    const drifted = this.#perform(accepted);
    index.commit();
    this.#isIntact = true;
    crashPoint('committed');
    if (accepted.some(({ incoming }) => incoming.acknowledgement === 'durable')) this.#durableRevision = state.revision;
    return { results: planned.map((one) => this.#resultOf(one)), drifted };
  }

  /** With acknowledgement `applied`: lets durability catch up. */
  sync(): void {
    const { log, state } = this.#core;
    if (this.#durableRevision === state.revision) return;
    log.sync();
    this.#durableRevision = state.revision;
  }

  #plan(incoming: IncomingBatch, accepted: AcceptedBatch[]): PlannedBatch {
    const { settings, state, log } = this.#core;
    try {
      if (incoming.lease !== state.lease) {
        throw new LockstepError(
          'LEASE_STALE',
          `the lease ${incoming.lease} is not the folder's newest; acquire another`,
        );
      }
      const decoded = decodeBatch(incoming.encoded, incoming.form, settings);
      const known = this.#knownAnswer(decoded.batchId, accepted);
      if (known !== undefined) return answered(known);
      const revision = state.revision + 1n;
      const timeNs = nowNs();
      const operations: Operation[] = [];
      const problems: AppliedProblem[] = [];
      for (const [changeIndex, change] of decoded.changes.entries()) {
        try {
          if (change instanceof ChangeFailure) throw change;
          operations.push(this.#core.planner.plan(change, { revision, changeIndex }));
        } catch (error) {
          problems.push(toProblem(invalidOf(error, '' as TreePath), changeIndex));
        }
      }
      if (operations.length === 0) {
        return answered({ batchId: decoded.batchId, revision: state.revision, durable: false, problems });
      }
      const { lease, form, encoded } = incoming;
      log.append({ type: 'batch', revision, lease, timeNs, form, refused: problems, encoded });
      state.setHead(revision, decoded.batchId);
      const batch: AcceptedBatch = { incoming, decoded, revision, timeNs, operations, problems, feed: [] };
      accepted.push(batch);
      return { kind: 'accepted', batch };
    } catch (error) {
      if (!(error instanceof LockstepError) || !REFUSALS.has(error.reason)) throw error;
      return { kind: 'answered', result: { outcome: 'refused', error } };
    }
  }

  /** The answer that this batch had before, in this group or earlier. */
  #knownAnswer(batchId: Buffer, accepted: readonly AcceptedBatch[]): AppliedBatch | undefined {
    const { state } = this.#core;
    const remembered = state.answerTo(batchId);
    if (remembered !== undefined) return { batchId, ...remembered, durable: false };
    const twin = accepted.find(({ decoded }) => decoded.batchId.equals(batchId));
    return twin && { batchId, revision: twin.revision, problems: twin.problems, durable: false };
  }

  /** Lets the disk follow, corrects the index where it did not, and leaves the transaction ready to be committed. */
  #perform(accepted: readonly AcceptedBatch[]): readonly TreePath[] {
    const { index, performer, planner, state, feed, root, logger, log } = this.#core;
    const suspects = new Set<TreePath>();
    performer.copied.clear();
    for (const batch of accepted) {
      const failed: AppliedProblem[] = [];
      for (const operation of batch.operations) {
        try {
          performer.perform(operation);
          batch.feed.push(feedChangeOf(operation));
        } catch (error) {
          if (!(error instanceof ChangeFailure)) throw error;
          failed.push(toProblem(error, operation.position.changeIndex));
          this.#undo(operation, suspects);
          suspects.add(error.path);
        }
      }
      if (failed.length > 0) log.append({ type: 'outcome', revision: batch.revision, failed });
      batch.problems.push(...failed);
    }
    settleIdentities(planner, performer, root);
    identifyCopied(root, index, performer.copied);
    performer.touched.restore((path, error) => {
      logger.warn({ path: displayPath(path), error: errnoText(error) }, 'cannot set the time of a directory');
    });
    const drifted = this.#correct(suspects);
    for (const { decoded, revision, timeNs, problems, feed: changes } of accepted) {
      state.remember(decoded.batchId, { revision, problems });
      feed.append({ revision, timeNs, changes });
    }
    if (drifted.length > 0) recordDrift(this.#core, drifted);
    if (accepted.length > 0) state.saveHead();
    feed.flush();
    log.write();
    return drifted;
  }

  #undo(operation: Operation, suspects: Set<TreePath>): void {
    takeBack(operation, this.#core);
    this.#discardStaged(operation);
    for (const path of pathsOf(operation)) suspects.add(path);
  }

  /** Sets the index to what the disk has at these paths. */
  #correct(suspects: ReadonlySet<TreePath>): readonly TreePath[] {
    if (suspects.size === 0) return [];
    this.#core.root.forgetAll();
    const corrected: TreePath[] = [];
    for (const path of suspects) {
      runToEnd(this.#core.reconciler.settleTree(path, (found) => corrected.push(found)));
    }
    return corrected;
  }

  /** Nothing was made visible: index and staging go back to where they were. */
  #abandon(accepted: readonly AcceptedBatch[]): void {
    const { index, log, state, planner, crashPoint } = this.#core;
    crashPoint('abandoning');
    planner.end();
    log.discard();
    index.rollback();
    state.reload();
    for (const { operations } of accepted) for (const operation of operations) this.#discardStaged(operation);
  }

  /** A content that was uploaded stays for another attempt. */
  #discardStaged(operation: Operation): void {
    if (operation.type !== 'install' || operation.source.type === 'inside') return;
    if (operation.source.type === 'staged' && operation.source.isOnlyCopy) return;
    const { revision, changeIndex } = operation.position;
    try {
      this.#core.staged.discard(stagedName(revision, changeIndex));
    } catch (error) {
      // The next start sweeps it.
      this.#core.logger.warn({ error: describeError(error) }, 'a staged file stays behind');
    }
  }

  #resultOf(planned: PlannedBatch): GroupResult {
    if (planned.kind === 'answered') {
      const { result } = planned;
      if (result.outcome === 'refused') return result;
      const durable = result.answer.revision <= this.#durableRevision;
      return { outcome: 'applied', answer: { ...result.answer, durable } };
    }
    const { decoded, revision, problems } = planned.batch;
    const durable = revision <= this.#durableRevision;
    problems.sort((a, b) => a.index - b.index);
    return { outcome: 'applied', answer: { batchId: decoded.batchId, revision, durable, problems } };
  }
}

/** Errors that are one batch's own; all others concern the folder. */
const REFUSALS: ReadonlySet<string> = new Set(['LEASE_STALE', 'INVALID_ARGUMENT', 'LIMIT_EXCEEDED']);

/** Whether it is durable is said when the group is through. */
function answered(answer: AppliedBatch): PlannedBatch {
  return { kind: 'answered', result: { outcome: 'applied', answer } };
}
