/**
 * The engine: where hints, disk, index and acknowledgements meet. A loop that always does the next useful thing: serve
 * what was hinted at, else go on with the scan, else delete what a whole look has shown to be gone. Pending work is
 * never stored: it is disk minus index, found again after any break.
 *
 * Runs in its thread with synchronous file calls, in slices of some milliseconds; knows the server only as commands and
 * events (messages.ts).
 */
import { randomBytes } from 'node:crypto';
import type { Digest } from '../../../common/content/digest.ts';
import { decodeSignature } from '../../../common/content/signature-codec.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { describeError, LockstepError } from '../../../common/ops/errors.ts';
import type { DiskIdentity } from '../../../common/tree/entry.ts';
import { displayPath, joinPath, nameOf, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { SignatureStore } from '../index/signature-store.ts';
import { SyncedIndex } from '../index/synced-index.ts';
import { DirtySet } from '../observe/dirty-set.ts';
import { monotonicMs } from '../observe/hints.ts';
import { HotFiles } from '../observe/hot-files.ts';
import { IgnoreRules } from '../observe/ignore-rules.ts';
import { MassDeleteGuard } from '../observe/mass-delete-guard.ts';
import { withMoves } from '../observe/move-detection.ts';
import { RootGuard } from '../observe/root-guard.ts';
import { Scanner } from '../observe/scanner.ts';
import type { Difference } from '../plan/difference.ts';
import { ASIDE_PREFIX, type Plan } from '../plan/plan.ts';
import { planChanges } from '../plan/planner.ts';
import { ChangeSender, type SenderEffects } from './change-sender.ts';
import { Deletions } from './deletions.ts';
import { DeltaMaker } from './delta-maker.ts';
import { hashFile } from './file-hash.ts';
import { FlushDesk } from './flush-desk.ts';
import { InFlight, type SentBatch, type SentChange } from './in-flight.ts';
import { Lookout } from './lookout.ts';
import type {
  BatchResult,
  EngineCommand,
  EngineEvent,
  EngineOptions,
  EngineStatus,
  SessionFacts,
  UploadResult,
} from './messages.ts';
import { packChanges } from './packed-changes.ts';
import { Postponed } from './postponed.ts';
import { Problems } from './problems.ts';
import { Reconciliation } from './reconciliation.ts';
import { Signing } from './signing.ts';
import { UploadDesk } from './upload-desk.ts';

/** The observer, as the engine needs it. */
export interface Hints {
  /** Resolves when changes in these directories will be hinted at. */
  watchDirectories(directories: readonly TreePath[]): Promise<void>;
  /** Resolves when all hints of what happened before have been delivered; `scan-needed` where that cannot be known. */
  settle(): Promise<'delivered' | 'scan-needed'>;
}

export interface EngineDependencies {
  readonly options: EngineOptions;
  readonly root: SafeRoot;
  /** Undefined when the tree is looked at once. */
  readonly hints: Hints | undefined;
  readonly emit: (event: EngineEvent, transfer?: readonly ArrayBuffer[]) => void;
}

/** What exists from the first session on. */
interface Connected {
  readonly index: SyncedIndex;
  readonly scanner: Scanner;
  readonly sender: ChangeSender;
  readonly session: SessionFacts;
  readonly signatures: Signatures;
}

/** What deltas are made from. */
interface Signatures {
  readonly store: SignatureStore;
  readonly maker: DeltaMaker;
  readonly signing: Signing;
}

interface AfterStructural {
  readonly names: readonly TreePath[];
  readonly subtrees: readonly TreePath[];
  readonly seenMs: number;
}

const NOTHING_AFTER: AfterStructural = { names: [], subtrees: [], seenMs: 0 };

/** Events that belong together arrive within this time: the halves of a rename, the steps of an atomic save. */
const GATHERING_MS = 2;
const STATUS_INTERVAL_MS = 100;
/** How often a file may change under the reader before it is named as busy. */
const MAX_BUSY_TRIES = 20;
/** With `--once`: how much of the time so far may go into signatures at the end, and its bounds. */
const SIGNING_SHARE = 0.1;
const MIN_SIGNING_MS = 200;
const MAX_SIGNING_MS = 2_000;
/** Reasons that only say that the server has something else there than the plan believed: compare, and plan anew. */
const PLANNED_WRONGLY: ReadonlySet<string> = new Set([
  'ENTRY_NOT_FOUND',
  'PARENT_MISSING',
  'NOT_A_DIRECTORY',
  'TARGET_EXISTS',
]);
const MAX_WRONG_PLANS = 5;
const MAX_SHARED_INODES = 50_000;
/** Scans of many watchers are not to fall together (E58). */
const SCAN_JITTER = 0.25;

export class Engine {
  readonly dirty = new DirtySet();
  readonly #options: EngineOptions;
  readonly #root: SafeRoot;
  readonly #hints: Hints | undefined;
  readonly #emit: EngineDependencies['emit'];
  readonly #rootGuard: RootGuard;
  readonly #lookout: Lookout;
  readonly #deletions: Deletions;
  readonly #reconciliation: Reconciliation;
  readonly #uploads: UploadDesk;
  readonly #flushes: FlushDesk;
  readonly #hot = new HotFiles();
  readonly #inFlight = new InFlight();
  readonly #problems = new Problems();
  readonly #postponed = new Postponed();
  readonly #busyTries = new Map<TreePath, number>();
  /** Files that were seen to differ under one of several names, while what is on its way is not in the index yet (E19). */
  readonly #sharedInodes = new Set<bigint>();
  /** What a renamed directory makes look at again, once the rename is acknowledged. */
  #afterStructural: AfterStructural = NOTHING_AFTER;

  #index: SyncedIndex | undefined;
  #signatures: Signatures | undefined;
  #scanner: Scanner | undefined;
  /** Undefined while there is no session. */
  #connected: Connected | undefined;
  /** What is being sent was found by looking through directories, not because of a hint. */
  #isScanning = false;
  /** The index had nothing when the whole scan began, so that no file that it comes upon has been renamed. */
  #startedEmpty = false;
  #wholeScan: { readonly state: 'wanted' | 'running' | 'done'; readonly reason: string; readonly seenMs: number };
  #nextScanMs = Number.POSITIVE_INFINITY;
  #durableRevision = 0n;
  #sentChanges = 0;
  #sentContentBytes = 0;
  #isPaused = false;
  #isClosing = false;
  #isOver = false;
  #firstSyncDone = false;
  readonly #startedMs = monotonicMs();
  #signUntilMs: number | undefined;
  #degraded = '';
  #changeSource = '';
  #lastStatusMs = 0;
  /** When the last step began: what became due later it has not seen. */
  #steppedMs = 0;
  #isWoken = false;
  #wake: (() => void) | undefined;

  constructor({ options, root, hints, emit }: EngineDependencies) {
    this.#options = options;
    this.#root = root;
    this.#hints = hints;
    this.#emit = emit;
    this.#wholeScan = { state: 'wanted', reason: 'start', seenMs: monotonicMs() };
    this.#rootGuard = new RootGuard(root);
    this.#deletions = new Deletions({
      guard: new MassDeleteGuard(options.maxDelete),
      rootGuard: this.#rootGuard,
      onHeld: (count, entries) =>
        this.#log('warn', `${count} of ${entries} entries were deleted here; this is held back until it is confirmed`, {
          reason: 'MASS_DELETE',
        }),
    });
    this.#lookout = new Lookout({
      root,
      dirty: this.dirty,
      ignore: new IgnoreRules(options.excludes, () =>
        this.#report('.lockstep' as TreePath, 'RESERVED_NAME', "this name is the server's own; it is not kept in step"),
      ),
      watchDirectories: async (directories) => hints?.watchDirectories(directories),
      isInFlight: (path, seenMs) => this.#inFlight.postpones(path, seenMs),
      onListed: (directory, seenMs) => this.#inFlight.postponeIn(directory, seenMs),
      onVanishedIn: (directory) => this.#deletions.suspect(directory),
      onNowhere: (path) => {
        this.#uploads.drop(path);
        this.#problems.solve(path);
      },
      onRootListed: (entries) => this.#judgeRoot(entries),
      onRulesProblem: (path, problem) => this.#report(path, problem.reason, problem.message),
    });
    this.#reconciliation = new Reconciliation({
      ask: (path, treeDigest) =>
        emit({ type: 'compare', path, treeDigest: Uint8Array.from(treeDigest), ...this.#ofSession() }),
      changed: (directory) => this.#learned(directory),
      compared: (differences) => this.#log('info', 'compared with the server', { differences }),
    });
    this.#flushes = new FlushDesk((id, revision) => {
      emit({ type: 'flushed', id, revision, problemCount: this.#problems.count });
    });
    this.#uploads = new UploadDesk({
      signatureOf: (digest) => this.#signatures?.store.packed(digest),
      request: (request) => emit({ type: 'upload', request, ...this.#ofSession() }),
      cancel: (uploadId) => emit({ type: 'cancel-upload', uploadId, ...this.#ofSession() }),
    });
  }

  /** Works until `close` is commanded. @throws what makes going on unsafe or impossible: a root that is gone, an index that cannot be written */
  async run(): Promise<void> {
    try {
      while (!this.#isClosing) {
        const worked = await this.#step();
        this.#settle();
        this.#publishStatus(!worked);
        await (worked ? nextTurn() : this.#idle());
      }
    } finally {
      // Answers may still come; they have nobody to go to, and must not hide why this ended.
      this.#isOver = true;
      this.#signatures?.signing.close();
      this.#signatures?.store.close();
      this.#index?.close();
    }
  }

  /** Something happened: hints, a command. */
  wake(): void {
    this.#isWoken = true;
    this.#wake?.();
  }

  setChangeSource(name: string): void {
    this.#changeSource = name;
  }

  /** Why events cannot be relied on, empty when they can. */
  setDegraded(reason: string): void {
    this.#degraded = reason;
    this.wake();
  }

  handle(command: EngineCommand): void {
    if (this.#isOver) return;
    switch (command.type) {
      case 'connected':
        this.#beginSession(command.session);
        break;
      case 'disconnected':
        this.#endSession();
        break;
      case 'compared':
        if (this.#connected !== undefined) this.#reconciliation.take(this.#connected.index, command.answer);
        break;
      case 'applied':
        if (this.#connected !== undefined) this.#settleBatch(this.#connected, command.result);
        break;
      case 'durable':
        this.#isDurable(command.revision);
        break;
      case 'drifted':
        this.#drifted(command.paths, command.headRevision);
        break;
      case 'uploaded':
        this.#uploaded(command.result);
        break;
      case 'flush':
        void this.#flush(command.id);
        break;
      case 'pause':
        this.#isPaused = true;
        break;
      case 'resume':
        this.#isPaused = false;
        if (this.#deletions.heldCount > 0) this.#deletions.confirm();
        break;
      case 'rescan':
        this.#wantWholeScan(command.reason);
        break;
      case 'close':
        this.#isClosing = true;
        break;
    }
    this.wake();
  }

  /** Does one portion of work. False when there is none to be done now. */
  async #step(): Promise<boolean> {
    const nowMs = monotonicMs();
    this.#steppedMs = nowMs;
    this.#takeDue(nowMs);
    const connected = this.#connected;
    if (connected === undefined || this.#isPaused || this.#reconciliation.isRunning) return false;
    if (this.#reconciliation.isWanted) {
      if (!this.#inFlight.isEmpty) return false;
      this.#reconciliation.beginDrifted(connected.index);
      return true;
    }
    if (this.#inFlight.hasStructural || this.#inFlight.bytes >= connected.session.maxInFlightBytes) return false;
    this.#uploads.requestMore();
    if (this.#wholeScan.state === 'wanted') this.#beginWholeScan();
    if (this.#hintsAreDue(nowMs)) {
      this.#rootGuard.check();
      this.#deletions.recount();
      const { differences, seenMs } = await this.#lookout.serveHints(connected.scanner);
      const deletes = this.#deletions.admits(differences, connected.index.tree, this.#lookout.queue.isEmpty);
      this.#send(connected, deletes ? differences : differences.filter(({ now }) => now !== undefined), seenMs);
      return true;
    }
    if (!this.#lookout.queue.isEmpty) {
      if (this.#uploads.isCrowded) return false;
      const { differences, seenMs } = await this.#lookout.scanSlice(connected.scanner);
      this.#isScanning = true;
      this.#send(connected, differences, seenMs);
      this.#isScanning = false;
      return true;
    }
    if (!this.#inFlight.isEmpty) return false;
    if (this.#deletions.hasPending) {
      this.#root.forgetAll();
      this.#send(connected, this.#deletions.take(connected.scanner, connected.index.tree), BEFORE_ALL_MS);
      return true;
    }
    if (this.#wholeScan.state === 'running') {
      this.#endWholeScan(connected);
      return true;
    }
    if (!connected.signatures.signing.hasWork || this.#hasPending() || !this.#hasTimeToSign()) return false;
    connected.signatures.signing.step(connected.scanner, connected.index.tree);
    return true;
  }

  /** A watcher has all the time; one that looks once takes a small part of what the sync has taken. */
  #hasTimeToSign(): boolean {
    if (this.#options.mode !== 'once') return this.#options.mode === 'watch';
    const nowMs = monotonicMs();
    const shareMs = SIGNING_SHARE * (nowMs - this.#startedMs);
    this.#signUntilMs ??= nowMs + Math.min(MAX_SIGNING_MS, Math.max(MIN_SIGNING_MS, shareMs));
    return nowMs < this.#signUntilMs;
  }

  /** Sleeps until something happens, or is due. */
  async #idle(): Promise<void> {
    if (this.#isWoken) {
      this.#isWoken = false;
      return;
    }
    const nowMs = monotonicMs();
    const gatheredMs = this.dirty.oldestMs === undefined ? undefined : this.dirty.oldestMs + GATHERING_MS;
    const statusMs = this.#hasPending() ? this.#lastStatusMs + STATUS_INTERVAL_MS : undefined;
    const dueMs = [gatheredMs, statusMs, this.#postponed.nextMs, this.#problems.nextRetryMs, this.#nextScanMs];
    const next = Math.min(...dueMs.filter((ms) => ms !== undefined));
    // What the last step saw due and left has to wait for an answer, which wakes: no need to look at each tick. What has
    // become due only since then is done at once.
    const pauseMs = Math.max(this.#hintsAreDue(this.#steppedMs) ? STATUS_INTERVAL_MS : 1, next - nowMs);
    await new Promise<void>((resolve) => {
      const timer = Number.isFinite(pauseMs) ? setTimeout(resolve, Math.min(pauseMs, MAX_TIMER_MS)) : undefined;
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
    this.#isWoken = false;
  }

  /** Whatever is due by the clock becomes a hint. */
  #takeDue(nowMs: number): void {
    if (nowMs >= this.#nextScanMs) this.#wantWholeScan('scan interval');
    for (const [path, seenMs] of this.#postponed.takeDue(nowMs)) this.#lookAgain(path, seenMs);
    if (this.#options.mode === 'watch') this.#retryProblems(nowMs);
    const everything = this.dirty.takeEverything();
    if (everything !== undefined) this.#wantWholeScan(everything.reason, everything.firstHintMs);
  }

  /** A directory that could not be read was not watched either: all below it may have changed unseen (E49). */
  #retryProblems(nowMs: number): void {
    for (const path of this.#problems.takeDue(nowMs)) {
      this.#lookAgain(path, nowMs);
      if (path !== ROOT) this.#lookout.scanLater(path, nowMs);
    }
  }

  #hintsAreDue(nowMs: number): boolean {
    const { oldestMs } = this.dirty;
    return oldestMs !== undefined && nowMs - oldestMs >= GATHERING_MS;
  }

  /** `seenMs`: when what is not done yet was seen. A flush that came later has to wait for it. */
  #lookAgain(path: TreePath, seenMs: number): void {
    if (path === ROOT) this.dirty.addName(ROOT, '', seenMs);
    else this.dirty.addName(parentOf(path), nameOf(path), seenMs);
  }

  #lookAgainLater(path: TreePath, delayMs: number, seenMs: number): void {
    if (this.#postponed.add(path, seenMs, monotonicMs() + delayMs)) return;
    this.dirty.addEverything('too many files are changing', seenMs);
  }

  // ---- the whole scan

  #wantWholeScan(reason: string, seenMs = monotonicMs()): void {
    // One that is begun anew still owes what the first was to find.
    const oldestMs = this.#wholeScan.state === 'done' ? seenMs : Math.min(seenMs, this.#wholeScan.seenMs);
    this.#wholeScan = { state: 'wanted', reason, seenMs: oldestMs };
    this.#nextScanMs = Number.POSITIVE_INFINITY;
    this.wake();
  }

  #beginWholeScan(): void {
    this.#rootGuard.check();
    // What waited to be looked through or deleted is found again, for whoever waits for that.
    const waitingMs = this.#deletions.hasPending ? BEFORE_ALL_MS : this.#lookout.queue.oldestSeenMs;
    const seenMs = Math.min(this.#wholeScan.seenMs, waitingMs ?? Number.POSITIVE_INFINITY);
    this.#wholeScan = { ...this.#wholeScan, state: 'running', seenMs };
    this.#problems.forgetAll();
    this.#deletions.forgetAll();
    this.#startedEmpty = this.#index?.tree.count() === 0;
    this.#lookout.beginWholeScan(this.#wholeScan.seenMs);
    this.#log('debug', 'scan', { reason: this.#wholeScan.reason });
  }

  #endWholeScan(connected: Connected): void {
    const { index, scanner } = connected;
    this.#rootGuard.check();
    index.setRootIdentity(this.#rootGuard.identity);
    this.#wholeScan = { ...this.#wholeScan, state: 'done' };
    this.#startedEmpty = false;
    const root = scanner.lookAtRoot();
    if (root !== undefined) this.#send(connected, [root], this.#wholeScan.seenMs);
    const jitter = 1 + SCAN_JITTER * (2 * Math.random() - 1);
    this.#nextScanMs = monotonicMs() + this.#options.scanIntervalMs * jitter;
  }

  /** An emptied root is suspicious, unless the user has said that everything may be deleted. */
  #judgeRoot(listedEntries: number): void {
    const { limit } = this.#options.maxDelete;
    if (limit.kind === 'percent' && limit.percent >= 100) return;
    if (this.#deletions.heldCount > 0) return;
    this.#rootGuard.checkListing(listedEntries, this.#index?.tree.count() ?? 0);
  }

  // ---- planning and sending

  #send(connected: Connected, found: readonly Difference[], seenMs: number): void {
    if (this.#connected !== connected) {
      // The session ended while this was looked for: the next one, in which the server may have other things, finds it again.
      for (const { path } of found) this.#lookAgain(path, seenMs);
      return;
    }
    const settled = found.filter(({ path }) => !this.#inFlight.postpones(path, seenMs));
    if (settled.length === 0) return;
    const { index, scanner, sender, session } = connected;
    const detectFiles = !this.#isScanning || !this.#startedEmpty;
    const isSettled = (path: TreePath) => this.#inFlight.isSettled(path);
    const plan = planChanges(withMoves(settled, index.tree, scanner, isSettled, detectFiles), {
      smallFileBytes: session.maxInlineBytes,
      asideName: (directory) => joinPath(directory, ASIDE_PREFIX + randomBytes(6).toString('hex')),
    });
    for (const { path, now } of settled) if (now?.kind !== 'file') this.#uploads.drop(path);
    if (plan.refreshed.length > 0) {
      index.tree.transaction(() => {
        for (const { path, now } of plan.refreshed) if (now !== undefined) index.tree.setIdentity(path, now.identity);
      });
      for (const { path } of plan.refreshed) this.#problems.solve(path);
    }
    const isStructural = plan.lookAgain.length > 0;
    if (isStructural) this.#beginStructural(plan, seenMs);
    sender.send(plan.changes, seenMs, isStructural);
    if (!this.#inFlight.hasStructural) this.#endStructural();
  }

  #beginStructural(plan: Plan, seenMs: number): void {
    const moved = plan.changes.flatMap((change) => (change.type === 'move' ? [change.to] : []));
    const { names, subtrees } = this.#afterStructural;
    this.#afterStructural = { names: [...names, ...plan.lookAgain], subtrees: [...subtrees, ...moved], seenMs };
    this.#lookout.queue.restartOpen();
  }

  #endStructural(): void {
    const { names, subtrees, seenMs } = this.#afterStructural;
    if (names.length === 0) return;
    this.#afterStructural = NOTHING_AFTER;
    for (const path of names) this.#lookAgain(path, seenMs);
    this.#root.forgetAll();
    for (const path of subtrees) if (this.#root.tryDirectory(path) !== undefined) this.#lookout.scanLater(path, seenMs);
  }

  #transmit(batch: SentBatch, form: 'batch' | 'compressed', encoded: Buffer): void {
    // A scan comes by once: only files that somebody is heard writing can be hot.
    if (!this.#isScanning && this.#options.mode === 'watch') {
      for (const { path, operation } of batch.changes) if (operation === 'put') this.#hot.acted(path, monotonicMs());
    }
    this.#inFlight.add(batch);
    const { batchId, changes } = batch;
    if (this.#options.mode !== 'dry-run') {
      const event = { type: 'batch', batchId, form, encoded, changes: changes.length, ...this.#ofSession() } as const;
      this.#emit(event, [encoded.buffer as ArrayBuffer]);
    } else if (this.#connected !== undefined) {
      this.#settleBatch(this.#connected, { batchId, revision: 0n, durable: true, problems: [] });
    }
  }

  // ---- acknowledgements

  /** What was acknowledged enters the index, and only that. */
  #settleBatch({ index, session, signatures }: Connected, result: BatchResult): void {
    const settled = this.#inFlight.settle(result.batchId);
    if (settled === undefined) return;
    const { batch, lookAgain } = settled;
    const { revision } = result;
    const refused = new Set(result.problems.map((problem) => problem.index));
    const done = refused.size === 0 ? batch.changes : batch.changes.filter((_, at) => !refused.has(at));
    index.tree.transaction(() => {
      for (const { update } of done) index.apply(update);
      this.#reconciliation.reached(index, { epoch: session.epoch, revision, batchId: batch.batchId });
    });
    if (result.durable) this.#isDurable(revision);
    this.#sentChanges += done.length;
    const milliseconds = batch.seenMs === BEFORE_ALL_MS ? 0 : monotonicMs() - batch.seenMs;
    for (const { path, contentBytes, update } of done) {
      if (update.type === 'put' && update.entry.kind === 'file') signatures.signing.add(path, update.entry);
      if (update.type === 'put' && this.#sharedInodes.size > 0 && this.#isShared(update.identity))
        this.#lookAgain(path, batch.seenMs);
      this.#problems.solve(path);
      if (this.#busyTries.size > 0) this.#busyTries.delete(path);
      this.#sentContentBytes += contentBytes;
    }
    if (done.length > 0) {
      const changes = packChanges(done, revision, milliseconds);
      this.#emit({ type: 'changes', changes }, [changes.sizes.buffer as ArrayBuffer]);
    }
    for (const problem of result.problems) this.#refused(problem, batch.changes[problem.index], batch.seenMs);
    for (const { path, seenMs } of lookAgain) this.#lookAgain(path, seenMs);
    if (!this.#inFlight.hasStructural) this.#endStructural();
  }

  #refused(
    { kind, path, reason, message }: BatchResult['problems'][number],
    change: SentChange | undefined,
    seenMs: number,
  ): void {
    switch (kind) {
      case 'basis-mismatch': {
        // Without the signature the whole content follows.
        const known = this.#index?.tree.get(path);
        if (known?.kind === 'file') this.#signatures?.maker.forget(known.digest);
        this.#lookAgain(path, seenMs);
        return;
      }
      case 'content-needed':
        this.#lookAgain(path, seenMs);
        return;
      case 'drifted':
        this.#log('warn', "the replica was changed behind the server's back", { path: displayPath(path) });
        this.#reconciliation.wantDrifted(parentOf(path));
        this.#lookAgain(path, seenMs);
        return;
      case 'invalid':
      case 'failed':
        if (!PLANNED_WRONGLY.has(reason) || !this.#mayTryAgain(path)) return this.#report(path, reason, message);
        this.#log('debug', message, { path: displayPath(path), reason });
        for (const touched of new Set([path, change?.path, change?.from])) {
          if (touched === undefined) continue;
          this.#reconciliation.wantDrifted(parentOf(touched));
          this.#lookAgain(touched, seenMs);
        }
        return;
    }
  }

  /** A few times in a row. */
  #mayTryAgain(path: TreePath): boolean {
    const tries = (this.#busyTries.get(path) ?? 0) + 1;
    this.#busyTries.set(path, tries);
    return tries % MAX_WRONG_PLANS !== 0;
  }

  #isDurable(revision: bigint): void {
    if (revision > this.#durableRevision) this.#durableRevision = revision;
  }

  #drifted(directories: readonly TreePath[], revision: bigint): void {
    const connected = this.#connected;
    if (connected === undefined) return;
    for (const directory of directories) this.#reconciliation.wantDrifted(directory);
    this.#isDurable(revision);
    const position = { epoch: connected.session.epoch, revision, batchId: Buffer.alloc(0) };
    connected.index.tree.transaction(() => this.#reconciliation.reached(connected.index, position));
  }

  /** The index was corrected to what the server has in this directory. A whole scan that is still to come covers it. */
  #learned(directory: TreePath): void {
    if (this.#wholeScan.state === 'done') this.#lookout.queue.push(directory, BEFORE_ALL_MS, false);
    else if (this.#wholeScan.state === 'running') this.#wantWholeScan('the server was compared');
  }

  // ---- sessions

  #beginSession(session: SessionFacts): void {
    const index = this.#openIndex(session);
    this.#scanner ??= new Scanner({
      root: this.#root,
      index: index.tree,
      isIgnored: (path, isDirectory) => this.#lookout.isIgnored(path, isDirectory),
      report: (path, reason, message) => this.#report(path, reason, message),
      shared: (ino) => {
        if (this.#sharedInodes.size < MAX_SHARED_INODES) this.#sharedInodes.add(ino);
      },
      fine: (path) => this.#problems.solve(path),
    });
    const scanner = this.#scanner;
    const signatures = this.#openSignatures(session);
    const sender = new ChangeSender(scanner, session, this.#senderEffects(index, signatures));
    this.#connected = { index, scanner, sender, session, signatures };
    // The server gives a lease out only when its head is durable.
    this.#durableRevision = session.headRevision;
    const known = index.position;
    if (!this.#reconciliation.beginSession(index, session)) {
      const head = { known_revision: `${known.revision}`, head_revision: `${session.headRevision}` };
      this.#log('info', 'the server is not where it was last seen; comparing', head);
    }
  }

  #endSession(): void {
    this.#connected = undefined;
    this.#reconciliation.endSession();
    this.#uploads.interrupt();
    for (const path of this.#inFlight.abandon()) this.#lookAgain(path, BEFORE_ALL_MS);
    this.#endStructural();
  }

  #openSignatures({ digestFunction }: SessionFacts): Signatures {
    if (this.#signatures !== undefined) return this.#signatures;
    const store = SignatureStore.open(this.#options.stateDirectory);
    const maker = new DeltaMaker(store, digestFunction);
    this.#signatures = { store, maker, signing: new Signing(store, digestFunction) };
    return this.#signatures;
  }

  /** Beyond the bound all that is sent counts as shared. */
  #isShared(identity: DiskIdentity | undefined): boolean {
    return (
      this.#sharedInodes.size >= MAX_SHARED_INODES || (identity !== undefined && this.#sharedInodes.has(identity.ino))
    );
  }

  /** Marks what is meant for this session only: the main thread may be in the next one already. */
  #ofSession(): { readonly lease?: bigint } {
    return this.#connected === undefined ? {} : { lease: this.#connected.session.lease };
  }

  #openIndex(session: SessionFacts): SyncedIndex {
    if (this.#index !== undefined) return this.#index;
    const index = SyncedIndex.open(this.#options.stateDirectory, this.#options.folder, session.digestFunction);
    if (index.rebuiltBecause !== undefined) {
      this.#log('warn', `the synced index starts anew: ${index.rebuiltBecause}; all is compared with the server`, {});
    }
    if (this.#options.mode === 'dry-run') index.tree.begin();
    this.#index = index;
    return index;
  }

  #senderEffects({ tree }: SyncedIndex, { maker }: Signatures): SenderEffects {
    return {
      send: (batch, form, encoded) => this.#transmit(batch, form, encoded),
      upload: (path, now, before, seenMs) => {
        if (this.#options.mode === 'dry-run') this.#hashInDryRun(path, now, before, seenMs);
        else this.#uploads.want(path, now, before, seenMs);
      },
      refresh: (path, identity) => {
        this.#problems.solve(path);
        if (tree.has(path)) tree.setIdentity(path, identity);
      },
      changed: (path, seenMs) => this.#isBusy(path, seenMs),
      delay: (path, now, before) => {
        const nowMs = monotonicMs();
        if (now.sizeBytes === 0 && (before?.sizeBytes ?? 0) > 0) return this.#hot.emptiedDelayFor(path, nowMs);
        this.#hot.filled(path);
        return this.#hot.delayFor(path, nowMs);
      },
      postpone: (path, delayMs, seenMs) => this.#lookAgainLater(path, delayMs, seenMs),
      deltaOf: (content, before) => maker.deltaOf(content, before),
      unreadable: (path, errno) => this.#report(path, 'PERMISSION_DENIED', `cannot be read (${errno})`),
    };
  }

  // ---- contents

  #uploaded({ uploadId, path, outcome }: UploadResult): void {
    if (outcome.type === 'interrupted') return;
    const wanted = this.#uploads.settle(path, uploadId);
    if (wanted === undefined) return;
    if (outcome.type === 'changed') return this.#isBusy(path, wanted.seenMs);
    if (outcome.type === 'failed') return this.#report(path, outcome.reason, outcome.message);
    if (outcome.signature !== undefined) this.#signatures?.store.put(decodeSignature(outcome.signature));
    const connected = this.#connected;
    if (connected === undefined) return this.#lookAgain(path, wanted.seenMs);
    if (this.#inFlight.postpones(path, wanted.seenMs)) return;
    const known = connected.index.tree.get(path);
    const before = known?.kind === 'file' ? known : undefined;
    connected.sender.sendStored(path, wanted.now, Buffer.from(outcome.digest) as Digest, before, wanted.seenMs);
  }

  #hashInDryRun(...[path, now, before, seenMs]: Parameters<UploadDesk['want']>): void {
    if (this.#connected === undefined) return;
    const { scanner, sender, session } = this.#connected;
    const directory = scanner.directory(parentOf(path));
    const digest = directory && hashFile(directory, nameOf(path), session.digestFunction);
    if (digest !== undefined) sender.sendStored(path, now, digest, before, seenMs);
  }

  /** The file changed while it was read. */
  #isBusy(path: TreePath, seenMs: number): void {
    const nowMs = monotonicMs();
    this.#hot.acted(path, nowMs);
    const tries = (this.#busyTries.get(path) ?? 0) + 1;
    this.#busyTries.set(path, tries);
    if (tries > MAX_BUSY_TRIES) {
      this.#busyTries.delete(path);
      this.#report(path, 'BUSY', 'it keeps changing while it is read');
      if (this.#options.mode !== 'watch') return;
    }
    this.#lookAgainLater(path, Math.max(5, this.#hot.delayFor(path, nowMs)), seenMs);
  }

  // ---- what others see

  async #flush(id: number): Promise<void> {
    if ((await this.#hints?.settle()) !== 'delivered') this.#wantWholeScan('flush');
    this.#flushes.add(id, monotonicMs());
    this.wake();
  }

  /** Is all done that somebody waits for? */
  #settle(): void {
    const revision = this.#index?.position.revision ?? 0n;
    if (this.#options.acknowledgement === 'durable' && this.#durableRevision < revision) return;
    if (!this.#firstSyncDone && !this.#hasPending() && !this.#isSigningFirst()) {
      this.#firstSyncDone = true;
      if (this.#options.mode === 'dry-run') this.#index?.tree.rollback();
    }
    if (this.#inFlight.isEmpty && this.#uploads.count === 0) this.#sharedInodes.clear();
    if (!this.#flushes.isEmpty) this.#flushes.settle(this.#oldestPendingMs(), this.#durableRevision);
  }

  /** With `--once` the end waits a little for signatures, or the next run could not send deltas. */
  #isSigningFirst(): boolean {
    return this.#options.mode === 'once' && this.#signatures?.signing.hasWork === true && this.#hasTimeToSign();
  }

  #hasPending(): boolean {
    return (
      this.#wholeScan.state !== 'done' ||
      this.#isUnsettled ||
      !this.dirty.isEmpty ||
      !this.#lookout.queue.isEmpty ||
      !this.#inFlight.isEmpty ||
      this.#uploads.count > 0 ||
      this.#postponed.count > 0
    );
  }

  get #isUnsettled(): boolean {
    return this.#deletions.hasPending || this.#reconciliation.isWanted || this.#reconciliation.isRunning;
  }

  /** When the oldest change that is not acknowledged was seen; infinite when there is none. */
  #oldestPendingMs(): number {
    const times = [
      this.#wholeScan.state === 'done' ? undefined : this.#wholeScan.seenMs,
      this.#isUnsettled ? BEFORE_ALL_MS : undefined,
      this.dirty.oldestMs,
      this.#lookout.queue.oldestSeenMs,
      this.#inFlight.oldestSeenMs,
      this.#uploads.oldestSeenMs,
      this.#postponed.oldestSeenMs,
    ];
    return Math.min(Number.POSITIVE_INFINITY, ...times.filter((ms) => ms !== undefined));
  }

  #publishStatus(isIdle: boolean): void {
    const nowMs = monotonicMs();
    if (!isIdle && nowMs - this.#lastStatusMs < STATUS_INTERVAL_MS) return;
    this.#lastStatusMs = nowMs;
    this.#emit({ type: 'status', status: this.#status() });
  }

  #status(): EngineStatus {
    const isDone = this.#connected !== undefined && !this.#hasPending();
    const { names, directories } = this.dirty.counts;
    const held = this.#deletions.heldCount;
    return {
      phase: this.#phase(isDone),
      inStep: isDone && this.#problems.count === 0 && held === 0,
      firstSyncDone: this.#firstSyncDone,
      revision: this.#index?.position.revision ?? 0n,
      durableRevision: this.#durableRevision,
      entries: this.#index?.tree.count() ?? 0,
      scannedEntries: this.#lookout.queue.entries,
      pendingChanges:
        this.#inFlight.changes + this.#uploads.count + this.#postponed.count + Math.max(names, directories),
      pendingBytes: this.#inFlight.bytes + this.#uploads.bytes,
      sentChanges: this.#sentChanges,
      sentContentBytes: this.#sentContentBytes,
      changeSource: this.#changeSource,
      degraded: this.#degraded,
      problems: this.#problems.list(100),
      problemCount: this.#problems.count,
      heldDeletes: held,
      reason: held > 0 ? `${held} deletions wait for confirmation (sync-watcher resume)` : '',
    };
  }

  #phase(isDone: boolean): EngineStatus['phase'] {
    if (this.#isPaused) return 'paused';
    if (this.#reconciliation.isRunning) return 'comparing';
    if (isDone) return 'idle';
    if (this.#index === undefined) return 'starting';
    return this.#wholeScan.state === 'done' ? 'sending' : 'scanning';
  }

  #report(path: TreePath, reason: string, message: string): void {
    if (this.#problems.add(path, reason, message, monotonicMs())) {
      this.#log('warn', message, { path: displayPath(path), reason });
    }
  }

  #log(level: 'debug' | 'info' | 'warn', message: string, fields: Readonly<Record<string, string | number>>): void {
    this.#emit({ type: 'log', level, message, fields });
  }
}

/** Seen before anybody can have asked for a flush. */
const BEFORE_ALL_MS = 0;

/** Longer ones overflow Node's timers. */
const MAX_TIMER_MS = 2 ** 31 - 1;

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** For whoever reports why the engine ended. */
export function failureOf(error: unknown): { readonly reason: string; readonly message: string } {
  const reason = error instanceof LockstepError ? error.reason : 'INTERNAL';
  return { reason, message: describeError(error) };
}
