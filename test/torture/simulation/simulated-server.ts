/**
 * The server's side of a simulation: the real applier, log, index and recovery in this thread, which dies at any of its
 * steps when it is told to, and is opened again.
 */
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type {
  BatchResult,
  CompareAnswer,
  EngineEvent,
  SessionFacts,
  UploadRequest,
  UploadResult,
} from '../../../clients/watcher/engine/messages.ts';
import { digestOf } from '../../../common/content/digest.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { toWireEntry } from '../../../common/rpc/entry-codec.ts';
import { joinPath, nameOf, ROOT, toWirePath, type TreePath } from '../../../common/tree/tree-path.ts';
import { Batch } from '../../../gen/lockstep/sync/v1/change.ts';
import { CompareTreeResponse } from '../../../gen/lockstep/sync/v1/compare.ts';
import { contentName } from '../../../services/sync-server/replica/layout.ts';
import { Checkpointer } from '../../../services/sync-server/replica/checkpoint.ts';
import { DirtyPages } from '../../support/dirty-pages.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import type { Random } from '../../support/workloads.ts';
import { lookAt, walk } from './simulated-source.ts';
import { encodeBatch, mkdir, put, remove, TestReplica } from '../../server/replica/support.ts';

type BatchEvent = Extract<EngineEvent, { type: 'batch' }>;
type CompareEvent = Extract<EngineEvent, { type: 'compare' }>;

/** A defect that a simulation has to find. Each stands for one that synchronizers have had. */
export type PlantedFault =
  | 'a hint is lost and nobody looks'
  | 'an answer comes before the log is synced'
  | 'the changes of a batch are applied in another order'
  | 'what cannot be read counts as deleted'
  | 'an answer is believed that belongs to another session'
  | 'a sync that failed is believed at its second try';

/** Thrown where the server dies. */
export class Crash extends Error {}

/** Small, so that little trees meet every limit: contents above are uploaded. */
const MAX_INLINE_BYTES = 60;
const MAX_BATCH_CHANGES = 7;

export interface Applied {
  readonly results: readonly BatchResult[];
  readonly drifted: readonly TreePath[];
  /** The session is over: its lease is another's, or the disk failed and nobody was answered. */
  readonly isRefused: boolean;
}

/** What the disk answers to some of the calls that one group makes. */
interface DiskTrouble {
  readonly call: (typeof FAILING_CALLS)[number];
  readonly errno: (typeof ERRNOS)[number];
  /** Of its calls, from 1. */
  readonly first: number;
  readonly count: number;
}

const FAILING_CALLS = [
  'writevSync',
  'fdatasyncSync',
  'openSync',
  'writeSync',
  'renameSync',
  'linkSync',
  'mkdirSync',
  'symlinkSync',
  'unlinkSync',
  'rmdirSync',
  'fchmodSync',
  'lutimesSync',
  'futimesSync',
  'lstatSync',
] as const;
const ERRNOS = ['ENOSPC', 'EIO'] as const;

export class SimulatedServer {
  readonly directory: string;
  /** The newest revision that somebody was told is durable. */
  durableRevision = 0n;
  /** Its replica was changed behind its back, and it has not looked since. */
  isEdited = false;
  readonly #pages: DirtyPages;
  readonly #keepsOwners: boolean;
  #replica: TestReplica | undefined;
  #trouble: DiskTrouble | undefined;
  readonly #othersWork = new Set<string>();
  #stepsToCrash = Number.POSITIVE_INFINITY;
  /** Copies of the disk as it was before each of the last two groups; only with the planted fault. */
  #copies: string[] = [];
  #copyCount = 0;
  /** What it held when power was cut; all of it had been acknowledged as durable. */
  #heldAtCut: ReadonlyMap<TreePath, string> | undefined;

  constructor(directory: string, keepsOwners: boolean) {
    this.directory = directory;
    this.#pages = new DirtyPages(directory);
    this.#keepsOwners = keepsOwners;
    this.start();
  }

  get isRunning(): boolean {
    return this.#replica !== undefined;
  }

  get headRevision(): bigint {
    return this.#opened.core.state.revision;
  }

  /** Dies at the n-th step from now on, wherever that is. */
  crashAfter(steps: number): void {
    this.#stepsToCrash = steps;
  }

  /** @throws Crash in the middle of recovery */
  start(): void {
    try {
      const settings = { keepsOwners: this.#keepsOwners };
      this.#replica = TestReplica.open(this.directory, { crashPoint: () => this.#passStep() }, settings);
    } catch (error) {
      this.#stepsToCrash = Number.POSITIVE_INFINITY;
      throw error;
    }
    if (this.#opened.core.state.revision < this.durableRevision) {
      throw new Error(`revision ${this.durableRevision} was durable, and ${this.#opened.core.state.revision} is left`);
    }
    const held = this.#heldAtCut;
    this.#heldAtCut = undefined;
    if (held === undefined) return;
    const left = new Map(walk(this.directory));
    for (const [path, content] of held) {
      if (left.get(path) !== content)
        throw new Error(`${path} was ${content} before a power cut, and is ${left.get(path)}`);
    }
  }

  stop(): void {
    this.#replica?.close();
    this.#replica = undefined;
    this.#stepsToCrash = Number.POSITIVE_INFINITY;
  }

  /** For good. */
  close(): void {
    this.stop();
    this.#pages.close();
  }

  /** The disk fails, or is full, while the next group is applied. Returns how, for the trace. */
  failDisk(random: Random): string {
    const [call, errno, first] = [random.of(FAILING_CALLS), random.of(ERRNOS), 1 + random.below(4)];
    const count = random.below(2) === 0 ? 1 : Number.POSITIVE_INFINITY;
    this.#trouble = { call, errno, first, count };
    return `${errno} from ${call} ${first} for ${count}`;
  }

  healDisk(): void {
    this.#trouble = undefined;
  }

  /** Syncs of the file system that are going to fail, and to take along what was to be synced. */
  failSyncs(count: number): void {
    this.#pages.failures = count;
  }

  /** @throws Crash; that the sync failed is no matter of anybody's but the server's */
  async checkpoint(fault?: PlantedFault): Promise<void> {
    const replica = this.#opened;
    try {
      await new Checkpointer(replica.core, this.#pages.syncFileSystem).run();
    } catch (error) {
      if (error instanceof Crash) {
        this.stop();
        throw error;
      }
      if (!(error instanceof LockstepError) || error.reason !== 'IO') throw error;
      if (fault === 'a sync that failed is believed at its second try') replica.core.doubt.clear();
    }
  }

  /** Dies, and its disk has only what was synced. */
  losePower(): void {
    this.stop();
    // Half of what somebody else did is nobody's promise.
    this.#heldAtCut = this.isEdited ? undefined : new Map(walk(this.directory));
    this.#pages.cutPower();
  }

  /** A session begins: the newest lease, and where the server stands. @throws Crash */
  connect(): SessionFacts {
    return this.#alive((replica) => {
      replica.lease = replica.applier.nextLease();
      const { core } = replica;
      return {
        lease: replica.lease,
        epoch: core.state.epoch,
        headRevision: core.state.revision,
        headBatchId: core.state.headBatchId,
        rootTreeDigest: core.index.treeDigest(ROOT),
        digestFunction: 'blake3',
        maxBatchBytes: 65_536,
        maxBatchChanges: MAX_BATCH_CHANGES,
        maxInlineBytes: MAX_INLINE_BYTES,
        maxInFlightBytes: 20_000,
        zstd: false,
        compressAll: false,
        hardLinks: true,
      };
    });
  }

  /** Applies batches as one group. @throws Crash */
  apply(batches: readonly BatchEvent[], fault?: PlantedFault): Applied {
    if (fault === 'an answer comes before the log is synced') this.#keepUnsynced();
    return this.#alive((replica) => {
      const reorder = fault === 'the changes of a batch are applied in another order';
      const incoming = batches.map(({ lease = 0n, encoded, form }) => ({
        lease,
        encoded: reorder ? reversed(encoded) : Buffer.from(encoded),
        form,
        acknowledgement: 'durable' as const,
      }));
      const outcome = this.#withTrouble(replica, () => replica.group(incoming));
      if (outcome === undefined) return { results: [], drifted: [], isRefused: true };
      const { results, drifted } = outcome;
      return {
        results: results.flatMap((result) => (result.outcome === 'applied' ? [result.answer] : [])),
        drifted,
        isRefused: results.some(({ outcome }) => outcome === 'refused'),
      };
    });
  }

  /** Another watcher takes the folder over, and changes something. Returns what. @throws Crash */
  takeOver(random: Random): string {
    return this.#alive((replica) => {
      const entries = [...walk(this.directory)];
      const [path] = entries.length === 0 ? ['theirs'] : random.of(entries);
      const content = `theirs ${random.below(1000)}`;
      const change = random.of([put('theirs', content), put(path, content), mkdir(`${path}-theirs`), remove(path)]);
      const encoded = encodeBatch([change], Buffer.alloc(16, random.below(2 ** 31)));
      const lease = replica.applier.nextLease();
      replica.group([{ lease, encoded, form: 'batch', acknowledgement: 'durable' }]);
      this.durableRevision = replica.core.state.revision;
      const [before, now] = [new Map(entries), new Map(walk(this.directory))];
      for (const touched of new Set([...before.keys(), ...now.keys()]))
        if (before.get(touched) !== now.get(touched)) this.#othersWork.add(`${touched} ${now.get(touched)}`);
      return `take over ${path}`;
    });
  }

  /** Whether another watcher left this at the path, or, undefined, nothing: the log may bring it back. */
  wasMadeByAnother(path: TreePath, content: string | undefined): boolean {
    return this.#othersWork.has(`${path} ${content}`);
  }

  /** @throws Crash */
  compare({ path, treeDigest }: CompareEvent): CompareAnswer {
    return this.#alive(({ core: { index } }) => {
      const isThere = path === ROOT || index.get(path)?.kind === 'directory';
      const isEqual = isThere && index.treeDigest(path).equals(treeDigest);
      const records = isThere && !isEqual ? index.recordsWithDigests(path) : [];
      const root = path === ROOT ? index.get(ROOT) : undefined;
      const encoded = CompareTreeResponse.encode({
        path: toWirePath(path),
        equal: isEqual,
        missing: !isThere,
        last: true,
        children: records.map((record) => toWireEntry(joinPath(path, nameOf(record.path)), record, record.treeDigest)),
        root: root && toWireEntry(ROOT, root),
      }).finish();
      return { path, outcome: isEqual ? 'equal' : isThere ? 'differs' : 'missing', encoded, last: true };
    });
  }

  /** Reads a file of the source, and has its content in staging if nobody changed it meanwhile. */
  upload(request: UploadRequest, source: string): UploadResult {
    const { uploadId, path } = request;
    const file = join(source, path);
    const stat = lookAt(file);
    const isExpected =
      stat?.isFile() === true &&
      stat.ino === request.ino &&
      stat.mtimeNs === request.mtimeNs &&
      stat.ctimeNs === request.ctimeNs;
    if (!isExpected) return { uploadId, path, outcome: { type: 'changed' } };
    const content = readFileSync(file);
    const digest = digestOf('blake3', content);
    const isKnown = request.knownDigest !== undefined && digest.equals(request.knownDigest);
    const staged = join(this.directory, '.lockstep/staging', contentName(digest));
    if (!isKnown && !existsSync(staged)) writeFileSync(staged, content, { mode: 0o600, flush: true });
    return { uploadId, path, outcome: { type: 'done', digest, sentBytes: isKnown ? 0 : content.length } };
  }

  /** Somebody changes the replica behind the server's back. Returns what was done. */
  edit(random: Random): string {
    this.isEdited = true;
    // What is edited while it is down is not what the cut has left.
    this.#heldAtCut = undefined;
    const entries = [...walk(this.directory)];
    const [path, content] = entries.length === 0 ? ['foreign', ''] : random.of(entries);
    const file = join(this.directory, path);
    switch (random.below(3)) {
      case 0:
        if (content === 'directory' && random.below(2) === 0) mkdirSync(join(file, 'foreign'), { recursive: true });
        else rmSync(file, { force: true, recursive: true });
        return `edit ${path}`;
      case 1:
        if (content.startsWith('file')) {
          appendFileSync(file, 'foreign');
          this.#pages.putOnDisk(file);
        }
        return `edit ${path}`;
      default:
        writeFileSync(join(this.directory, 'foreign'), 'foreign');
        this.#pages.putOnDisk(join(this.directory, 'foreign'));
        return 'edit foreign';
    }
  }

  /** Looks through the whole replica. Returns what was not as the index said. @throws Crash */
  lookThrough(): readonly TreePath[] {
    return this.#alive((replica) => {
      const corrected = replica.lookThrough();
      this.isEdited = false;
      return corrected;
    });
  }

  get #opened(): TestReplica {
    if (this.#replica === undefined) throw new Error('the server does not run');
    return this.#replica;
  }

  /** Undefined when the disk failed: nobody is answered, and the replica recovers, as its service makes it. @throws Crash */
  #withTrouble<T>(replica: TestReplica, act: () => T): T | undefined {
    const trouble = this.#trouble;
    if (trouble === undefined) return act();
    this.#trouble = undefined;
    const { call, errno, first, count } = trouble;
    try {
      using _ = failingCalls(call, errno, (number) => number >= first && number < first + count);
      return act();
    } catch (error) {
      if (error instanceof Crash) throw error;
      const isOnlyFull = error instanceof LockstepError && error.reason === 'NO_SPACE' && replica.applier.isIntact;
      if (!isOnlyFull) replica.recoverAgain();
      return undefined;
    }
  }

  #alive<T>(act: (replica: TestReplica) => T): T {
    try {
      return act(this.#opened);
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      this.stop();
      this.#loseUnsynced();
      throw error;
    }
  }

  #keepUnsynced(): void {
    const copy = `${this.directory}-copy-${this.#copyCount++}`;
    cpSync(this.directory, copy, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
    this.#copies.push(copy);
    if (this.#copies.length > 2) rmSync(this.#copies.shift() ?? '', { recursive: true });
  }

  /** The disk never got the last group that was answered, nor the one that it died in. */
  #loseUnsynced(): void {
    const [before, ...others] = this.#copies.splice(0);
    if (before === undefined) return;
    for (const other of [this.directory, ...others]) rmSync(other, { recursive: true });
    renameSync(before, this.directory);
  }

  #passStep(): void {
    if (--this.#stepsToCrash <= 0) throw new Crash('the server dies here');
  }
}

function reversed(encoded: Uint8Array): Buffer {
  const batch = Batch.decode(encoded);
  return Buffer.from(Batch.encode({ ...batch, changes: batch.changes.toReversed() }).finish());
}
