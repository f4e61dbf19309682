/**
 * What happens when a replica is opened after whatever happened: replays the log over index and disk, then holds every
 * path that the log touched against the disk (recovery-check.ts). Idempotent: a crash in here, and it begins anew (E92).
 *
 * The index may be behind the log (its commits are not synced one by one) and the disk may be behind the index (a
 * power cut takes back renames). What the disk has done is told by the progress marker (progress-marker.ts).
 */
import type { Stat } from '../../../common/fs/stat.ts';
import { describeError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { nameOf, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { decodeBatch } from './batch-decoder.ts';
import { acceptedChanges, type Change, pathOfChange } from './change.ts';
import { ChangeFailure } from './change-failure.ts';
import { hasSameMetadata } from './disk-identity.ts';
import { recordDrift } from './drift-record.ts';
import { settleIdentities } from './group-identities.ts';
import { replayOnIndex } from './index-replay.ts';
import { contentName, stagedName } from './layout.ts';
import { failuresIn } from './log.ts';
import type { BatchRecord, DriftRecord } from './log-record.ts';
import type { Operation } from './operation.ts';
import { Performer } from './performer.ts';
import { isBefore, type Progress } from './progress-marker.ts';
import { checkTouchedPaths, settleMetadata } from './recovery-check.ts';
import { runToEnd } from './steps.ts';
import { takeBack } from './take-back.ts';
import type { AppliedProblem } from './replica.ts';
import type { ReplicaCore } from './replica-core.ts';
import type { ReplicaLog } from './replica-log.ts';
import { TouchedPaths } from './touched-paths.ts';

export interface RecoveryOutcome {
  /** Revisions that the index did not have. */
  readonly replayed: number;
  /** True when something acknowledged may be missing: a new epoch has begun, so that every client compares. */
  readonly isLossy: boolean;
}

/** Restoring what was ours warns of nothing. */
const SILENT: ReplicaLog = { debug: ignore, info: ignore, warn: ignore, error: ignore };
function ignore(): void {}

/** Leaves index, log and replica in agreement about every path of the log. The whole replica is for the drift pass. */
export function recover(core: ReplicaCore): RecoveryOutcome {
  const { index, state, root, planner, log } = core;
  log.mend();
  // What a group had to say of changes that failed, before it failed itself: they are performed again.
  log.discard();
  index.rollback();
  state.reload();
  root.forgetAll();
  planner.begin();
  index.begin();
  const outcome = core.isRebuilt && !state.isComplete ? beginAnew(core) : new Recovery(core).run();
  core.crashPoint('before recovery commit');
  // What was answered as applied, and was not yet durable, is from here on.
  core.log.sync();
  index.commit();
  sweepStaged(core);
  core.crashPoint('recovered');
  return outcome;
}

/** The index knows nothing: what the log says cannot be laid over it, and is in the replica for the most part. */
function beginAnew({ state, log, marker }: ReplicaCore): RecoveryOutcome {
  let newest = marker.last?.revision ?? 0n;
  for (const record of log.records()) if (record.revision > newest) newest = record.revision;
  log.removeBefore(log.rotate());
  state.beginEpoch();
  // Above all revisions of the lost history, so that no staged name and no position comes twice.
  state.setHead(newest, undefined);
  state.saveHead();
  return { replayed: 0, isLossy: newest > 0n };
}

class Recovery {
  readonly #core: ReplicaCore;
  readonly #performer: Performer;
  readonly #touched = new TouchedPaths();
  /** Paths to be read anew, whatever the index says. */
  readonly #suspects = new Set<TreePath>();
  /** Names in staging of files that have others: links that a crash kept from their paths. */
  readonly #stagedLinks: readonly string[];
  #progress: Progress | undefined;
  #replayed = 0;
  #isLossy = false;

  constructor(core: ReplicaCore) {
    this.#core = core;
    this.#performer = new Performer({ ...core, logger: SILENT });
    this.#progress = core.marker.last;
    const { staging } = core;
    this.#stagedLinks = staging.list().filter((name) => name.startsWith('b-') && (staging.lstat(name)?.nlink ?? 0) > 1);
  }

  run(): RecoveryOutcome {
    const { log, state, logger, marker, planner, root } = this.#core;
    this.#judgeHistory();
    const failures = failuresIn(log);
    for (const record of log.records()) {
      if (record.type === 'batch') this.#replayBatch(record, failures.get(record.revision) ?? []);
      else if (record.type === 'drift') this.#replayDrift(record);
      this.#core.crashPoint('replayed a record');
    }
    if (marker.last !== undefined && marker.last.revision > state.revision) {
      this.#lose('the disk is ahead of the log', 'records of the log are missing');
    }
    settleIdentities(planner, this.#performer, root);
    const { lost, hasSeparated } = checkTouchedPaths(this.#core, this.#performer, this.#touched);
    if (hasSeparated) this.#lose('hard links', 'files had to be made anew, one by one');
    for (const path of lost) {
      this.#lose(path, 'a content cannot be rebuilt from the log');
      this.#suspects.add(path);
    }
    this.#performer.touched.restore(() => undefined);
    this.#settleSuspects();
    if (this.#isLossy) state.beginEpoch();
    state.saveHead();
    if (this.#replayed > 0) logger.info({ revisions: this.#replayed }, 'replayed the log');
    return { replayed: this.#replayed, isLossy: this.#isLossy };
  }

  /** Whether log and index are of one history (E91, E97). */
  #judgeHistory(): void {
    const { log, state } = this.#core;
    if (log.findings.tornBytes > 0)
      this.#core.logger.warn({ bytes: log.findings.tornBytes }, 'cut a torn tail off the log');
    if (log.findings.isDamaged) this.#lose('log', 'the log is damaged before its tail');
    for (const record of log.records()) {
      if (record.type === 'outcome') continue;
      if (record.revision > state.revision + 1n) this.#lose('log', 'the index is older than the log reaches back');
      break;
    }
  }

  #replayBatch(record: BatchRecord, failed: readonly AppliedProblem[]): void {
    const { state, feed, settings } = this.#core;
    const isNew = record.revision > state.revision;
    const decoded = decodeBatch(record.encoded, record.form, settings);
    for (const [changeIndex, change] of acceptedChanges(decoded.changes, [...record.refused, ...failed])) {
      if (isNew) this.#replayChange(record.revision, changeIndex, change);
      else this.#redoMove(record.revision, changeIndex, change);
      this.#touched.note(change);
    }
    for (const { path } of failed) this.#suspects.add(path);
    if (!isNew) return;
    const problems = [...record.refused, ...failed].sort((a, b) => a.index - b.index);
    state.setHead(record.revision, decoded.batchId);
    state.remember(decoded.batchId, { revision: record.revision, problems });
    // Its changes are not told one by one again: whoever watches from before it lists anew.
    feed.clear();
    this.#replayed++;
  }

  #replayDrift(record: DriftRecord): void {
    const { state, feed } = this.#core;
    if (record.revision <= state.revision) return;
    state.setHead(record.revision, undefined);
    feed.clear();
    for (const path of record.paths) this.#suspects.add(path);
  }

  #replayChange(revision: bigint, changeIndex: number, change: Change): void {
    const { index, planner } = this.#core;
    let operation: Operation | undefined;
    try {
      if (isBefore(revision, changeIndex, this.#progress) || this.#isDone(revision, changeIndex, change)) {
        replayOnIndex(index, change);
        return;
      }
      if (this.#isRemovalDone(revision, changeIndex, change)) index.remove(pathOfChange(change));
      if (change.operation === 'link') this.#settleExisting(change.existing);
      operation = planner.plan(change, { revision, changeIndex });
      this.#performer.perform(operation);
    } catch (error) {
      const isOurs =
        error instanceof ChangeFailure || (error instanceof LockstepError && error.reason !== 'INDEX_DAMAGED');
      if (!isOurs) throw error;
      if (operation !== undefined) takeBack(operation, this.#core);
      this.#lose(pathOfChange(change), describeError(error));
      this.#suspects.add(pathOfChange(change));
      if (change.operation === 'move') this.#suspects.add(change.to);
    }
  }

  /** Whether the disk has a change that is not before the marker. */
  #isDone(revision: bigint, changeIndex: number, change: Change): boolean {
    // A directory is made by one rename, and what is in it may be new already.
    if (change.operation === 'mkdir') return this.#lstat(change.entry.path)?.kind === 'directory';
    // Set for all touched paths in the end; until then the entry is one of unknown identity. But what gets an inode of its
    // own with that may be linked next.
    if (change.operation === 'metadata') return !this.#isShared(change);
    const progress = this.#progress;
    if (progress?.revision !== revision || progress.changeIndex !== changeIndex) return false;
    const path = pathOfChange(change);
    if (progress.phase === 'remove') {
      const isRemoval = change.operation === 'move' || change.operation === 'delete';
      return isRemoval && this.#lstat(path)?.ino !== progress.ino;
    }
    if (change.operation !== 'put' && change.operation !== 'link') return false;
    const isStored = change.operation === 'put' && change.content.type === 'stored';
    const name = isStored ? contentName(change.entry.digest) : '';
    const { staged } = this.#core;
    return !staged.has(stagedName(revision, changeIndex)) && (name === '' || !staged.has(name));
  }

  /** What a file is linked to has its metadata by then; nothing that comes after the link can have touched it yet. */
  #settleExisting(path: TreePath): void {
    const entry = this.#core.index.get(path);
    const stat = this.#lstat(path);
    if (entry?.kind !== 'file' || stat?.kind !== 'file' || entry.identity !== undefined) return;
    if (!hasSameMetadata(entry, stat, this.#core.owners) && entry.sizeBytes === stat.sizeBytes)
      settleMetadata(this.#core, this.#performer, entry, stat);
  }

  /** Whether the file has other names in the tree. */
  #isShared({ path, kind }: Change & { operation: 'metadata' }): boolean {
    if (kind !== 'file') return false;
    const stat = this.#lstat(path);
    if (stat === undefined) return false;
    const staged = this.#stagedLinks.filter((name) => {
      const link = this.#core.staging.lstat(name);
      return link?.ino === stat.ino && link.dev === stat.dev;
    });
    return stat.nlink - staged.length > 1;
  }

  /** A put or link replaces a directory, and the disk has no longer that one. */
  #isRemovalDone(revision: bigint, changeIndex: number, change: Change): boolean {
    if (change.operation !== 'put' && change.operation !== 'link' && change.operation !== 'symlink') return false;
    const { path } = change.entry;
    const progress = this.#progress;
    if (progress?.revision !== revision || progress.changeIndex !== changeIndex) return false;
    if (this.#core.index.get(path)?.kind !== 'directory') return false;
    return progress.phase === 'install' || this.#lstat(path)?.ino !== progress.ino;
  }

  /** The index has it and a power cut took it back from the disk: the inode tells. */
  #redoMove(revision: bigint, changeIndex: number, change: Change): void {
    const { index, root } = this.#core;
    if (change.operation !== 'move' || isBefore(revision, changeIndex, this.#progress)) return;
    const entry = index.get(change.to);
    const stat = this.#lstat(change.from);
    if (entry?.identity === undefined || stat?.ino !== entry.identity.ino || index.has(change.from)) return;
    if (this.#lstat(change.to) !== undefined) return;
    try {
      root
        .directory(parentOf(change.from))
        .rename(nameOf(change.from), root.directory(parentOf(change.to)), nameOf(change.to));
      root.forget(change.from);
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      this.#suspects.add(change.from).add(change.to);
    }
  }

  #settleSuspects(): void {
    this.#core.root.forgetAll();
    const corrected: TreePath[] = [];
    for (const path of this.#suspects) {
      runToEnd(this.#core.reconciler.settleTree(path, (found) => corrected.push(found)));
    }
    if (corrected.length > 0) {
      recordDrift(this.#core, corrected);
      this.#core.log.write();
    }
  }

  #lstat(path: TreePath): Stat | undefined {
    if (path === ROOT) return undefined;
    const parent = this.#core.root.tryDirectory(parentOf(path));
    return parent && this.#core.folding.lstat(parent, nameOf(path));
  }

  #lose(what: string, why: string): void {
    this.#isLossy = true;
    this.#core.logger.warn({ what, why }, 'recovery cannot restore everything; clients will compare');
  }
}

/** What batches staged is at its path by now, or worthless (E84). Uploads, contents and trash are the content worker's. */
function sweepStaged({ staging, staged }: ReplicaCore): void {
  for (const name of staging.list()) {
    if (name.startsWith('b-')) staged.discard(name);
  }
}
