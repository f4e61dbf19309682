/**
 * The engine: where hints, disk, index and acknowledgements meet. A loop that always does the next useful thing: serve
 * what was hinted at, else go on with the scan, else delete what a whole look has shown to be gone. Pending work is
 * never stored: it is disk minus index, found again after any break.
 *
 * Runs in its worker with synchronous file calls, in slices of some milliseconds; knows the server only as commands and
 * events (messages.ts).
 */
import { randomBytes } from 'node:crypto';
import type { Digest } from '../../../common/content/digest.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { describeError, LockstepError } from '../../../common/ops/errors.ts';
import { displayPath, joinPath, nameOf, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { type Position, SyncedIndex } from '../index/synced-index.ts';
import { DirtySet } from '../observe/dirty-set.ts';
import { monotonicMs } from '../observe/hints.ts';
import { HotFiles } from '../observe/hot-files.ts';
import { readIgnoreFile } from '../observe/ignore-file.ts';
import { IGNORE_FILE_NAME, IgnoreRules } from '../observe/ignore-rules.ts';
import { MassDeleteGuard } from '../observe/mass-delete-guard.ts';
import { withMoves } from '../observe/move-detection.ts';
import { RootGuard } from '../observe/root-guard.ts';
import { Scanner } from '../observe/scanner.ts';
import type { Difference } from '../plan/difference.ts';
import { ASIDE_PREFIX } from '../plan/plan.ts';
import { planChanges } from '../plan/planner.ts';
import { ChangeSender } from './change-sender.ts';
import { hashFile } from './file-hash.ts';
import { FlushDesk } from './flush-desk.ts';
import { InFlight, type SentBatch } from './in-flight.ts';
import type {
  BatchResult,
  EngineCommand,
  EngineEvent,
  EngineOptions,
  EngineStatus,
  SessionFacts,
  UploadResult,
} from './messages.ts';
import { Postponed } from './postponed.ts';
import { Problems } from './problems.ts';
import { ScanQueue } from './scan-queue.ts';
import { TreeComparison } from './tree-comparison.ts';
import { UploadDesk } from './upload-desk.ts';

/** The observer, as the engine needs it. */
export interface Hints {
  /** Resolves when changes in these directories will be hinted at: they are looked through only then (E25). */
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

/** Names looked at, and differences gathered, before they are planned. */
const SLICE_NAMES = 512;
const SLICE_DIFFERENCES = 1024;
const SLICE_MS = 15;
/** Events that belong together arrive within this time: the halves of a rename, the steps of an atomic save. */
const GATHERING_MS = 2;
const STATUS_INTERVAL_MS = 100;
/** Deletions that are planned at a time. */
const MAX_DOOMED = 20_000;
/** How often a file may change under the reader before `--once` gives it up. */
const MAX_BUSY_TRIES = 20;
/** Scans of many watchers are not to fall together (E58). */
const SCAN_JITTER = 0.25;

type ScanState = 'wanted' | 'running' | 'done';

export class Engine {
  readonly #options: EngineOptions;
  readonly #root: SafeRoot;
  readonly #hints: Hints | undefined;
  readonly #emit: EngineDependencies['emit'];
  readonly #rootGuard: RootGuard;
  readonly #ignore: IgnoreRules;
  readonly #massDelete: MassDeleteGuard;
  readonly dirty = new DirtySet();
  readonly #hot = new HotFiles();
  readonly #inFlight = new InFlight();
  readonly #problems = new Problems();
  readonly #postponed = new Postponed();
  readonly #queue = new ScanQueue();
  readonly #uploads: UploadDesk;
  readonly #flushes: FlushDesk;
  /** Directories in which names of the index were missing on disk: deletions wait for the end of the scan. */
  readonly #vanishedIn = new Set<TreePath>();
  readonly #driftedIn = new Set<TreePath>();
  readonly #busyTries = new Map<TreePath, number>();
  /** What a renamed directory makes look at again, once the rename is acknowledged. */
  #afterStructural: { readonly names: TreePath[]; readonly subtrees: TreePath[] } = { names: [], subtrees: [] };
  #unwatched: TreePath[] = [];

  #index: SyncedIndex | undefined;
  #scanner: Scanner | undefined;
  #sender: ChangeSender | undefined;
  #session: SessionFacts | undefined;
  #comparison: { readonly tree: TreeComparison; readonly position: Position } | undefined;
  #fullScan: ScanState = 'wanted';
  #fullScanReason = 'start';
  #fullScanSeenMs = monotonicMs();
  #nextScanMs = Number.POSITIVE_INFINITY;
  #deletesAdmitted = false;
  #durableRevision = 0n;
  #sentChanges = 0;
  #sentContentBytes = 0;
  #isPaused = false;
  #isClosing = false;
  #firstSyncDone = false;
  #degraded = '';
  #changeSource = '';
  #lastStatusMs = 0;
  #wake: (() => void) | undefined;

  constructor({ options, root, hints, emit }: EngineDependencies) {
    this.#options = options;
    this.#root = root;
    this.#hints = hints;
    this.#emit = emit;
    this.#rootGuard = new RootGuard(root);
    this.#ignore = new IgnoreRules(options.excludes, () =>
      this.#report('.lockstep' as TreePath, 'RESERVED_NAME', "this name is the server's own; it is not kept in step"),
    );
    this.#massDelete = new MassDeleteGuard(options.maxDelete);
    this.#flushes = new FlushDesk((id, revision) => {
      emit({ type: 'flushed', id, revision, problemCount: this.#problems.count });
    });
    this.#uploads = new UploadDesk({
      request: (request) => emit({ type: 'upload', request }),
      cancel: (uploadId) => emit({ type: 'cancel-upload', uploadId }),
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
      this.#index?.close();
    }
  }

  /** Something happened: hints, a command. */
  wake(): void {
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
    switch (command.type) {
      case 'connected':
        this.#connected(command.session);
        break;
      case 'disconnected':
        this.#disconnected();
        break;
      case 'compared':
        this.#takeComparison(command.answer);
        break;
      case 'applied':
        this.#applied(command.result);
        break;
      case 'durable':
        this.#durableRevision = command.revision;
        break;
      case 'drifted':
        for (const path of command.paths) this.#driftedIn.add(path);
        this.#advance(command.headRevision, Buffer.alloc(0));
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
        if (this.#massDelete.heldCount > 0) {
          this.#massDelete.confirm();
          this.#wantFullScan('deletions were confirmed');
        }
        break;
      case 'rescan':
        this.#wantFullScan(command.reason);
        break;
      case 'close':
        this.#isClosing = true;
        break;
    }
    this.wake();
  }

  // ---- the loop

  /** Does one portion of work. False when there is none to be done now. */
  async #step(): Promise<boolean> {
    const nowMs = monotonicMs();
    if (nowMs >= this.#nextScanMs) this.#wantFullScan('scan interval');
    this.#takeDue(nowMs);
    const everything = this.dirty.takeEverything();
    if (everything !== undefined) this.#wantFullScan(everything.reason, everything.firstHintMs);

    const { scanner, index } = this.#ready() ?? {};
    if (scanner === undefined || index === undefined) return false;
    if (this.#driftedIn.size > 0) return this.#compareDrifted();
    if (this.#inFlight.hasStructural || this.#inFlight.bytes >= (this.#session?.maxInFlightBytes ?? 0)) return false;
    this.#uploads.requestMore();
    if (this.#fullScan === 'wanted') this.#beginFullScan();
    if (this.#hintsAreDue(nowMs)) return this.#serveHints(scanner, index);
    if (!this.#queue.isEmpty && !this.#uploads.isCrowded) return this.#scanSlice(scanner);
    if (this.#queue.isEmpty && this.#inFlight.isEmpty) {
      if (this.#vanishedIn.size > 0) return this.#deletionPass(scanner, index);
      if (this.#fullScan === 'running') return this.#endFullScan();
    }
    return false;
  }

  /** Undefined while nothing may be sent. */
  #ready(): { readonly scanner: Scanner; readonly index: SyncedIndex } | undefined {
    if (this.#session === undefined || this.#isPaused || this.#comparison !== undefined) return undefined;
    if (this.#scanner === undefined || this.#index === undefined) return undefined;
    return { scanner: this.#scanner, index: this.#index };
  }

  /** Sleeps until something happens, or is due. */
  async #idle(): Promise<void> {
    const nowMs = monotonicMs();
    const gatheredMs = this.dirty.oldestMs === undefined ? undefined : this.dirty.oldestMs + GATHERING_MS;
    const dueMs = [
      gatheredMs,
      this.#postponed.nextMs,
      this.#problems.nextRetryMs,
      this.#nextScanMs,
      this.#statusDueMs(),
    ];
    const next = Math.min(...dueMs.filter((ms) => ms !== undefined));
    await new Promise<void>((resolve) => {
      const timer = Number.isFinite(next)
        ? setTimeout(resolve, Math.max(this.#ready() ? 1 : 20, next - nowMs))
        : undefined;
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = undefined;
  }

  #takeDue(nowMs: number): void {
    for (const path of this.#postponed.takeDue(nowMs)) this.#lookAgain(path);
    if (this.#options.mode !== 'watch') return;
    for (const path of this.#problems.takeDue(nowMs)) this.#lookAgain(path);
  }

  // ---- looking

  #hintsAreDue(nowMs: number): boolean {
    const { oldestMs } = this.dirty;
    return oldestMs !== undefined && nowMs - oldestMs >= GATHERING_MS;
  }

  /** Looks at what was hinted at, and at the directories that these names are in: their times change with them. */
  async #serveHints(scanner: Scanner, index: SyncedIndex): Promise<boolean> {
    const directories = this.dirty.takeSome(SLICE_NAMES);
    const seenMs = directories[0]?.firstHintMs ?? monotonicMs();
    this.#root.forgetAll();
    const found = new Map<TreePath, Difference>();
    for (const { dir, scope, names, firstHintMs } of directories) {
      if (this.#ignore.isIgnored(dir, true)) continue;
      if (scope !== 'names') {
        this.#queue.push(dir, firstHintMs, scope === 'subtree');
      } else {
        this.#reloadRules(dir, names.has(IGNORE_FILE_NAME));
        for (const name of names.keys()) if (name !== '') this.#lookAt(scanner, dir, name, firstHintMs, found);
      }
      if (dir !== ROOT) this.#lookAt(scanner, parentOf(dir), nameOf(dir), firstHintMs, found);
      else noteDifference(scanner.lookAtRoot(), found);
    }
    await this.#watchNew();
    this.#plan([...found.values()], seenMs, this.#admitDeletes([...found.values()], index));
    return true;
  }

  #lookAt(scanner: Scanner, dir: TreePath, name: string, seenMs: number, found: Map<TreePath, Difference>): void {
    const findings = scanner.look(dir, name);
    for (const difference of findings.differences) noteDifference(difference, found);
    for (const directory of findings.directories) {
      if (isAnotherDirectory(found.get(directory))) this.#scanLater(directory, seenMs);
    }
  }

  #scanLater(directory: TreePath, seenMs: number): void {
    this.#unwatched.push(directory);
    this.#queue.push(directory, seenMs, true);
  }

  async #scanSlice(scanner: Scanner): Promise<boolean> {
    const endMs = monotonicMs() + SLICE_MS;
    const differences: Difference[] = [];
    let seenMs = monotonicMs();
    this.#root.forgetAll();
    while (differences.length < SLICE_DIFFERENCES && monotonicMs() < endMs) {
      await this.#watchNew();
      const open = this.#queue.open ?? this.#openNext(scanner);
      if (open === undefined) break;
      seenMs = Math.min(seenMs, open.seenMs);
      const findings = open.scan.next(SLICE_NAMES);
      const others = new Set(findings.differences.filter(isAnotherDirectory).map(({ path }) => path));
      const below = open.recursive ? findings.directories : findings.directories.filter((path) => others.has(path));
      for (const difference of findings.differences) {
        if (difference.now === undefined) this.#vanishedIn.add(open.path);
        else differences.push(difference);
      }
      if (open.scan.done) this.#queue.endOpen();
      this.#unwatched.push(...below);
      this.#queue.pushAll(below, open.seenMs);
    }
    this.#plan(differences, seenMs, true);
    return true;
  }

  #openNext(scanner: Scanner): ReturnType<ScanQueue['begin']> | undefined {
    for (let next = this.#queue.takeNext(); next !== undefined; next = this.#queue.takeNext()) {
      this.#reloadRules(next.path, true);
      if (next.path !== ROOT && this.#ignore.isIgnored(next.path, true)) continue;
      const scan = scanner.open(next.path);
      if (scan === undefined) continue;
      if (next.path === ROOT) this.#rootGuard.checkListing(scan.entryCount, this.#index?.tree.count() ?? 0);
      return this.#queue.begin(next, scan);
    }
    return undefined;
  }

  #reloadRules(dir: TreePath, mayHaveChanged: boolean): void {
    if (!mayHaveChanged) return;
    const directory = this.#root.tryDirectory(dir);
    if (directory === undefined) return;
    const { changed, problem } = this.#ignore.reload(dir, readIgnoreFile(directory));
    if (problem !== undefined) this.#report(joinPath(dir, IGNORE_FILE_NAME), problem.reason, problem.message);
    if (changed && this.#fullScan === 'done') this.#queue.push(dir, monotonicMs(), true);
  }

  async #watchNew(): Promise<void> {
    if (this.#unwatched.length === 0) return;
    const directories = this.#unwatched;
    this.#unwatched = [];
    await this.#hints?.watchDirectories(directories);
  }

  // ---- planning and sending

  #plan(found: readonly Difference[], seenMs: number, deletes: boolean): void {
    const { index, scanner, sender } = this.#parts();
    const settled = found.filter(({ path, now }) => (deletes || now !== undefined) && !this.#inFlight.postpones(path));
    if (settled.length === 0) return;
    const differences = withMoves(settled, index.tree, scanner);
    const plan = planChanges(differences, {
      smallFileBytes: this.#session?.maxInlineBytes ?? 0,
      asideName: (directory) => joinPath(directory, ASIDE_PREFIX + randomBytes(6).toString('hex')),
    });
    for (const { path, now } of differences) if (now?.kind !== 'file') this.#uploads.drop(path);
    index.tree.transaction(() => {
      for (const { path, now } of plan.refreshed) {
        if (now !== undefined) index.tree.setIdentity(path, now.identity);
        this.#problems.solve(path);
      }
    });
    const structural = plan.lookAgain.length > 0;
    if (structural) {
      this.#afterStructural.names.push(...plan.lookAgain);
      for (const change of plan.changes) if (change.type === 'move') this.#afterStructural.subtrees.push(change.to);
      this.#queue.restartOpen();
    }
    sender.send(plan.changes, seenMs, structural);
    if (structural && !this.#inFlight.hasStructural) this.#endStructural();
  }

  #admitDeletes(found: readonly Difference[], { tree }: SyncedIndex): boolean {
    let count = 0;
    for (const { path, now, before } of found)
      if (now === undefined && before !== undefined) count += tree.countSubtree(path);
    if (count === 0) return true;
    this.#rootGuard.check();
    return this.#admit(count, tree.count());
  }

  #admit(count: number, entries: number): boolean {
    if (this.#massDelete.admit(count, entries, monotonicMs()) === 'go') return true;
    this.#log(
      'warn',
      `${count} of ${entries} entries were deleted here; the deletions are held back until they are confirmed`,
      {
        reason: 'MASS_DELETE',
      },
    );
    return false;
  }

  /** Looks once more at the directories in which something was missing, and deletes what still is. */
  #deletionPass(scanner: Scanner, index: SyncedIndex): boolean {
    this.#rootGuard.check();
    this.#root.forgetAll();
    const doomed: Difference[] = [];
    let count = 0;
    for (const path of this.#vanishedIn) {
      const scan = scanner.open(path);
      while (scan !== undefined && !scan.done) {
        for (const difference of scan.next(SLICE_NAMES).differences) {
          if (difference.now !== undefined || difference.before === undefined) continue;
          count += index.tree.countSubtree(difference.path);
          if (doomed.length < MAX_DOOMED) doomed.push(difference);
        }
      }
    }
    const admitted = count === 0 || this.#deletesAdmitted || this.#admit(count, index.tree.count());
    if (admitted) this.#plan(doomed, monotonicMs(), true);
    this.#deletesAdmitted = admitted && doomed.length === MAX_DOOMED;
    if (!this.#deletesAdmitted) this.#vanishedIn.clear();
    return true;
  }

  #beginFullScan(): void {
    this.#rootGuard.check();
    this.#fullScan = 'running';
    this.#problems.forgetAll();
    this.#vanishedIn.clear();
    this.#queue.clear();
    this.#queue.push(ROOT, this.#fullScanSeenMs, true);
    this.#unwatched = [ROOT];
    this.#log('debug', 'scan', { reason: this.#fullScanReason });
  }

  #endFullScan(): boolean {
    this.#rootGuard.check();
    this.#fullScan = 'done';
    this.#index?.setRootIdentity(this.#rootGuard.identity);
    const root = this.#scanner?.lookAtRoot();
    if (root !== undefined) this.#plan([root], this.#fullScanSeenMs, true);
    const jitter = 1 + SCAN_JITTER * (2 * Math.random() - 1);
    this.#nextScanMs = monotonicMs() + this.#options.scanIntervalMs * jitter;
    return true;
  }

  #wantFullScan(reason: string, seenMs = monotonicMs()): void {
    if (this.#fullScan !== 'wanted') this.#fullScanSeenMs = seenMs;
    this.#fullScan = 'wanted';
    this.#fullScanReason = reason;
    this.#nextScanMs = Number.POSITIVE_INFINITY;
    this.wake();
  }

  #lookAgain(path: TreePath): void {
    if (path === ROOT) this.dirty.addName(ROOT, '', monotonicMs());
    else this.dirty.addName(parentOf(path), nameOf(path), monotonicMs());
  }

  #lookAgainLater(path: TreePath, delayMs: number): void {
    if (!this.#postponed.add(path, monotonicMs(), delayMs))
      this.dirty.addEverything('too many files are changing', monotonicMs());
  }

  // ---- the session

  #connected(session: SessionFacts): void {
    this.#session = session;
    const index = this.#openIndex(session);
    this.#scanner ??= new Scanner({
      root: this.#root,
      index: index.tree,
      isIgnored: (path, isDirectory) => this.#ignore.isIgnored(path, isDirectory),
      report: (path, reason, message) => this.#report(path, reason, message),
    });
    this.#sender = this.#newSender(this.#scanner, session);
    this.#durableRevision = 0n;
    const { position } = index;
    const head = { epoch: session.epoch, revision: session.headRevision, batchId: Buffer.from(session.headBatchId) };
    const isKnown =
      position.epoch === head.epoch && position.revision === head.revision && position.batchId.equals(head.batchId);
    if (isKnown || index.tree.treeDigest(ROOT).equals(session.rootTreeDigest)) {
      index.tree.transaction(() => index.setPosition(head));
      this.#durableRevision = head.revision;
      return;
    }
    this.#log('info', 'the server is not where it was last seen; comparing', {
      known: `${position.epoch.slice(0, 8)}:${position.revision}`,
      head: `${head.epoch.slice(0, 8)}:${head.revision}`,
    });
    this.#beginComparison(head, [ROOT]);
  }

  #disconnected(): void {
    this.#session = undefined;
    this.#comparison = undefined;
    this.#uploads.interrupt();
    for (const path of this.#inFlight.abandon()) this.#lookAgain(path);
    this.#endStructural();
  }

  #openIndex(session: SessionFacts): SyncedIndex {
    if (this.#index !== undefined) return this.#index;
    const index = SyncedIndex.open(this.#options.stateDirectory, this.#options.folder, session.digestFunction);
    if (index.rebuiltBecause !== undefined) {
      this.#log('warn', `the synced index is started anew: ${index.rebuiltBecause}; everything will be compared`, {});
    }
    if (this.#options.mode === 'dry-run') index.tree.begin();
    this.#index = index;
    return index;
  }

  #newSender(scanner: Scanner, session: SessionFacts): ChangeSender {
    return new ChangeSender(scanner, session, {
      send: (batch, form, encoded) => this.#send(batch, form, encoded),
      upload: (path, now, before, seenMs) => {
        if (this.#options.mode === 'dry-run') this.#uploadInDryRun(path, now, before, seenMs);
        else this.#uploads.want(path, now, before, seenMs);
      },
      refresh: (path, identity) => {
        this.#problems.solve(path);
        if (this.#parts().index.tree.has(path)) this.#parts().index.tree.setIdentity(path, identity);
      },
      changed: (path) => this.#isBusy(path),
      delay: (path, now, before) => {
        const nowMs = monotonicMs();
        if (now.sizeBytes === 0 && (before?.sizeBytes ?? 0) > 0) return this.#hot.emptiedDelayFor(path, nowMs);
        this.#hot.filled(path);
        return this.#hot.delayFor(path, nowMs);
      },
      postpone: (path, delayMs) => this.#lookAgainLater(path, delayMs),
      unreadable: (path, errno) => this.#report(path, 'PERMISSION_DENIED', `cannot be read (${errno})`),
    });
  }

  #send(batch: SentBatch, form: 'batch' | 'compressed', encoded: Buffer): void {
    for (const { path, operation } of batch.changes) if (operation === 'put') this.#hot.acted(path, monotonicMs());
    this.#inFlight.add(batch);
    if (this.#options.mode === 'dry-run') {
      const { revision, epoch } = this.#parts().index.position;
      this.#settleBatch({ batchId: batch.batchId, revision, durable: true, problems: [] }, epoch, false);
      return;
    }
    const { batchId, changes } = batch;
    this.#emit({ type: 'batch', batchId, form, encoded, changes: changes.length }, [encoded.buffer as ArrayBuffer]);
  }

  #applied(result: BatchResult): void {
    if (this.#session !== undefined) this.#settleBatch(result, this.#session.epoch, true);
  }

  /** What was acknowledged enters the index, and only that. */
  #settleBatch(result: BatchResult, epoch: string, isReal: boolean): void {
    const settled = this.#inFlight.settle(result.batchId);
    if (settled === undefined) return;
    const { batch, lookAgain } = settled;
    const { index } = this.#parts();
    const failed = new Map(result.problems.map((problem) => [problem.index, problem]));
    const done = batch.changes.filter((_, at) => !failed.has(at));
    index.tree.transaction(() => {
      for (const { update } of done) index.apply(update);
      if (isReal && result.revision > index.position.revision) {
        index.setPosition({ epoch, revision: result.revision, batchId: batch.batchId });
      }
    });
    if (result.durable && result.revision > this.#durableRevision) this.#durableRevision = result.revision;
    const milliseconds = monotonicMs() - batch.seenMs;
    for (const { path, contentBytes } of done) {
      this.#problems.solve(path);
      if (this.#busyTries.size > 0) this.#busyTries.delete(path);
      this.#sentContentBytes += contentBytes;
    }
    this.#sentChanges += done.length;
    const revision = isReal ? result.revision : 0n;
    const changes = done.map(({ operation, path, from, contentBytes }) => {
      const change = { operation, path, revision, contentBytes, milliseconds };
      return from === undefined ? change : { ...change, from };
    });
    if (changes.length > 0) this.#emit({ type: 'changes', changes });
    for (const problem of failed.values()) this.#refused(problem);
    for (const path of lookAgain) this.#lookAgain(path);
    if (!this.#inFlight.hasStructural) this.#endStructural();
  }

  #refused({ kind, path, reason, message }: BatchResult['problems'][number]): void {
    switch (kind) {
      case 'content-needed':
      case 'basis-mismatch':
        this.#lookAgain(path);
        return;
      case 'drifted':
        this.#log('warn', "the replica was changed behind the server's back", { path: displayPath(path) });
        this.#driftedIn.add(parentOf(path));
        return;
      case 'invalid':
      case 'failed':
        this.#report(path, reason, message);
        return;
    }
  }

  #endStructural(): void {
    const { names, subtrees } = this.#afterStructural;
    this.#afterStructural = { names: [], subtrees: [] };
    for (const path of names) this.#lookAgain(path);
    for (const path of subtrees) if (this.#root.tryDirectory(path) !== undefined) this.#scanLater(path, monotonicMs());
  }

  /** The server moved on by itself. */
  #advance(revision: bigint, batchId: Buffer): void {
    const { index, session } = { index: this.#index, session: this.#session };
    if (index === undefined || session === undefined || revision <= index.position.revision) return;
    index.tree.transaction(() => index.setPosition({ epoch: session.epoch, revision, batchId }));
  }

  #compareDrifted(): boolean {
    if (!this.#inFlight.isEmpty) return false;
    const paths = [...this.#driftedIn];
    this.#driftedIn.clear();
    this.#beginComparison(this.#parts().index.position, paths);
    return true;
  }

  #beginComparison(position: Position, directories: readonly TreePath[]): void {
    const tree = new TreeComparison(this.#parts().index.tree, {
      ask: (path, treeDigest) => this.#emit({ type: 'compare', path, treeDigest: Buffer.from(treeDigest) }),
      changed: (directory) => {
        if (this.#fullScan === 'done') this.#queue.push(directory, monotonicMs(), false);
        else if (this.#fullScan === 'running') this.#wantFullScan('the server was compared');
      },
    });
    this.#comparison = { tree, position };
    for (const directory of directories) tree.begin(directory);
  }

  #takeComparison(answer: Parameters<TreeComparison['take']>[0]): void {
    const comparison = this.#comparison;
    if (comparison === undefined) return;
    comparison.tree.take(answer);
    if (!comparison.tree.isDone) return;
    this.#comparison = undefined;
    const { index } = this.#parts();
    index.tree.transaction(() => index.setPosition(comparison.position));
    this.#durableRevision = comparison.position.revision;
    this.#log('info', 'compared with the server', {
      differences: comparison.tree.differences,
      entries: index.tree.count(),
    });
  }

  // ---- large contents

  #uploaded({ uploadId, path, outcome }: UploadResult): void {
    if (outcome.type === 'interrupted') return;
    const wanted = this.#uploads.settle(path, uploadId);
    if (wanted === undefined) return;
    if (outcome.type === 'changed') this.#isBusy(path);
    else if (outcome.type === 'failed') this.#report(path, outcome.reason, outcome.message);
    else if (this.#session !== undefined) {
      const digest = Buffer.from(outcome.digest) as Digest;
      const known = this.#index?.tree.get(path);
      const before = known?.kind === 'file' ? known : undefined;
      if (this.#inFlight.postpones(path)) return;
      this.#sender?.sendStored(path, wanted.now, digest, before, wanted.seenMs);
    } else this.#lookAgain(path);
  }

  #uploadInDryRun(...[path, now, before, seenMs]: Parameters<UploadDesk['want']>): void {
    const { scanner, sender } = this.#parts();
    const directory = scanner.directory(parentOf(path));
    const digest = directory && hashFile(directory, nameOf(path), this.#session?.digestFunction ?? 'blake3');
    if (digest !== undefined) sender.sendStored(path, now, digest, before, seenMs);
  }

  #isBusy(path: TreePath): void {
    this.#hot.acted(path, monotonicMs());
    const tries = (this.#busyTries.get(path) ?? 0) + 1;
    this.#busyTries.set(path, tries);
    if (tries > MAX_BUSY_TRIES) {
      this.#report(path, 'BUSY', 'it keeps changing while it is read');
      this.#busyTries.delete(path);
      if (this.#options.mode !== 'watch') return;
    }
    this.#lookAgainLater(path, Math.max(5, this.#hot.delayFor(path, monotonicMs())));
  }

  // ---- what others see

  async #flush(id: number): Promise<void> {
    const settled = await this.#hints?.settle();
    if (settled !== 'delivered') this.#wantFullScan('flush');
    this.#flushes.add(id, monotonicMs());
    this.wake();
  }

  /** Is all done that somebody waits for? */
  #settle(): void {
    const { revision } = this.#index?.position ?? { revision: 0n };
    const isDurable = this.#options.acknowledgement === 'applied' || this.#durableRevision >= revision;
    if (!isDurable) return;
    if (!this.#firstSyncDone && this.#fullScan === 'done' && !this.#hasPending()) {
      this.#firstSyncDone = true;
      if (this.#options.mode === 'dry-run') this.#index?.tree.rollback();
    }
    this.#flushes.settle(this.#oldestPendingMs(), this.#durableRevision);
  }

  #hasPending(): boolean {
    return (
      this.#fullScan !== 'done' ||
      !this.dirty.isEmpty ||
      !this.#queue.isEmpty ||
      this.#vanishedIn.size > 0 ||
      this.#driftedIn.size > 0 ||
      !this.#inFlight.isEmpty ||
      this.#uploads.count > 0 ||
      this.#postponed.count > 0
    );
  }

  #oldestPendingMs(): number {
    const times = [
      this.#fullScan === 'done' ? undefined : this.#fullScanSeenMs,
      this.dirty.oldestMs,
      this.#queue.oldestSeenMs,
      this.#vanishedIn.size > 0 || this.#driftedIn.size > 0 ? 0 : undefined,
      this.#inFlight.oldestSeenMs,
      this.#uploads.oldestSeenMs,
      this.#postponed.oldestSeenMs,
    ];
    return Math.min(Number.POSITIVE_INFINITY, ...times.filter((ms) => ms !== undefined));
  }

  #statusDueMs(): number | undefined {
    return this.#hasPending() ? this.#lastStatusMs + STATUS_INTERVAL_MS : undefined;
  }

  #publishStatus(isIdle: boolean): void {
    const nowMs = monotonicMs();
    if (!isIdle && nowMs - this.#lastStatusMs < STATUS_INTERVAL_MS) return;
    this.#lastStatusMs = nowMs;
    this.#emit({ type: 'status', status: this.#status() });
  }

  #status(): EngineStatus {
    const inStep = this.#session !== undefined && !this.#hasPending() && this.#comparison === undefined;
    const { names, directories } = this.dirty.counts;
    const held = this.#massDelete.heldCount;
    return {
      phase: this.#phase(inStep),
      inStep: inStep && this.#problems.count === 0 && held === 0,
      firstSyncDone: this.#firstSyncDone,
      revision: this.#index?.position.revision ?? 0n,
      durableRevision: this.#durableRevision,
      entries: this.#index?.tree.count() ?? 0,
      scannedEntries: this.#queue.entries,
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

  #phase(inStep: boolean): EngineStatus['phase'] {
    if (this.#isPaused) return 'paused';
    if (this.#comparison !== undefined) return 'comparing';
    if (inStep) return 'idle';
    if (this.#session === undefined && this.#index === undefined) return 'starting';
    return this.#fullScan === 'done' ? 'sending' : 'scanning';
  }

  #report(path: TreePath, reason: string, message: string): void {
    if (this.#problems.add(path, reason, message, monotonicMs())) {
      this.#log('warn', message, { path: displayPath(path), reason });
    }
  }

  #log(level: 'debug' | 'info' | 'warn', message: string, fields: Readonly<Record<string, string | number>>): void {
    this.#emit({ type: 'log', level, message, fields });
  }

  #parts(): { readonly index: SyncedIndex; readonly scanner: Scanner; readonly sender: ChangeSender } {
    const { index, scanner, sender } = { index: this.#index, scanner: this.#scanner, sender: this.#sender };
    if (index === undefined || scanner === undefined || sender === undefined) {
      throw new LockstepError('INTERNAL', 'the engine was used before it was connected');
    }
    return { index, scanner, sender };
  }
}

function noteDifference(difference: Difference | undefined, found: Map<TreePath, Difference>): void {
  if (difference !== undefined) found.set(difference.path, difference);
}

/** A directory that the index does not have under this path: all below it is to be looked through (E31). */
function isAnotherDirectory(difference: Difference | undefined): boolean {
  const { before, now } = difference ?? {};
  return now?.kind === 'directory' && (before?.kind !== 'directory' || before.identity?.ino !== now.identity.ino);
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** For whoever reports why the engine ended. */
export function failureOf(error: unknown): { readonly reason: string; readonly message: string } {
  const reason = error instanceof LockstepError ? error.reason : 'INTERNAL';
  return { reason, message: describeError(error) };
}
