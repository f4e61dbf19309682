/**
 * The engine: where hints, disk, index and acknowledgements meet. A loop that always does the next useful thing: serve
 * what was hinted at, else go on with the scan, else delete what a whole look has shown to be gone. Pending work is
 * never stored: it is disk minus index, found again after any break.
 *
 * Runs in its thread with synchronous file calls, in slices of some milliseconds; knows the server only as commands and
 * events (messages.ts). How what is found gets out is outgoing.ts.
 */
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { blockFor } from '../../../common/ops/block.ts';
import { describeError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { displayText } from '../../../common/tree/display-path.ts';
import { displayPath, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { SignatureStore } from '../index/signature-store.ts';
import { SyncedIndex } from '../index/synced-index.ts';
import type { DirtySet } from '../observe/dirty-set.ts';
import { type HintBatch, monotonicMs, type RescanCause, type RescanReason } from '../observe/hints.ts';
import { IgnoreRules } from '../observe/ignore-rules.ts';
import { type LocalOwners, localOwners } from '../observe/local-owners.ts';
import type { LookAhead } from '../observe/look-ahead.ts';
import { MassDeleteGuard } from '../observe/mass-delete-guard.ts';
import { RootGuard } from '../observe/root-guard.ts';
import { Scanner } from '../observe/scanner.ts';
import type { Difference } from '../plan/difference.ts';
import { ChangeSender } from './change-sender.ts';
import { BEFORE_ALL_MS, type Connected, type Signatures } from './connected.ts';
import { Deletions, RENAME_MS } from './deletions.ts';
import { DeltaMaker } from './delta-maker.ts';
import { statusOf } from './engine-status.ts';
import { FlushDesk } from './flush-desk.ts';
import { HardLinks } from './hard-links.ts';
import { Lookout } from './lookout.ts';
import type {
  CompareAnswer,
  EngineCommand,
  EngineEvent,
  EngineOptions,
  EngineStatus,
  SessionEvent,
  SessionFacts,
} from './messages.ts';
import { Outgoing } from './outgoing.ts';
import { type Aspect, type News, Problems } from './problems.ts';
import { Reconciliation } from './reconciliation.ts';
import { isNonsense } from './tree-comparison.ts';
import { Rescans } from './rescans.ts';
import { Revisits } from './revisits.ts';
import { Signing } from './signing.ts';
import { WholeScan } from './whole-scan.ts';

/** The observer, as the engine needs it. */
export interface Hints {
  /** Resolves when changes in these directories will be hinted at. */
  watchDirectories(directories: readonly TreePath[]): Promise<void>;
  /** Resolves when all hints of what happened before have been delivered; `scan-needed` where that cannot be known. */
  settle(): Promise<'delivered' | 'scan-needed'>;
}

/** Time and chance, as far as they steer the engine. */
export interface EngineClock {
  /** Milliseconds that never jump, with the same origin as those of hints. */
  readonly nowMs: () => number;
  /** From 0 to below 1. */
  readonly random: () => number;
}

export interface EngineDependencies {
  readonly options: EngineOptions;
  readonly root: SafeRoot;
  /** Undefined when the tree is looked at once. */
  readonly hints: Hints | undefined;
  readonly emit: (event: EngineEvent, transfer?: readonly ArrayBuffer[]) => void;
  readonly clock?: EngineClock;
  /** How long after a change another one may leave the same times. Default: 0, not at all. */
  readonly timeGranuleMs?: number;
  /** Undefined where one thread has to do. */
  readonly startLookAhead?: (() => LookAhead) | undefined;
}

/** Events that belong together arrive within this time: the halves of a rename, the steps of an atomic save. */
const GATHERING_MS = 0.5;
const STATUS_INTERVAL_MS = 100;
/** With `--once`: how much of the time so far may go into signatures at the end, and its bounds. */
const SIGNING_SHARE = 0.1;
const MIN_SIGNING_MS = 500;
const MAX_SIGNING_MS = 2_000;
/** With `--once`: what is smaller travels whole at its first edit, which costs less than signing all that are as small. */
const MIN_SIGNED_ONCE_BYTES = 8_192;
/** As fast as that at least: a file that cannot be signed in the time that is left is not begun. */
const SIGNED_BYTES_PER_MS = 200_000;
/** What a server chooses unless it is told otherwise. */
const USUAL_DIGEST_FUNCTION = 'blake3';
/** They say nothing of the tree, and pass. */
const PASSING_ERRNOS: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EIO', 'EAGAIN', 'ESTALE']);
const TROUBLE_PAUSE_MS = 1_000;
/** Who looks once gives up after this. */
const MAX_TROUBLE_MS = 60_000;

export class Engine {
  readonly #options: EngineOptions;
  readonly #root: SafeRoot;
  readonly #hints: Hints | undefined;
  readonly #emit: EngineDependencies['emit'];
  readonly #clock: EngineClock;
  /** Undefined where owners are not carried. */
  readonly #owners: LocalOwners | undefined;
  readonly #rootGuard: RootGuard;
  readonly #revisits = new Revisits();
  readonly #rescans = new Rescans();
  readonly #problems = new Problems();
  readonly #wholeScan: WholeScan;
  readonly #ignore: IgnoreRules;
  readonly #lookout: Lookout;
  readonly #deletions: Deletions;
  readonly #reconciliation: Reconciliation;
  readonly #outgoing: Outgoing;
  readonly #flushes: FlushDesk;

  #index: SyncedIndex | undefined;
  /** Opened before the server has said whether it fits. */
  #early: SyncedIndex | undefined;
  #signatures: Signatures | undefined;
  #scanner: Scanner | undefined;
  /** Undefined while there is no session. */
  #connected: Connected | undefined;
  /** The index had nothing when the whole scan began, so that no file that it comes upon has been renamed. */
  #startedEmpty = false;
  #durableRevision = 0n;
  /** Since when there has always been something to do. */
  #behindSinceMs: number;
  #isPaused = false;
  #isClosing = false;
  #isOver = false;
  #firstSyncDone = false;
  readonly #startedMs: number;
  #signUntilMs: number | undefined;
  #degraded = '';
  #changeSource = '';
  #lastStatusMs = 0;
  /** Set while the file system refuses what it usually does not. */
  #troubledSinceMs: number | undefined;
  #resumeMs = 0;
  /** When the last step began: what became due later it has not seen. */
  #steppedMs = 0;
  /** Too many files with several names to look at each of them again. */
  #isScanOwed = false;
  /** The session has been told that nothing more will come. */
  #isAllSent = false;
  #isWoken = false;
  #wake: (() => void) | undefined;

  constructor(dependencies: EngineDependencies) {
    const { options, root, hints, emit, clock = { nowMs: monotonicMs, random: Math.random } } = dependencies;
    this.#options = options;
    this.#root = root;
    this.#hints = hints;
    this.#emit = emit;
    this.#clock = clock;
    this.#owners = localOwners(options.owner);
    this.#startedMs = clock.nowMs();
    this.#behindSinceMs = this.#startedMs;
    const { nowMs } = clock;
    this.#wholeScan = new WholeScan({ intervalMs: options.scanIntervalMs, random: clock.random }, nowMs());
    this.#rootGuard = new RootGuard(root);
    this.#deletions = new Deletions({
      guard: new MassDeleteGuard(options.maxDelete),
      rootGuard: this.#rootGuard,
      nowMs,
      onHeld: (count, entries) =>
        this.#log('warn', `${count} of ${entries} entries were deleted here; this is held back until it is confirmed`, {
          reason: 'MASS_DELETE',
        }),
    });
    this.#reconciliation = new Reconciliation({
      ask: (path, treeDigest) =>
        this.#emitInSession({ type: 'compare', path, treeDigest: Uint8Array.from(treeDigest) }),
      changed: (directory) => this.#learned(directory),
      compared: (differences) => this.#log('info', 'compared with the server', { differences }),
      linksForgotten: () => this.#wantWholeScan('hard-links', BEFORE_ALL_MS),
    });
    this.#outgoing = new Outgoing({
      mode: options.mode,
      timeGranuleMs: dependencies.timeGranuleMs ?? 0,
      root,
      nowMs,
      revisits: this.#revisits,
      problems: this.#problems,
      reconciliation: this.#reconciliation,
      emit,
      emitInSession: (event, transfer) => this.#emitInSession(event, transfer),
      scanLater: (directory, seenMs, why) => this.#lookout.scanLater(directory, seenMs, why),
      restartScan: () => this.#lookout.queue.restartOpen(),
      packedSignatureOf: (digest) => this.#signatures?.store.packed(digest),
      durable: (revision) => this.#isDurable(revision),
      notDeleted: (entries) => this.#deletions.refused(entries),
      report: (path, reason, message) => this.#report(path, reason, message),
      log: (level, message, fields) => this.#log(level, message, fields),
    });
    this.#ignore = new IgnoreRules(options.excludes, () =>
      this.#report('.lockstep' as TreePath, 'RESERVED_NAME', "this name is the server's own; it is not kept in step"),
    );
    const { inFlight, uploads, sharedInodes } = this.#outgoing;
    this.#lookout = new Lookout({
      root,
      nowMs,
      dirty: this.dirty,
      ignore: this.#ignore,
      onRescan: (reason) => this.#rescans.part(reason),
      watchDirectories: async (directories) => hints?.watchDirectories(directories),
      startLookAhead: dependencies.startLookAhead,
      isInFlight: (path, seenMs) => inFlight.postpones(path, seenMs),
      isPaused: (path) => this.#problems.isPaused(path),
      onListed: (directory, seenMs, recursive) => {
        inFlight.postponeIn(directory, seenMs);
        for (const path of uploads.pathsIn(directory)) this.#revisits.again(path, seenMs);
        if (recursive) this.#problems.solveNames(directory);
      },
      replacedAbove: (directory) => inFlight.replacedAbove(directory, (path) => this.#scanner?.directoryInodeAt(path)),
      onVanishedIn: (directory) => this.#deletions.suspect(directory),
      onNowhere: (path) => {
        uploads.drop(path);
        // Of what the index has the other names are known.
        if (!sharedInodes.isEmpty && this.#index?.tree.get(path) === undefined) sharedInodes.nameVanished();
        this.#problems.forget(path);
      },
      onRootListed: (entries) => this.#judgeRoot(entries),
      onRulesProblem: (path, problem) => this.#report(path, problem.reason, problem.message),
    });
    this.#flushes = new FlushDesk((id, revision) => {
      emit({ type: 'flushed', id, revision, problemCount: this.#problems.count });
    });
  }

  /** Where the observer's hints go. */
  get dirty(): DirtySet {
    return this.#revisits.dirty;
  }

  /** Works until `close` is commanded. @throws what makes going on unsafe or impossible: a root that is gone, an index that cannot be written */
  async run(): Promise<void> {
    try {
      // It is read through once, which fits into the time that connecting takes.
      const { stateDirectory, folder } = this.#options;
      this.#early = SyncedIndex.openExisting(stateDirectory, folder, USUAL_DIGEST_FUNCTION, this.#knows);
      while (!this.#isClosing) await ((await this.work()) ? nextTurn() : this.#idle());
    } finally {
      this.close();
    }
  }

  /** One round: does a portion of work, and answers who waits. False when there is nothing to be done now. @throws as `run` */
  async work(): Promise<boolean> {
    const worked = await this.#tryStep();
    this.#settle();
    this.#publishStatus(!worked);
    return worked;
  }

  /** What passes by itself (no descriptor left, a read error) is waited for; then everything is looked at (E50). */
  async #tryStep(): Promise<boolean> {
    const nowMs = this.#clock.nowMs();
    if (nowMs < this.#resumeMs) return false;
    try {
      const worked = await this.#step();
      this.#troubledSinceMs = undefined;
      return worked;
    } catch (error) {
      const errno = errnoOf(error);
      if (errno === undefined || !PASSING_ERRNOS.has(errno)) throw error;
      this.#troubledSinceMs ??= nowMs;
      if (this.#options.mode !== 'watch' && nowMs - this.#troubledSinceMs > MAX_TROUBLE_MS) throw error;
      this.#logObserved('warn', `the watched directory cannot be looked at (${errno}); trying again`, { errno });
      this.#resumeMs = nowMs + TROUBLE_PAUSE_MS;
      this.#wantWholeScan({ reason: 'file-system', detail: errno }, BEFORE_ALL_MS);
      return false;
    }
  }

  /** Ends at once; what is not acknowledged counts as not sent. */
  close(): void {
    // Answers may still come; they have nobody to go to, and must not hide why this ended.
    this.#isOver = true;
    this.#lookout.endWholeScan();
    this.#signatures?.signing.close();
    this.#signatures?.store.close();
    this.#index?.close();
    this.#early?.close();
  }

  /** Something happened: hints, a command. */
  wake(): void {
    this.#isWoken = true;
    this.#wake?.();
  }

  setChangeSource(name: string): void {
    this.#changeSource = name;
    this.#logObserved('debug', 'changes are heard', { source: name });
  }

  /** Why events cannot be relied on, empty when they can. */
  setDegraded(reason: string): void {
    if (reason !== this.#degraded) {
      if (reason === '') this.#logObserved('info', 'events can be relied on again', {});
      else this.#logObserved('warn', 'events cannot be relied on', { reason: displayText(reason) });
    }
    this.#degraded = reason;
    this.wake();
  }

  /** What the observer has heard of. That it is time to look again says nothing while that is done, or will be. */
  takeHints(batch: HintBatch): void {
    if (batch.everything?.reason === 'polling' && this.#wholeScan.state !== 'done') return;
    this.dirty.addBatch(batch);
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
        this.#compared(command.answer);
        break;
      case 'applied':
        if (this.#connected !== undefined) this.#outgoing.settle(this.#connected, command.result);
        break;
      case 'durable':
        this.#isDurable(command.revision);
        break;
      case 'drifted':
        this.#drifted(command.paths, command.headRevision);
        break;
      case 'uploaded':
        this.#outgoing.uploaded(command.result);
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
        this.#wantWholeScan('command');
        break;
      case 'exclude':
        this.#ignore.exclude(command.excludes);
        this.#wantWholeScan('excludes');
        break;
      case 'close':
        this.#isClosing = true;
        break;
    }
    this.wake();
  }

  /** Does one portion of work. False when there is none to be done now. */
  async #step(): Promise<boolean> {
    const nowMs = this.#clock.nowMs();
    this.#steppedMs = nowMs;
    this.#takeDue(nowMs);
    const connected = this.#connected;
    const { inFlight, uploads } = this.#outgoing;
    if (connected === undefined || this.#isPaused || this.#reconciliation.isRunning) return false;
    if (this.#reconciliation.isWanted) {
      if (!inFlight.isEmpty) return false;
      this.#reconciliation.beginDrifted(connected.index);
      return true;
    }
    if (inFlight.hasStructural || inFlight.isFull(connected.session.maxInFlightBytes)) return false;
    uploads.requestMore();
    if (this.#wholeScan.state === 'wanted') this.#beginWholeScan();
    if (this.#hintsAreDue(nowMs)) {
      this.#rootGuard.check();
      this.#deletions.recount();
      const { differences: found, seenMs } = this.#lookout.serveHints(connected.scanner);
      const early = this.#deletions.mayBeRenamed(found, connected.index.tree);
      for (const { path } of early) this.#revisits.later(path, this.#clock.nowMs() + RENAME_MS, seenMs);
      const differences = early.length === 0 ? found : found.filter((difference) => !early.includes(difference));
      const deletes = this.#deletions.admits(differences, connected.index.tree, this.#lookout.queue.isEmpty);
      this.#send(connected, deletes ? differences : differences.filter(({ now }) => now !== undefined), seenMs);
      this.#lookAtShared(connected.scanner);
      return true;
    }
    if (!this.#lookout.queue.isEmpty) {
      if (uploads.isCrowded) return false;
      const { differences, seenMs } = await this.#lookout.scanSlice(connected.scanner);
      this.#outgoing.send(connected, differences, { seenMs, byScan: true, noFileMoves: this.#startedEmpty });
      this.#lookAtShared(connected.scanner);
      return true;
    }
    if (this.#deletions.hasPending) {
      if (!inFlight.isEmpty) return false;
      this.#root.forgetAll();
      this.#send(connected, this.#deletions.take(connected.scanner, connected.index.tree), BEFORE_ALL_MS);
      return true;
    }
    if (this.#wholeScan.state === 'running') {
      this.#endWholeScan(connected);
      return true;
    }
    this.#tellAllSent();
    if (!connected.signatures.signing.hasWork || this.#hasPending()) return false;
    const maxFileBytes = SIGNED_BYTES_PER_MS * this.#msToSign();
    if (maxFileBytes <= 0) return false;
    connected.signatures.signing.step(connected.scanner, connected.index.tree, maxFileBytes);
    return true;
  }

  /** The server's answers and its end of the stream come together then: a round trip less for whoever waits. */
  #tellAllSent(): void {
    if (this.#options.mode !== 'once' || this.#isAllSent || this.#isUnsettled || this.#isScanOwed) return;
    const { inFlight, uploads } = this.#outgoing;
    if (inFlight.isEmpty || uploads.count > 0 || !this.#revisits.isEmpty || this.#wholeScan.state !== 'done') return;
    this.#isAllSent = true;
    this.#emitInSession({ type: 'all-sent' });
  }

  /** A name that is gone may have been a second one of a file, which was written through it (E19). */
  #lookAtShared(scanner: Scanner): void {
    const inodes = this.#outgoing.sharedInodes.takeVanished();
    // Not at once: one scan would follow another while temporary files come and go.
    if (inodes === 'too many') this.#isScanOwed = true;
    else
      for (const path of inodes.flatMap((ino) => scanner.namesOfInode(ino))) this.#revisits.again(path, BEFORE_ALL_MS);
  }

  /** A watcher has all the time; one that looks once takes a small part of what the sync has taken. */
  #msToSign(): number {
    if (this.#options.mode !== 'once') return this.#options.mode === 'watch' ? Number.POSITIVE_INFINITY : 0;
    const nowMs = this.#clock.nowMs();
    const shareMs = SIGNING_SHARE * (nowMs - this.#startedMs);
    this.#signUntilMs ??= nowMs + Math.min(MAX_SIGNING_MS, Math.max(MIN_SIGNING_MS, shareMs));
    return this.#signUntilMs - nowMs;
  }

  /** Sleeps until something happens, or is due. */
  async #idle(): Promise<void> {
    if (this.#isWoken) {
      this.#isWoken = false;
      return;
    }
    const nowMs = this.#clock.nowMs();
    const gatheredMs = this.dirty.oldestMs === undefined ? undefined : this.dirty.oldestMs + GATHERING_MS;
    if (gatheredMs !== undefined && nowMs < gatheredMs) {
      // Blocked, because a timer comes up to two milliseconds late. What arrives meanwhile is taken in the next turn.
      blockFor(gatheredMs - nowMs);
      await nextTurn();
      return;
    }
    const statusMs = this.#hasPending() ? this.#lastStatusMs + STATUS_INTERVAL_MS : undefined;
    const resumeMs = this.#troubledSinceMs === undefined ? undefined : this.#resumeMs;
    const dueMs = [
      gatheredMs,
      statusMs,
      resumeMs,
      this.#revisits.dueMs,
      this.#problems.nextRetryMs,
      this.#wholeScan.dueMs,
    ];
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
    if (nowMs >= this.#wholeScan.dueMs) this.#wantWholeScan('interval');
    this.#revisits.takeDue(nowMs);
    if (this.#options.mode === 'watch') this.#retryProblems(nowMs);
    const everything = this.dirty.takeEverything();
    if (everything !== undefined) this.#wantWholeScan(everything.cause, everything.firstHintMs);
  }

  /** A directory that could not be read was not watched either: all below it may have changed unseen (E49). */
  #retryProblems(nowMs: number): void {
    for (const { path, aspect } of this.#problems.takeDue(nowMs)) {
      this.#revisits.again(path, nowMs);
      if (aspect === 'names') this.#lookout.scanLater(path, nowMs, 'unreadable');
    }
  }

  #hintsAreDue(nowMs: number): boolean {
    const { oldestMs } = this.dirty;
    return oldestMs !== undefined && nowMs - oldestMs >= GATHERING_MS;
  }

  // ---- the whole scan

  #wantWholeScan(why: RescanReason | RescanCause, seenMs = this.#clock.nowMs()): void {
    this.#wholeScan.want(typeof why === 'string' ? { reason: why, detail: why } : why, seenMs);
    this.wake();
  }

  #beginWholeScan(): void {
    this.#rootGuard.check();
    // What waited to be looked at or deleted, or was a problem, is found by it, for whoever waits for that.
    const isOwed = this.#deletions.hasPending || this.#problems.count > 0;
    const waiting = [this.#lookout.queue.oldestSeenMs, this.#revisits.oldestSeenMs].filter((ms) => ms !== undefined);
    this.#wholeScan.begin(isOwed ? BEFORE_ALL_MS : Math.min(Number.POSITIVE_INFINITY, ...waiting));
    this.#problems.forgetAll();
    this.#deletions.forgetAll();
    this.#startedEmpty = this.#index?.tree.count() === 0;
    this.#lookout.beginWholeScan(this.#wholeScan.oldestSeenMs ?? BEFORE_ALL_MS, this.#index?.tree.count() ?? 0);
    const { reason, detail } = this.#wholeScan.cause;
    this.#rescans.whole(reason);
    this.#logObserved('debug', 'scan', { reason, detail });
  }

  #endWholeScan(connected: Connected): void {
    const { index, scanner } = connected;
    this.#rootGuard.check();
    index.setRootIdentity(this.#rootGuard.identity);
    this.#startedEmpty = false;
    const root = scanner.lookAtRoot();
    if (root !== undefined) this.#send(connected, [root], this.#wholeScan.oldestSeenMs ?? BEFORE_ALL_MS);
    this.#wholeScan.end(this.#clock.nowMs());
    this.#lookout.endWholeScan();
  }

  /** An emptied root is suspicious, unless the user has said that everything may be deleted. */
  #judgeRoot(listedEntries: number): void {
    const { limit } = this.#options.maxDelete;
    if (limit.kind === 'percent' && limit.percent >= 100) return;
    if (this.#deletions.heldCount > 0) return;
    this.#rootGuard.checkListing(listedEntries, this.#index?.tree.count() ?? 0);
  }

  /** Sends what hints led to. */
  #send(connected: Connected, found: readonly Difference[], seenMs: number): void {
    this.#outgoing.send(connected, found, { seenMs, byScan: false, noFileMoves: false });
  }

  // ---- what the server says

  /** An answer that makes no sense ends the session, not the watcher (S34). */
  #compared(answer: CompareAnswer): void {
    const connected = this.#connected;
    if (connected === undefined) return;
    try {
      this.#reconciliation.take(connected.index, answer);
    } catch (error) {
      if (!isNonsense(error)) throw error;
      const { reason } = error;
      const message = `the server's comparison makes no sense: ${describeError(error)}`;
      this.#emitInSession({ type: 'break-session', reason, message });
      // What still comes of this session is not looked at.
      this.#endSession();
    }
  }

  #isDurable(revision: bigint): void {
    if (revision > this.#durableRevision) this.#durableRevision = revision;
  }

  #drifted(directories: readonly TreePath[], revision: bigint): void {
    const connected = this.#connected;
    if (connected === undefined) return;
    // Told before the server had what is on its way: renames, maybe.
    for (const directory of this.#outgoing.inFlight.futureOf(directories)) this.#reconciliation.wantDrifted(directory);
    this.#isDurable(revision);
    const position = { epoch: connected.session.epoch, revision, batchId: Buffer.alloc(0) };
    connected.index.tree.transaction(() => this.#reconciliation.reached(connected.index, position));
  }

  /** The index was corrected to what the server has in this directory. A whole scan that is still to come covers it. */
  #learned(directory: TreePath): void {
    if (this.#wholeScan.state !== 'wanted') this.#lookout.lookThroughAlone(directory, BEFORE_ALL_MS, 'compared');
  }

  // ---- sessions

  #beginSession(session: SessionFacts): void {
    const index = this.#openIndex(session);
    this.#scanner ??= new Scanner({
      root: this.#root,
      index: index.tree,
      owners: this.#owners,
      isIgnored: (path, isDirectory) => this.#lookout.isIgnored(path, isDirectory),
      noDirectory: (path) => this.#problems.solveNames(path),
      unlisted: (path, reason, message) => this.#report(path, reason, message, 'names'),
      report: (path, reason, message) => this.#report(path, reason, message),
      shared: (ino) => this.#outgoing.sharedInodes.add(ino),
      isUnlinked: this.#options.hardLinks ? (path) => this.#connected?.links?.isMissing(path) === true : undefined,
      fine: (path) => this.#problems.solve(path),
      hasProblems: () => !this.#problems.isEmpty,
      outOfRange: (path) => this.#reportTime(path),
      inRange: (path, andBelow) => this.#problems.solveTime(path, andBelow),
    });
    const scanner = this.#scanner;
    const signatures = this.#openSignatures(session);
    const links = this.#linksOf(index, session);
    const sender = new ChangeSender(scanner, session, this.#outgoing.senderEffects({ index, signatures, links }));
    this.#connected = { index, scanner, sender, session, signatures, links };
    this.#isAllSent = false;
    this.#outgoing.beginSession(this.#connected);
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
    this.#outgoing.endSession();
  }

  #linksOf(index: SyncedIndex, session: SessionFacts): HardLinks | undefined {
    if (this.#options.hardLinks !== true) return undefined;
    const { inFlight, uploads } = this.#outgoing;
    if (session.hardLinks === true) {
      return new HardLinks({
        index,
        isSettled: (path) => inFlight.isSettled(path),
        uploadedInode: (path) => uploads.inodeOf(path),
      });
    }
    this.#log('warn', 'the server is too old for --hard-links: each name becomes a file of its own there', {});
    return undefined;
  }

  #openSignatures({ digestFunction }: SessionFacts): Signatures {
    if (this.#signatures !== undefined) return this.#signatures;
    const store = SignatureStore.open(this.#options.stateDirectory);
    const maker = new DeltaMaker(store, digestFunction);
    const minFileBytes = this.#options.mode === 'once' ? MIN_SIGNED_ONCE_BYTES : undefined;
    this.#signatures = { store, maker, signing: new Signing(store, digestFunction, minFileBytes) };
    return this.#signatures;
  }

  /** What its index is to know. */
  get #knows(): { readonly knowsLinks: boolean | undefined; readonly listsOwners: boolean } {
    return { knowsLinks: this.#options.hardLinks, listsOwners: this.#owners !== undefined };
  }

  #openIndex(session: SessionFacts): SyncedIndex {
    if (this.#index !== undefined) return this.#index;
    const { stateDirectory, folder } = this.#options;
    const early = this.#early;
    this.#early = undefined;
    const isRight = early?.digestFunction === session.digestFunction;
    if (!isRight) early?.close();
    const index = isRight ? early : SyncedIndex.open(stateDirectory, folder, session.digestFunction, this.#knows);
    if (index.rebuiltBecause !== undefined) {
      this.#log('warn', `the synced index starts anew: ${index.rebuiltBecause}; all is compared with the server`, {});
    }
    if (this.#options.mode === 'dry-run') index.tree.begin();
    this.#index = index;
    return index;
  }

  // ---- what others see

  async #flush(id: number): Promise<void> {
    if ((await this.#hints?.settle()) !== 'delivered') this.#wantWholeScan('flush');
    const nowMs = this.#clock.nowMs();
    // Nothing hints at a root that was unmounted or replaced.
    this.#revisits.again(ROOT, nowMs);
    this.#flushes.add(id, nowMs);
    this.wake();
  }

  /** Is all done that somebody waits for? */
  #settle(): void {
    const revision = this.#index?.position.revision ?? 0n;
    if (this.#options.acknowledgement === 'durable' && this.#durableRevision < revision) return;
    if (!this.#hasPending()) {
      this.#outgoing.sharedInodes.clear();
      if (this.#isScanOwed) this.#wantWholeScan('hard-links', BEFORE_ALL_MS);
      this.#isScanOwed = false;
    }
    if (!this.#firstSyncDone && !this.#hasPending() && !this.#isSigningFirst()) {
      this.#firstSyncDone = true;
      if (this.#options.mode === 'dry-run') this.#index?.tree.rollback();
    }
    if (!this.#flushes.isEmpty) this.#flushes.settle(this.#oldestPendingMs(), this.#durableRevision);
  }

  /** With `--once` the end waits a little for signatures, or the next run could not send deltas. */
  #isSigningFirst(): boolean {
    return this.#options.mode === 'once' && this.#signatures?.signing.hasWork === true && this.#msToSign() > 0;
  }

  #hasPending(): boolean {
    return (
      this.#wholeScan.state !== 'done' ||
      this.#isUnsettled ||
      !this.#revisits.isEmpty ||
      !this.#lookout.queue.isEmpty ||
      !this.#outgoing.isEmpty
    );
  }

  get #isUnsettled(): boolean {
    return this.#deletions.hasPending || this.#reconciliation.isWanted || this.#reconciliation.isRunning;
  }

  /** When the oldest change that is not acknowledged was seen; infinite when there is none. */
  #oldestPendingMs(): number {
    const times = [
      this.#wholeScan.oldestSeenMs,
      this.#isUnsettled ? BEFORE_ALL_MS : undefined,
      this.#revisits.oldestSeenMs,
      this.#lookout.queue.oldestSeenMs,
      this.#outgoing.inFlight.oldestSeenMs,
      this.#outgoing.uploads.oldestSeenMs,
    ];
    return Math.min(Number.POSITIVE_INFINITY, ...times.filter((ms) => ms !== undefined));
  }

  /** For what was there before anybody looked, it is the time since when something is to be done. */
  #pendingSinceMs(): number | undefined {
    const nowMs = this.#clock.nowMs();
    if (this.#hasPending()) return Math.max(Math.min(this.#oldestPendingMs(), nowMs), this.#behindSinceMs);
    this.#behindSinceMs = nowMs;
    return undefined;
  }

  #publishStatus(isIdle: boolean): void {
    const nowMs = this.#clock.nowMs();
    if (!isIdle && nowMs - this.#lastStatusMs < STATUS_INTERVAL_MS) return;
    this.#lastStatusMs = nowMs;
    this.#emit({ type: 'status', status: this.#status() });
  }

  #status(): EngineStatus {
    const { inFlight, uploads, sentChanges, sentContentBytes } = this.#outgoing;
    return statusOf({
      isConnected: this.#connected !== undefined,
      isPaused: this.#isPaused,
      isComparing: this.#reconciliation.isRunning,
      // At the end of a whole scan all is found, and only on its way.
      isScanning: this.#wholeScan.state === 'wanted' || !this.#lookout.queue.isEmpty,
      hasPending: this.#hasPending(),
      hasIndex: this.#index !== undefined,
      firstSyncDone: this.#firstSyncDone,
      revision: this.#index?.position.revision ?? 0n,
      durableRevision: this.#durableRevision,
      entries: this.#index?.tree.count() ?? 0,
      scannedEntries: this.#lookout.queue.entries,
      pendingChanges: inFlight.changes + uploads.count + this.#revisits.count,
      pendingBytes: inFlight.bytes + uploads.bytes,
      dirtyPaths: this.#revisits.count,
      pendingSinceMs: this.#pendingSinceMs(),
      sentChanges,
      sentContentBytes,
      changeSource: this.#changeSource,
      rescans: this.#rescans.counts,
      degraded: this.#troubledSinceMs === undefined ? this.#degraded : 'the watched directory cannot be looked at',
      problems: this.#problems,
      heldDeletes: this.#deletions.heldCount,
      deleteLimit: this.#deletions.limitEntries,
    });
  }

  /** Marks what is meant for this session only: the main thread may be in the next one already. */
  #emitInSession(event: SessionEvent, transfer?: readonly ArrayBuffer[]): void {
    const lease = this.#connected?.session.lease;
    this.#emit(lease === undefined ? event : { ...event, lease }, transfer);
  }

  #report(path: TreePath, reason: string, message: string, aspect?: Aspect): void {
    this.#tell(this.#problems.add(path, reason, message, this.#clock.nowMs(), aspect), path, reason, message);
  }

  #reportTime(path: TreePath): void {
    const message = 'the modification time is out of range; the nearest possible one is kept';
    this.#tell(this.#problems.addTime(path, message), path, 'INVALID_TIME', message);
  }

  #tell(news: News, path: TreePath, reason: string, message: string): void {
    if (news === 'new') this.#log('warn', message, { path: displayPath(path), reason });
    if (news === 'too many') this.#log('warn', 'there are more problems than can be named', {});
  }

  #log(level: 'debug' | 'info' | 'warn', message: string, fields: Readonly<Record<string, string | number>>): void {
    this.#emit({ type: 'log', room: 'engine', level, message, fields });
  }

  /** What is known of the disk, and how. */
  #logObserved(level: 'debug' | 'info' | 'warn', message: string, fields: Readonly<Record<string, string>>): void {
    this.#emit({ type: 'log', room: 'observe', level, message, fields });
  }
}

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
