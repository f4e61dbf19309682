/**
 * The applier's day: startup, then batches in groups, and between them, in slices, the looking for drift. Runs in one
 * thread, all work in it synchronous; the queue of batches is what makes groups (group commit).
 */
import type { Digest } from '../../../common/content/digest.ts';
import { Deferred } from '../../../common/ops/async.ts';
import { describeError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import type { Entry } from '../../../common/tree/entry.ts';
import { displayPath, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { Applier } from './applier.ts';
import type {
  ApplierApi,
  ApplierEvents,
  ApplierInfo,
  LocatedFile,
  RepairRequest,
  VerificationPage,
  VerificationRow,
} from './applier-api.ts';
import { Checkpointer } from './checkpoint.ts';
import { DriftPass } from './drift-pass.ts';
import { commitDrift, LogAheadError, recordDrift } from './drift-record.ts';
import type { FeedRevision } from './feed-codec.ts';
import type { GroupResult } from './group.ts';
import * as queries from './index-queries.ts';
import { findBrokenLink, type LinkFinding, type LinkQuestion } from './link-check.ts';
import { findEscapingLinks } from './link-escape.ts';
import { quarantine } from './quarantine.ts';
import type { OnCorrected } from './reconciler.ts';
import { recover } from './recovery.ts';
import { isUntidy } from './staging-sweep.ts';
import { runInTurns, runToEnd } from './steps.ts';
import type { SyncFileSystem } from './sync-file-system.ts';
import type { AppliedBatch, DirectoryComparison, IncomingBatch, RecordWithDigest } from './replica.ts';
import { closeCore, type CoreOptions, openCore, type ReplicaCore } from './replica-core.ts';

const MAX_GROUP_BATCHES = 64;
const MAX_GROUP_BYTES = 16 * 2 ** 20;
/** Small ones by the ten thousand are short on the wire: some two seconds of work. */
const MAX_GROUP_CHANGES = 32_768;
/** Of background work, between two looks at the queue. */
const SLICE_MS = 5;
/** How long `applied` may be ahead of `durable`. */
const SYNC_DELAY_MS = 20;
/** Before a folder that could not go on is recovered once more. */
const RETRY_MS = 2_000;
/** Between two tries of a checkpoint it is doubled up to this: each may write the whole log anew. */
const MAX_CHECKPOINT_RETRY_MS = 60_000;
const MAX_DRIFT_DIRECTORIES = 1_000;

interface QueuedBatch {
  readonly batch: IncomingBatch;
  readonly answer: Deferred<AppliedBatch>;
}

interface Broken {
  readonly error: unknown;
  readonly retryAtMs: number;
}

export interface ApplierServiceOptions extends CoreOptions {
  readonly events: ApplierEvents;
  readonly syncFileSystem?: SyncFileSystem | undefined;
}

export class ApplierService implements ApplierApi {
  readonly #core: ReplicaCore;
  readonly #events: ApplierEvents;
  readonly #checkpointer: Checkpointer;
  #applier: Applier;
  #queue: QueuedBatch[] = [];
  readonly #ready = new Deferred<void>();
  #pass: DriftPass | undefined;
  #isReady = false;
  #isClosing = false;
  readonly #closed = new AbortController();
  #isScheduled = false;
  #degraded: string | undefined;
  /** What was last told of owners that cannot be kept. */
  #toldComplaint: string | undefined;
  /** Why nothing can be applied, and when that is tried again. */
  #broken: Broken | undefined;
  #syncTimer: NodeJS.Timeout | undefined;
  #driftTimer: NodeJS.Timeout | undefined;
  #checkpointTimer: NodeJS.Timeout | undefined;
  #retryTimer: NodeJS.Timeout | undefined;
  #isCheckpointOwed = false;
  /** Why the last one could not be made. */
  #checkpointFailure: string | undefined;
  #checkpointRetryMs = RETRY_MS;

  /** Opens the replica and replays its log; the first look through it goes on afterwards. @throws what `openCore` does */
  constructor(options: ApplierServiceOptions) {
    this.#core = openCore(options);
    this.#events = options.events;
    this.#checkpointer = new Checkpointer(this.#core, options.syncFileSystem);
    try {
      recover(this.#core);
      this.#applier = new Applier(this.#core);
      const { settings, state, doubt, staging } = this.#core;
      if (isUntidy(staging)) options.events.onTrash();
      this.#isCheckpointOwed = doubt.isRaised;
      if (settings.looksForDrift !== false || !state.isComplete) this.#pass = new DriftPass(this.#core);
      else this.#becomeReady();
    } catch (error) {
      closeCore(this.#core);
      throw error;
    }
    this.#ready.promise.catch(() => undefined); // Each waiting call reports it.
    this.#tell();
    this.#schedule();
  }

  async nextLease(): Promise<bigint> {
    await this.#ready.promise;
    this.#assertOpen();
    // The index is in the middle of what failed; recovery is on its way.
    if (this.#broken !== undefined) throw asLockstepError(this.#broken.error);
    const lease = this.#applier.nextLease();
    this.#tell();
    return lease;
  }

  async applyBatch(batch: IncomingBatch): Promise<AppliedBatch> {
    this.#assertOpen();
    const answer = new Deferred<AppliedBatch>();
    this.#queue.push({ batch, answer });
    this.#schedule();
    return answer.promise;
  }

  async rootTreeDigest(): Promise<Digest> {
    return (await this.#index()).treeDigest(ROOT);
  }

  async getEntry(path: TreePath): Promise<RecordWithDigest | undefined> {
    return queries.getEntry(await this.#index(), path);
  }

  async compareDirectory(
    path: TreePath,
    believed: Digest | undefined,
    after: string,
    limit: number,
  ): Promise<DirectoryComparison> {
    return queries.compareDirectory(await this.#index(), path, believed, after, limit);
  }

  async listEntries(
    path: TreePath,
    recursive: boolean,
    after: TreePath | undefined,
    limit: number,
  ): Promise<readonly Entry[]> {
    return queries.listEntries(await this.#index(), path, recursive, after, limit);
  }

  async linkIds(paths: readonly TreePath[]): Promise<readonly bigint[]> {
    return queries.linkIds(await this.#index(), paths);
  }

  async locate(path: TreePath): Promise<LocatedFile | undefined> {
    return queries.locate(await this.#index(), path);
  }

  async findContent(digest: Digest): Promise<LocatedFile | undefined> {
    return queries.findContent(await this.#index(), digest);
  }

  async verificationPage(directory: TreePath, after: string, limit: number): Promise<VerificationPage | undefined> {
    return queries.verificationPage(await this.#index(), directory, after, limit);
  }

  async verificationRows(
    directory: TreePath,
    names: readonly string[],
  ): Promise<readonly VerificationRow[] | undefined> {
    return queries.verificationRows(await this.#index(), directory, names);
  }

  async brokenLinks(questions: readonly LinkQuestion[]): Promise<readonly LinkFinding[]> {
    const index = await this.#index();
    const { root } = this.#core;
    root.forgetAll();
    return questions.flatMap((question) => findBrokenLink(root, index, question) ?? []);
  }

  async readFeed(after: bigint): Promise<readonly FeedRevision[]> {
    await this.#index();
    return this.#core.feed.read(after, this.#core.state.revision);
  }

  async repair(found: readonly RepairRequest[]): Promise<void> {
    const index = await this.#index();
    const { state, log, root } = this.#core;
    root.forgetAll();
    const corrected = new Set<TreePath>();
    index.begin();
    try {
      for (const request of found) this.#repairOne(request, (path) => corrected.add(path));
      if (corrected.size > 0) {
        recordDrift(this.#core, [...corrected]);
        state.saveHead();
      }
      commitDrift(this.#core);
    } catch (error) {
      log.discard();
      index.rollback();
      state.reload();
      throw this.#afterDrift(error);
    }
    this.#tellDrift([...corrected]);
  }

  /** What the system refuses is that entry's problem: it stays as it is, to be found again, and the others are repaired. */
  #repairOne({ path, what }: RepairRequest, onCorrected: OnCorrected): void {
    const { index, reconciler, logger } = this.#core;
    try {
      if (what === 'content') quarantine(this.#core, path);
      // Whoever has linked it hears of it, though nothing else of it is wrong.
      if (what === 'links') onCorrected(path);
      // Without an identity the content is read anew, however unchanged the file looks (E98).
      else if (index.has(path) && path !== ROOT) index.setIdentity(path, undefined);
      if (what === 'metadata') runToEnd(reconciler.settle(path, onCorrected));
      else runToEnd(reconciler.settleTree(path, onCorrected));
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      logger.error(
        { path: displayPath(path), err: error },
        'an entry that is wrong cannot be repaired and stays as it is',
      );
    }
  }

  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#closed.abort();
    clearTimeout(this.#driftTimer);
    clearTimeout(this.#syncTimer);
    clearTimeout(this.#checkpointTimer);
    clearTimeout(this.#retryTimer);
    // It reports its failure itself.
    if (this.#checkpointer.isHolding) await this.#checkpointer.run().catch(() => undefined);
    while (this.#isReady && this.#broken === undefined && this.#queue.length > 0) this.#applyGroup();
    const error = new LockstepError('DRAINING', 'the server is shutting down');
    for (const { answer } of this.#queue.splice(0)) answer.reject(error);
    this.#ready.reject(error);
    this.#pass?.stop();
    try {
      if (this.#broken === undefined) {
        this.#applier.sync();
        await this.#checkpointer.run();
      }
    } catch (failure) {
      // The log has everything: the next start replays it.
      this.#core.logger.warn({ error: describeError(failure) }, 'no checkpoint at the end');
    }
    closeCore(this.#core);
  }

  async #index(): Promise<ReplicaCore['index']> {
    await this.#ready.promise;
    this.#assertOpen();
    return this.#core.index;
  }

  #assertOpen(): void {
    if (this.#isClosing) throw new LockstepError('DRAINING', 'the server is shutting down');
  }

  /** One turn of the event loop per group: all batches that arrived meanwhile are in the queue by then. */
  #schedule(): void {
    if (this.#isScheduled || this.#isClosing) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      if (!this.#isClosing) this.#turn();
    });
  }

  #turn(): void {
    // Its end is the next turn.
    if (this.#checkpointer.isHolding) return;
    if (this.#broken !== undefined) {
      this.#recoverOrRefuse(this.#broken);
      return;
    }
    if (this.#isReady && this.#queue.length > 0 && !this.#checkpointer.isBehind) this.#applyGroup();
    else if (this.#pass !== undefined) this.#runPass(this.#pass);
    this.#startCheckpoint();
    if ((this.#isReady && this.#queue.length > 0 && !this.#checkpointer.isBehind) || this.#pass !== undefined)
      this.#schedule();
  }

  #applyGroup(): void {
    const group = this.#takeGroup();
    const trashBefore = this.#core.performer.trashed;
    try {
      const { results, drifted } = this.#applier.applyGroup(group.map(({ batch }) => batch));
      this.#degraded = undefined;
      this.#tell();
      for (const [index, { answer }] of group.entries()) settle(answer, results[index]);
      this.#tellDrift(drifted);
      this.#syncSoon();
    } catch (error) {
      for (const { answer } of group) answer.reject(asLockstepError(error));
      this.#afterFailure(error);
    }
    if (this.#core.performer.trashed !== trashBefore) this.#events.onTrash();
  }

  #takeGroup(): QueuedBatch[] {
    let [bytes, changes, count] = [0, 0, 0];
    for (const { batch } of this.#queue) {
      bytes += batch.encoded.length;
      changes += batch.changeCount ?? 0;
      const isFull = bytes > MAX_GROUP_BYTES || changes > MAX_GROUP_CHANGES || count === MAX_GROUP_BATCHES;
      if (count > 0 && isFull) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  #afterFailure(error: unknown): void {
    const { logger } = this.#core;
    logger.error({ err: error }, 'a group of batches could not be applied');
    this.#degraded = describeError(error);
    if (error instanceof LockstepError && error.reason === 'NO_SPACE' && this.#applier.isIntact) {
      // Nothing was changed; the next group may find space again.
      this.#tell();
      return;
    }
    this.#retryLater(error);
    this.#tell();
  }

  /** Revisions that follow would have the number of a record that the index does not know. Returns what is to be told. */
  #afterDrift(error: unknown): unknown {
    if (!(error instanceof LogAheadError)) return error;
    this.#retryLater(error.cause);
    this.#degraded = describeError(error.cause);
    this.#tell();
    return error.cause;
  }

  /** Also when nobody asks for anything meanwhile: who waits for a lease sends no batches. */
  #retryLater(error: unknown): void {
    this.#broken = { error, retryAtMs: performance.now() + RETRY_MS };
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => this.#schedule(), RETRY_MS + 1);
    this.#retryTimer.unref();
  }

  /** What the log has and the disk has not is made good by recovery, as after a crash. */
  #recoverOrRefuse(broken: Broken): void {
    if (performance.now() >= broken.retryAtMs) {
      try {
        recover(this.#core);
        this.#applier = new Applier(this.#core);
        this.#broken = undefined;
        this.#degraded = undefined;
        this.#pass ??= new DriftPass(this.#core);
        // Drift that only the log had is in the index from here on, and nobody has been told which.
        this.#tellDrift([ROOT]);
        this.#schedule();
        return;
      } catch (error) {
        this.#core.index.rollback();
        this.#core.log.discard();
        this.#retryLater(error);
      }
    }
    for (const { answer } of this.#queue.splice(0)) answer.reject(asLockstepError(broken.error));
  }

  #runPass(pass: DriftPass): void {
    let pauseMs = this.#core.settings.driftIntervalMs;
    try {
      this.#tellDrift(pass.runSlice(SLICE_MS));
    } catch (thrown) {
      const error = this.#afterDrift(thrown);
      this.#core.logger.error({ err: error }, 'the replica could not be looked through');
      this.#degraded = describeError(error);
      this.#tell();
      pass.stop();
      pauseMs = Math.min(pauseMs, RETRY_MS);
    }
    if (this.#core.owners?.complaint !== this.#toldComplaint) this.#tell();
    if (!pass.isDone) return;
    this.#pass = undefined;
    this.#driftTimer = setTimeout(() => {
      this.#pass = new DriftPass(this.#core);
      this.#schedule();
    }, pauseMs);
    this.#driftTimer.unref();
    // An index that was never filled says nothing about the replica: nobody may take it for the truth.
    if (this.#isReady || !this.#core.state.isComplete) return;
    this.#becomeReady();
    this.#tell();
    this.#schedule();
  }

  #becomeReady(): void {
    this.#isReady = true;
    this.#ready.resolve();
    if (this.#core.settings.refusesEscapingLinks !== true) return;
    this.#tellOfEscapingLinks().catch((error: unknown) => {
      if (!this.#isClosing)
        this.#core.logger.error({ err: error }, 'links that lead out of the folder cannot be looked for');
    });
  }

  /** What came before they were refused stays: to remove it is for whoever owns the watched directory. */
  async #tellOfEscapingLinks(): Promise<void> {
    const { index, logger } = this.#core;
    const { count, examples } = await runInTurns(findEscapingLinks(index), {
      minimumMs: () => 0,
      signal: this.#closed.signal,
    });
    if (count === 0) return;
    const paths = examples.map((path) => displayPath(path));
    logger.warn({ count, paths }, 'links that lead out of the folder are here from before they were refused');
  }

  #startCheckpoint(): void {
    const isWanted = this.#checkpointer.isDue || this.#isCheckpointOwed;
    if (!isWanted || this.#checkpointTimer !== undefined) return;
    this.#isCheckpointOwed = false;
    this.#checkpointer.run().then(
      () => {
        this.#checkpointFailure = undefined;
        this.#checkpointRetryMs = RETRY_MS;
        this.#tell();
        this.#schedule();
      },
      (error: unknown) => {
        this.#core.logger.error({ err: error }, 'no checkpoint could be made');
        this.#checkpointFailure = describeError(error);
        this.#tell();
        this.#checkpointTimer = setTimeout(() => {
          this.#checkpointTimer = undefined;
          this.#isCheckpointOwed = true;
          this.#schedule();
        }, this.#checkpointRetryMs);
        this.#checkpointTimer.unref();
        this.#checkpointRetryMs = Math.min(2 * this.#checkpointRetryMs, MAX_CHECKPOINT_RETRY_MS);
        this.#schedule();
      },
    );
  }

  #syncSoon(): void {
    if (this.#applier.durableRevision === this.#core.state.revision || this.#syncTimer !== undefined) return;
    this.#syncTimer = setTimeout(() => {
      this.#syncTimer = undefined;
      try {
        this.#applier.sync();
        this.#tell();
      } catch (error) {
        this.#afterFailure(error);
      }
    }, SYNC_DELAY_MS);
  }

  #tellDrift(paths: readonly TreePath[]): void {
    if (paths.length === 0) return;
    this.#tell();
    const directories = new Set(paths.map((path) => parentOf(path)));
    const told = directories.size > MAX_DRIFT_DIRECTORIES ? [ROOT] : [...directories];
    this.#events.onDrift(told, this.#core.state.revision);
    // A correction is a revision too, and whoever takes the lease next waits until it is durable.
    this.#syncSoon();
  }

  #tell(): void {
    const { settings, state, index, log, owners } = this.#core;
    const { done: checkpoints, isSyncInDoubt, rewrittenFiles } = this.#checkpointer;
    const refused = this.#isReady ? owners?.complaint : undefined;
    const trouble = this.#degraded ?? this.#checkpointFailure ?? refused;
    this.#toldComplaint = owners?.complaint;
    const info: ApplierInfo = {
      epoch: state.epoch,
      lease: state.lease,
      headRevision: state.revision,
      headBatchId: state.headBatchId,
      durableRevision: this.#applier.durableRevision,
      entries: index.count(),
      contentBytes: index.bytes(),
      state: trouble !== undefined ? 'degraded' : this.#isReady ? 'ready' : 'recovering',
      stateReason: trouble ?? (this.#isReady ? '' : 'the replica is being looked through'),
      keepsOwners: settings.keepsOwners,
      ownerRefusals: owners?.refusals,
      log: { sizeBytes: log.sizeBytes, checkpoints, isSyncInDoubt, rewrittenFiles },
    };
    this.#events.onInfo(info);
  }
}

function settle(answer: Deferred<AppliedBatch>, result: GroupResult | undefined): void {
  if (result === undefined) answer.reject(new LockstepError('INTERNAL', 'a batch was not answered'));
  else if (result.outcome === 'applied') answer.resolve(result.answer);
  else answer.reject(result.error);
}

function asLockstepError(error: unknown): LockstepError {
  if (error instanceof LockstepError) return error;
  return new LockstepError('IO', `the folder cannot take changes: ${describeError(error)}`, { cause: error });
}
