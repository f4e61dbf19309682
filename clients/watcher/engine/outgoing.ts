/**
 * The way out: differences are planned and sent, contents uploaded, and what is acknowledged enters the index, and only
 * that. What cannot be settled now is looked at again.
 */
import { randomBytes } from 'node:crypto';
import type { Digest } from '../../../common/content/digest.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { reasonOf } from '../../../common/ops/errors.ts';
import type { DiskIdentity, FileRecord } from '../../../common/tree/entry.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import { displayPath, joinPath, nameOf, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { IndexUpdate } from '../index/synced-index.ts';
import { HotFiles } from '../observe/hot-files.ts';
import { withMoves } from '../observe/move-detection.ts';
import type { Difference, ObservedFile } from '../plan/difference.ts';
import { ASIDE_PREFIX, type Plan } from '../plan/plan.ts';
import { planChanges } from '../plan/planner.ts';
import type { SenderEffects } from './change-sender.ts';
import { BEFORE_ALL_MS, type Connected } from './connected.ts';
import { DryRunListing } from './dry-run-listing.ts';
import { hashFile } from './file-hash.ts';
import { InFlight, type SentBatch, type SentChange } from './in-flight.ts';
import type { BatchResult, EngineEvent, EngineOptions, SessionEvent, SessionFacts, UploadResult } from './messages.ts';
import { packChanges } from './packed-changes.ts';
import type { Problems } from './problems.ts';
import type { Reconciliation } from './reconciliation.ts';
import type { PartReason } from './rescans.ts';
import { Retries } from './retries.ts';
import type { Revisits } from './revisits.ts';
import { SharedInodes } from './shared-inodes.ts';
import { UploadDesk } from './upload-desk.ts';

export interface OutgoingOptions {
  readonly mode: EngineOptions['mode'];
  /** How long after a change another one may leave the same times (common/fs/time-granule.ts). */
  readonly timeGranuleMs: number;
  readonly root: SafeRoot;
  readonly nowMs: () => number;
  readonly revisits: Revisits;
  readonly problems: Problems;
  readonly reconciliation: Reconciliation;
  readonly emit: (event: EngineEvent, transfer?: readonly ArrayBuffer[]) => void;
  /** Of the present session only. */
  readonly emitInSession: (event: SessionEvent, transfer?: readonly ArrayBuffer[]) => void;
  /** A directory is new to the server under its path: look through it. */
  readonly scanLater: (directory: TreePath, seenMs: number, why: PartReason) => void;
  /** What is being looked through is compared with rows that are about to move. */
  readonly restartScan: () => void;
  readonly packedSignatureOf: (digest: Digest) => Uint8Array | undefined;
  readonly durable: (revision: bigint) => void;
  /** A deletion of so many entries, which had been let go, was not made. */
  readonly notDeleted: (entries: number) => void;
  readonly report: (path: TreePath, reason: string, message: string) => void;
  readonly log: (level: 'debug' | 'warn', message: string, fields: Readonly<Record<string, string>>) => void;
}

/** What led to differences. */
export interface FoundBy {
  /** When the oldest hint that led here was seen. */
  readonly seenMs: number;
  /** Found by looking through directories, not because of a hint. */
  readonly byScan: boolean;
  /** No file can have been renamed, because the index had none. */
  readonly noFileMoves: boolean;
}

interface AfterStructural {
  readonly names: readonly TreePath[];
  readonly subtrees: readonly TreePath[];
  readonly seenMs: number;
}

const NOTHING_AFTER: AfterStructural = { names: [], subtrees: [], seenMs: Number.POSITIVE_INFINITY };

/** Reasons that only say that the server has something else there than the plan believed: compare, and plan anew. */
const PLANNED_WRONGLY: ReadonlySet<string> = new Set([
  'ENTRY_NOT_FOUND',
  'PARENT_MISSING',
  'NOT_A_DIRECTORY',
  'TARGET_EXISTS',
]);
/** Moves that the server takes as removals and new entries only. */
const NEVER_AS_MOVE: ReadonlySet<string> = new Set(['LINK_ESCAPES', 'OTHER_FILE_SYSTEM']);
const MIN_BUSY_PAUSE_MS = 5;
/** Of a replica that lost a directory each entry of it that is sent is refused. */
const MAX_NAMED_DRIFTS = 100;
/** Beyond it those that are linked to forgotten ones are taken for drift, and compared. */
const MAX_NOT_LINKED = 10_000;

export class Outgoing {
  readonly inFlight = new InFlight();
  readonly uploads: UploadDesk;
  readonly sharedInodes = new SharedInodes();
  sentChanges = 0;
  sentContentBytes = 0;
  readonly #options: OutgoingOptions;
  readonly #hot = new HotFiles();
  readonly #retries: Retries;
  /** Undefined where changes are sent. */
  readonly #listing: DryRunListing | undefined;
  /** What a renamed directory makes look at again, once the rename is acknowledged. */
  #afterStructural: AfterStructural = NOTHING_AFTER;
  #isScanning = false;
  /** Since nothing was on its way. */
  #namedDrifts = 0;
  /** Reported since nothing was on its way that makes look at its paths again: each is tried again after its own pause. */
  readonly #refusedNow = new Set<TreePath>();
  /** Names that the server could not link, and does not have since; forgotten when nothing is on its way. */
  readonly #notLinked = new Set<TreePath>();
  /** Undefined while there is no session. */
  #connected: Connected | undefined;

  constructor(options: OutgoingOptions) {
    this.#options = options;
    if (options.mode === 'dry-run') {
      this.#listing = new DryRunListing((lines) => options.emit({ type: 'would-send', lines }));
    }
    this.#retries = new Retries(options.nowMs);
    this.uploads = new UploadDesk({
      signatureOf: options.packedSignatureOf,
      request: (request) => options.emitInSession({ type: 'upload', request }),
      cancel: (uploadId) => options.emitInSession({ type: 'cancel-upload', uploadId }),
      freshMs: this.#freshMs,
    });
  }

  /** Nothing is on its way or waits to be. */
  get isEmpty(): boolean {
    return this.inFlight.isEmpty && this.uploads.count === 0;
  }

  beginSession(connected: Connected): void {
    this.#connected = connected;
  }

  /** What was not acknowledged counts as not sent. */
  endSession(): void {
    this.#connected = undefined;
    this.uploads.interrupt();
    for (const path of this.inFlight.abandon()) this.#options.revisits.again(path, BEFORE_ALL_MS);
    this.#endStructural();
  }

  /** @param connected the session in which they were found; those of another are looked for again */
  send(connected: Connected, found: readonly Difference[], foundBy: FoundBy): void {
    const { seenMs } = foundBy;
    const { revisits, problems } = this.#options;
    if (this.#connected !== connected) {
      for (const { path } of found) revisits.again(path, seenMs);
      return;
    }
    const settled = found.filter(({ path }) => !this.inFlight.postpones(path, seenMs));
    if (settled.length === 0) return;
    const { index, scanner, sender, session } = connected;
    const isSettled = (path: TreePath) => this.inFlight.isSettled(path);
    const plan = planChanges(withMoves(settled, index.tree, scanner, isSettled, !foundBy.noFileMoves), {
      smallFileBytes: session.maxInlineBytes,
      asideName: (directory) => joinPath(directory, ASIDE_PREFIX + randomBytes(6).toString('hex')),
    });
    for (const { path, now } of settled) {
      const wantedIno = this.uploads.inodeOf(path);
      if (wantedIno !== undefined && wantedIno !== now?.identity.ino) this.sharedInodes.nameVanished();
      // An upload that ends now would bring back what the file was.
      if (now?.kind !== 'file' || now.sizeBytes <= session.maxInlineBytes) this.uploads.drop(path);
    }
    if (plan.refreshed.length > 0) {
      index.tree.transaction(() => {
        for (const { path, now } of plan.refreshed) if (now !== undefined) index.tree.setIdentity(path, now.identity);
      });
      for (const { path } of plan.refreshed) problems.solve(path);
    }
    const isStructural = plan.lookAgain.length > 0;
    if (isStructural) this.#beginStructural(plan, seenMs);
    this.#isScanning = foundBy.byScan;
    sender.send(plan.changes, seenMs, isStructural);
    this.#isScanning = false;
    if (!this.inFlight.hasStructural) this.#endStructural();
  }

  /** Takes in the answer to one batch. */
  settle({ index, session, signatures, links }: Connected, result: BatchResult): void {
    const settled = this.inFlight.settle(result.batchId);
    if (settled === undefined) return;
    const { revisits, reconciliation, problems } = this.#options;
    const { batch, lookAgain } = settled;
    const { revision } = result;
    const refused = new Set(result.problems.map((problem) => problem.index));
    const done = refused.size === 0 ? batch.changes : batch.changes.filter((_, at) => !refused.has(at));
    const groups = links === undefined ? [] : groupsOf(done, index.tree);
    index.tree.transaction(() => {
      for (const change of done) {
        this.#listing?.add(change, index.tree);
        index.apply(change.update);
      }
      reconciliation.reached(index, { epoch: session.epoch, revision, batchId: batch.batchId });
    });
    if (result.durable) this.#options.durable(revision);
    this.sentChanges += done.length;
    for (const { operation, path, contentBytes, update, isShared } of done) {
      if (operation === 'link') links?.accepted(path);
      if (update.type === 'put' && update.entry.kind === 'file' && isTold(update.entry, session)) {
        signatures.signing.add(path, update.entry);
      }
      // Other names may have been sent at the same time, neither knowing of the other.
      if (isShared || this.#hasOtherNames(update, index.tree)) revisits.again(path, batch.seenMs);
      // What could not be looked at while this was on its way may be another one by now.
      if (problems.solve(path)) {
        revisits.again(path, batch.seenMs);
        // It was tried alone (lookout.ts).
        if (operation === 'mkdir') this.#options.scanLater(path, batch.seenMs, 'new-directory');
      }
      this.#retries.forget(path);
      if (this.#notLinked.size > 0) this.#notLinked.delete(path);
      this.sentContentBytes += contentBytes;
    }
    for (const other of links?.leftBehind(groups) ?? []) revisits.again(other, batch.seenMs);
    this.#listing?.flush();
    if (done.length > 0 && this.#listing === undefined) {
      const milliseconds = batch.seenMs === BEFORE_ALL_MS ? 0 : this.#options.nowMs() - batch.seenMs;
      const changes = packChanges(done, revision, milliseconds);
      this.#options.emit({ type: 'changes', changes }, [changes.sizes.buffer as ArrayBuffer]);
    }
    let undeleted = 0;
    for (const problem of result.problems) {
      const change = batch.changes[problem.index];
      // What a renamed directory replaces was never counted.
      if (change?.operation === 'delete' && !batch.structural) undeleted += index.tree.countSubtree(change.path);
      this.#refused(problem, change, batch.seenMs);
    }
    if (undeleted > 0) this.#options.notDeleted(undeleted);
    for (const { path, seenMs } of lookAgain) {
      if (!this.#refusedNow.has(path) || !this.#isStillThere(path, batch)) revisits.again(path, seenMs);
    }
    if (this.inFlight.isEmpty) {
      this.#namedDrifts = 0;
      this.#notLinked.clear();
    }
    if (!this.inFlight.hasStructural) this.#endStructural();
  }

  /** Whether this directory, of which the batch told, is still the one that the disk has: its own look came by again, and found nothing new. */
  #isStillThere(path: TreePath, { changes }: SentBatch): boolean {
    const update = changes.find((change) => change.path === path)?.update;
    if (update?.type !== 'put' || update.entry.kind !== 'directory') return false;
    this.#options.root.forgetAll();
    return update.identity?.ino === this.#connected?.scanner.directoryInodeAt(path);
  }

  /** Whether a name that this put or renamed is one of several, of which another was seen to differ meanwhile. */
  #hasOtherNames(update: IndexUpdate, tree: TreeIndex): boolean {
    if (this.sharedInodes.isEmpty || update.type === 'remove') return false;
    return this.sharedInodes.has(update.type === 'put' ? update.identity : tree.get(update.to)?.identity);
  }

  /** Takes in how the upload of a content went. */
  uploaded({ uploadId, path, outcome }: UploadResult): void {
    if (outcome.type === 'interrupted') return;
    const mustBePut = this.uploads.isToBeSent(path);
    const wanted = this.uploads.settle(path, uploadId);
    if (wanted === undefined) return;
    if (outcome.type === 'changed') return this.#isBusy(path, wanted.seenMs);
    if (outcome.type === 'failed') return this.#options.report(path, outcome.reason, outcome.message);
    const connected = this.#connected;
    // While the server is compared nothing may change what it has.
    if (connected === undefined || this.#options.reconciliation.isRunning)
      return this.#options.revisits.again(path, wanted.seenMs);
    const digest = Buffer.from(outcome.digest) as Digest;
    if (outcome.signature !== undefined) connected.signatures.store.putPacked(digest, outcome.signature);
    if (this.inFlight.postpones(path, wanted.seenMs)) return;
    const known = connected.index.tree.get(path);
    const before = known?.kind === 'file' && !mustBePut ? known : undefined;
    connected.sender.sendStored(path, wanted.now, digest, before, wanted.seenMs, wanted.freshMs);
  }

  readonly #freshMs = ({ ctimeNs }: DiskIdentity): number => {
    const { timeGranuleMs } = this.#options;
    if (timeGranuleMs === 0) return 0;
    const ageMs = Date.now() - Number(ctimeNs / 1_000_000n);
    // A clock that is far ahead is another machine's: what it says would never be old.
    return Math.abs(ageMs) <= timeGranuleMs ? timeGranuleMs : 0;
  };

  /** What the sender of a session needs of this room. */
  senderEffects({
    index: { tree },
    signatures: { maker },
    links,
  }: Pick<Connected, 'index' | 'signatures' | 'links'>): SenderEffects {
    const { mode, nowMs, revisits, problems, report } = this.#options;
    return {
      send: (batch, form, encoded) => this.#transmit(batch, form, encoded),
      upload: (path, now, before, seenMs, copyOf) => {
        if (mode === 'dry-run') this.#hashInDryRun(path, now, before, seenMs);
        else this.uploads.want(path, now, before, seenMs, copyOf);
      },
      refresh: (path, identity) => {
        // As when a change is acknowledged: it may have been read before that.
        if (problems.solve(path)) revisits.again(path, BEFORE_ALL_MS);
        if (tree.has(path)) tree.setIdentity(path, identity);
      },
      freshMs: this.#freshMs,
      changed: (path, seenMs) => this.#isBusy(path, seenMs),
      delay: (path, now, before) => {
        if (now.sizeBytes === 0 && (before?.sizeBytes ?? 0) > 0) return this.#hot.emptiedDelayFor(path, nowMs());
        this.#hot.filled(path);
        return this.#hot.delayFor(path, nowMs());
      },
      postpone: (path, delayMs, seenMs) => revisits.later(path, nowMs() + delayMs, seenMs),
      deltaOf: (content, before) => maker.deltaOf(content, before),
      links,
      unreadable: (path, errno) => report(path, reasonOf(errno), `cannot be read (${errno})`),
    };
  }

  #beginStructural(plan: Plan, seenMs: number): void {
    const moved = plan.changes.flatMap((change) => (change.type === 'move' ? [change.to] : []));
    const after = this.#afterStructural;
    this.#afterStructural = {
      names: [...after.names, ...plan.lookAgain],
      subtrees: [...after.subtrees, ...moved],
      seenMs: Math.min(seenMs, after.seenMs),
    };
    this.#options.restartScan();
  }

  #endStructural(): void {
    const { names, subtrees, seenMs } = this.#afterStructural;
    const refused = new Set(this.#refusedNow);
    this.#refusedNow.clear();
    if (names.length === 0) return;
    const { revisits, root, scanLater } = this.#options;
    this.#afterStructural = NOTHING_AFTER;
    for (const path of names) if (!refused.has(path)) revisits.again(path, seenMs);
    root.forgetAll();
    for (const path of subtrees)
      if (root.tryDirectory(path) !== undefined) scanLater(path, seenMs, 'renamed-directory');
  }

  #transmit(batch: SentBatch, form: 'batch' | 'compressed', encoded: Buffer): void {
    const { mode, emitInSession } = this.#options;
    // A scan comes by once: only files that somebody is heard writing can be hot.
    if (!this.#isScanning && mode === 'watch') {
      for (const { path, operation } of batch.changes)
        if (operation === 'put') this.#hot.acted(path, this.#options.nowMs());
    }
    this.inFlight.add(batch);
    const { batchId, changes, rawBytes } = batch;
    if (mode !== 'dry-run') {
      const { buffer } = encoded;
      const event = { type: 'batch', batchId, form, encoded, rawBytes, changes: changes.length } as const;
      emitInSession(event, [buffer as ArrayBuffer]);
    } else if (this.#connected !== undefined) {
      this.settle(this.#connected, { batchId, revision: 0n, durable: true, problems: [] });
    }
  }

  #refused(
    { kind, path, reason, message }: BatchResult['problems'][number],
    change: SentChange | undefined,
    seenMs: number,
  ): void {
    const { revisits, log } = this.#options;
    // The server does not have this there, and no other name is to be linked to it.
    if (change !== undefined) this.#connected?.links?.left(change.path);
    const isNotLinked =
      kind === 'content-needed' ||
      (kind === 'failed' && reason !== 'NO_SPACE') ||
      // Nor could what it was to be linked to.
      (kind === 'drifted' && this.#notLinked.has(path));
    if (change?.operation === 'link' && isNotLinked) {
      if (this.#notLinked.size >= MAX_NOT_LINKED) this.#notLinked.clear();
      this.#notLinked.add(change.path);
      // Without the link it becomes a file of its own, at once where there can be none, else after some tries.
      log(kind === 'failed' ? 'warn' : 'debug', `not linked: ${message}`, { path: displayPath(path), reason });
      this.#connected?.links?.refused(change.path, reason === 'PERMISSION_DENIED');
      revisits.again(change.path, seenMs);
      return;
    }
    // Nothing is wrong with the plan but that the server has refused the directory, with which all below is found.
    if ((kind === 'drifted' || PLANNED_WRONGLY.has(reason)) && this.#isWithoutDirectory(change?.path ?? path)) {
      if (change?.from !== undefined) revisits.again(change.from, seenMs);
      return;
    }
    switch (kind) {
      case 'basis-mismatch': {
        // Without the signature the whole content follows.
        const known = this.#connected?.index.tree.get(path);
        if (known?.kind === 'file') this.#connected?.signatures.maker.forget(known.digest);
        revisits.again(path, seenMs);
        return;
      }
      case 'content-needed':
        this.uploads.mustSend(path);
        revisits.again(path, seenMs);
        return;
      case 'drifted':
        this.#logDrift(path);
        if (this.#retries.mayDriftAgain(change?.path ?? path)) this.#compareAgain(path, change, seenMs);
        else this.#name(concernedBy(path, change), reason, message);
        return;
      case 'invalid':
      case 'failed':
        if (NEVER_AS_MOVE.has(reason) && change?.from !== undefined)
          return this.#comesApart(change.from, change.path, reason, seenMs);
        if (!PLANNED_WRONGLY.has(reason) || !this.#retries.mayPlanAgain(path))
          return this.#name(concernedBy(path, change), reason, message);
        log('debug', message, { path: displayPath(path), reason });
        this.#compareAgain(path, change, seenMs);
        return;
    }
  }

  /** They are tried again after a pause, however often they are come by before. */
  #name(paths: Iterable<TreePath>, reason: string, message: string): void {
    for (const path of paths) {
      this.#options.report(path, reason, message);
      this.#refusedNow.add(path);
    }
  }

  /** Whether the server has no directory for this path, as far as it has answered: it was refused, or what is above it. */
  #isWithoutDirectory(path: TreePath): boolean {
    const parent = parentOf(path);
    return parent !== ROOT && this.#connected?.index.tree.get(parent)?.kind !== 'directory';
  }

  /** What the server has there is not what the plan was made from. */
  #compareAgain(path: TreePath, change: SentChange | undefined, seenMs: number): void {
    for (const touched of concernedBy(path, change)) {
      this.#options.reconciliation.wantDrifted(parentOf(touched));
      this.#options.revisits.again(touched, seenMs);
    }
  }

  #logDrift(path: TreePath): void {
    const { log } = this.#options;
    this.#namedDrifts++;
    if (this.#namedDrifts > MAX_NAMED_DRIFTS) return;
    log('warn', "the replica was changed behind the server's back", { path: displayPath(path) });
    if (this.#namedDrifts === MAX_NAMED_DRIFTS) log('warn', 'what else of the replica was changed is not named', {});
  }

  /** Without its identity the entry is not taken for a renamed one again. */
  #comesApart(from: TreePath, to: TreePath, reason: string, seenMs: number): void {
    const { revisits, log } = this.#options;
    const tree = this.#connected?.index.tree;
    if (tree?.has(from) === true) tree.setIdentity(from, undefined);
    log('debug', 'a move is sent as a removal and new entries', { path: displayPath(to), reason });
    for (const touched of [from, to]) revisits.again(touched, seenMs);
  }

  #hashInDryRun(path: TreePath, now: ObservedFile, before: FileRecord | undefined, seenMs: number): void {
    if (this.#connected === undefined) return;
    const { scanner, sender, session } = this.#connected;
    const directory = scanner.directory(parentOf(path));
    const digest = directory && hashFile(directory, nameOf(path), session.digestFunction);
    if (digest !== undefined) sender.sendStored(path, now, digest, before, seenMs, 0);
  }

  /** The file changed while it was read. */
  #isBusy(path: TreePath, seenMs: number): void {
    const nowMs = this.#options.nowMs();
    this.#hot.acted(path, nowMs);
    if (this.#retries.isBusy(path)) {
      this.#options.report(path, 'BUSY', 'it keeps changing while it is read');
      if (this.#options.mode !== 'watch') return;
    }
    const delayMs = Math.max(MIN_BUSY_PAUSE_MS, this.#hot.delayFor(path, nowMs));
    this.#options.revisits.later(path, nowMs + delayMs, seenMs);
  }
}

/** Of a move that was refused, the place that it was to lead to is still to be filled, and the one that it came from to be left. */
function concernedBy(path: TreePath, change: SentChange | undefined): ReadonlySet<TreePath> {
  return new Set([path, change?.path, change?.from].filter((concerned) => concerned !== undefined));
}

/** Of the names that were linked: the groups that they are in so far. */
function groupsOf(
  changes: readonly SentChange[],
  tree: TreeIndex,
): readonly (readonly [IndexUpdate, number | undefined])[] {
  return changes.flatMap(({ existing, path, update }) =>
    existing === undefined ? [] : [[update, tree.linkGroupOf(path)] as const],
  );
}

/** Whether an edit of this file would be told as a delta. */
function isTold({ sizeBytes }: FileRecord, { readsFiles, maxInlineBytes }: SessionFacts): boolean {
  return readsFiles !== true || sizeBytes <= maxInlineBytes;
}
