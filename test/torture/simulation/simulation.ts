/**
 * Watcher and server in one thread, with a network, a clock and crashes that one seed steers: everything that can happen in
 * another order happens in another order. Both sides are the real ones (engine, planner, index; applier, log, recovery) on
 * a file system in memory; what stands between them is here. The same actions give the same run.
 */
import { hash } from 'node:crypto';
import { cpSync, existsSync, lstatSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { Engine } from '../../../clients/watcher/engine/engine.ts';
import type { EngineCommand, EngineEvent, EngineStatus } from '../../../clients/watcher/engine/messages.ts';
import { Directory } from '../../../common/fs/directory.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { isInside, parentOf, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { sharedNamesOf, treeOf } from '../../server/replica/support.ts';
import { Random } from '../../support/workloads.ts';
import { Crash, type PlantedFault, SimulatedServer } from './simulated-server.ts';
import { kernelNowMs, SimulatedSource, walk } from './simulated-source.ts';

/** One thing that happens; its seed says how. Leaving some out of a list leaves the others what they are. */
export interface Action {
  /** `settle`: all faults are over, and both sides come to rest and are compared. */
  readonly kind: ActionKind | 'settle';
  readonly seed: number;
}

const KINDS = {
  mutate: 30,
  work: 30,
  'deliver hints': 12,
  'lose hints': 1,
  'server reads': 16,
  'watcher reads': 16,
  wait: 8,
  cut: 2,
  connect: 6,
  'server crashes': 1,
  'watcher crashes': 1,
  'keep index': 1,
  'listing fails': 1,
  'no descriptors': 1,
  'replica is edited': 1,
  checkpoint: 2,
  'syncs fail': 1,
  'power is cut': 1,
  'disk fails': 2,
  'clock jumps': 1,
  'another writer': 1,
  flush: 2,
  scan: 1,
} as const;

export type ActionKind = keyof typeof KINDS;

export interface SimulationOptions {
  readonly directory: string;
  readonly fault?: PlantedFault;
  /** Names of one file are to be names of one file in the replica, too. */
  readonly hardLinks?: boolean;
  /** Both sides keep owners, and the source changes them, too; needs root. Default false. */
  readonly owners?: boolean;
}

type ToServer = Extract<EngineEvent, { type: 'batch' | 'compare' | 'upload' }>;

const SHOWS_TRACE = process.env['LOCKSTEP_TRACE'] !== undefined;
const PHASES = 3;
const MAX_ROUNDS_TO_SETTLE = 3_000;
const DAY_MS = 86_400_000;

/** The actions of one phase. */
export function actionsOf(random: Random, count: number): Action[] {
  const choices = Object.entries(KINDS).flatMap(([kind, weight]) => Array.from({ length: weight }, () => kind));
  return Array.from({ length: count }, () => ({ kind: random.of(choices) as ActionKind, seed: random.below(2 ** 31) }));
}

/** The actions of a run, in phases that end with a settling. */
export function runOf(seed: number, actionsPerPhase: number): readonly Action[] {
  const random = new Random(seed);
  return Array.from({ length: PHASES }, () => [
    ...actionsOf(random, 1 + random.below(actionsPerPhase)),
    { kind: 'settle', seed: 0 } as const,
  ]).flat();
}

/** Runs the actions, and settles in the end. Returns the hash of all that happened. @throws what was wrong */
export async function simulate(actions: readonly Action[], options: SimulationOptions): Promise<string> {
  const simulation = new Simulation(options);
  try {
    for (const action of actions) await simulation.play(action);
    await simulation.play({ kind: 'settle', seed: 0 });
    return simulation.traceHash;
  } finally {
    simulation.close();
  }
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #source: SimulatedSource;
  readonly #server: SimulatedServer;
  readonly #stateDirectory: string;
  readonly #trace: string[] = [];
  /** Of the current action. */
  #random = new Random(0);
  #nowMs = 1_000;
  #root: SafeRoot | undefined;
  #engine: Engine | undefined;
  #isConnected = false;
  /** Another watcher has the folder, and this one has not been told. */
  #isTakenOver = false;
  /** On their way. */
  #toServer: ToServer[] = [];
  #toWatcher: EngineCommand[] = [];
  #uploaded: EngineCommand[] = [];
  /** Answers of sessions that are over. */
  #late: EngineCommand[] = [];
  #hintsWereLost = false;
  #status: EngineStatus | undefined;
  #isSettling = false;
  /** The code that runs is the watcher's, not the server's. */
  #isInEngine = false;
  #nextFlush = 1;
  /** With the mutations that there had been when it was asked for. */
  #flushes = new Map<number, number>();
  /** With the problems that it told of. */
  #flushed = new Map<number, number>();
  /** Listings of the watcher that are going to fail. */
  #failures = 0;
  /** Openings of directories that are. */
  #refusals = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    const { directory } = options;
    rmSync(directory, { recursive: true, force: true });
    this.#stateDirectory = join(directory, 'state');
    for (const name of ['source', 'replica', 'state']) mkdirSync(join(directory, name), { recursive: true });
    const { owners = false } = options;
    this.#source = new SimulatedSource(join(directory, 'source'), owners);
    this.#server = new SimulatedServer(join(directory, 'replica'), owners);
    this.#startWatcher();
  }

  /** Of the programs. What time files get stays the kernel's. */
  #setClock(aheadMs: number): void {
    Date.now = () => kernelNowMs() + aheadMs;
  }

  get traceHash(): string {
    return hash('sha256', this.#trace.join('\n'));
  }

  close(): void {
    Date.now = kernelNowMs;
    this.#engine?.close();
    this.#root?.close();
    this.#server.close();
    rmSync(this.#options.directory, { recursive: true, force: true });
  }

  async play({ kind, seed }: Action): Promise<void> {
    this.#random = new Random(seed);
    this.#note(kind);
    if (kind === 'settle') await this.#settle();
    else await this.#act(kind);
  }

  /** Ends all faults and lets both sides come to rest. @throws when they do not, or are not equal then */
  async #settle(): Promise<void> {
    if (!this.#server.isRunning) this.#restartServer();
    this.#isSettling = true;
    this.#failures = 0;
    this.#refusals = 0;
    this.#server.crashAfter(Number.POSITIVE_INFINITY);
    this.#server.failSyncs(0);
    this.#server.healDisk();
    if (this.#isTakenOver) this.#cut();
    if (this.#server.isEdited) this.#drifted(this.#server.lookThrough());
    this.#watcherReads(this.#toWatcher.length);
    let id = this.#flush();
    for (let round = 0; this.#flushed.get(id) !== 0; round++) {
      if (round > MAX_ROUNDS_TO_SETTLE) throw new Error(`it does not come to rest: ${inspect(this.#status)}`);
      if (this.#flushed.has(id)) {
        // What could not be read is tried again after a while.
        this.#nowMs += 61_000;
        id = this.#flush();
      }
      if (!this.#isConnected) this.#connect();
      this.#deliverHints(this.#source.hints.length);
      const worked = await this.#work();
      while (this.#toServer.length > 0) this.#serverReads(this.#toServer.length);
      this.#watcherReads(this.#toWatcher.length);
      this.#nowMs += worked ? 1 : 20;
    }
    this.#assertEqual('at rest');
    this.#isSettling = false;
  }

  async #act(kind: ActionKind): Promise<void> {
    switch (kind) {
      case 'mutate':
        this.#note(this.#source.mutate(this.#random));
        break;
      case 'work':
        await this.#work();
        break;
      case 'deliver hints':
        this.#deliverHints(1 + this.#random.below(this.#source.hints.length + 1));
        break;
      case 'lose hints':
        this.#source.hints.length = 0;
        this.#hintsWereLost = this.#options.fault !== 'a hint is lost and nobody looks';
        break;
      case 'server reads':
        this.#serverReads(1 + this.#random.below(this.#toServer.length + 1));
        break;
      case 'watcher reads':
        this.#watcherReads(1 + this.#random.below(this.#toWatcher.length + 1));
        break;
      case 'wait':
        this.#nowMs += this.#random.below(30);
        break;
      case 'cut':
        this.#cut();
        break;
      case 'connect':
        if (!this.#server.isRunning) this.#restartServer();
        else if (!this.#isConnected) this.#connect();
        break;
      case 'server crashes':
        this.#server.crashAfter(1 + this.#random.below(60));
        break;
      case 'watcher crashes':
        this.#crashWatcher();
        break;
      case 'keep index':
        this.#keepIndex();
        break;
      case 'listing fails':
        this.#failures = 1 + this.#random.below(3);
        break;
      case 'no descriptors':
        this.#refusals = 1 + this.#random.below(3);
        break;
      case 'replica is edited':
        this.#note(this.#server.edit(this.#random));
        break;
      case 'checkpoint':
        await this.#checkpoint();
        break;
      case 'syncs fail':
        this.#server.failSyncs(1 + this.#random.below(2));
        break;
      case 'power is cut':
        if (this.#server.isRunning) this.#server.losePower();
        this.#cut();
        break;
      case 'disk fails':
        this.#note(this.#server.failDisk(this.#random));
        break;
      case 'clock jumps':
        this.#setClock(this.#random.of([-DAY_MS, 0, DAY_MS]));
        break;
      case 'another writer':
        this.#letAnotherWrite();
        break;
      case 'flush':
        this.#flush();
        break;
      case 'scan':
        this.#toEngine({ type: 'rescan' });
        break;
    }
  }

  // ---- the watcher

  #startWatcher(): void {
    this.#source.beginWatching();
    this.#hintsWereLost = false;
    this.#root = SafeRoot.open(this.#source.directory);
    this.#engine = new Engine({
      options: {
        directory: this.#source.directory,
        stateDirectory: this.#stateDirectory,
        folder: 'default',
        mode: 'watch',
        changeSource: 'native',
        scanIntervalMs: 1e12,
        excludes: [],
        owner: this.#options.owners === true ? 'number' : 'off',
        maxDelete: { limit: { kind: 'percent', percent: 100 }, floorEntries: 0 },
        acknowledgement: 'durable',
        hardLinks: this.#options.hardLinks === true,
      },
      root: this.#root,
      hints: {
        watchDirectories: async (directories) => {
          this.#source.watch(directories);
          // While the engine waits for this, anything may come.
          this.#isInEngine = false;
          await this.#interrupt();
          this.#isInEngine = true;
        },
        settle: async () => {
          const lost = this.#hintsWereLost;
          this.#deliverHints(this.#source.hints.length);
          return lost ? 'scan-needed' : 'delivered';
        },
      },
      emit: (event) => this.#take(event),
      clock: { nowMs: () => this.#nowMs, random: () => this.#random.below(1_000) / 1_000 },
    });
  }

  #crashWatcher(): void {
    this.#cut();
    this.#engine?.close();
    this.#root?.close();
    const kept = `${this.#stateDirectory}-kept`;
    if (existsSync(kept) && this.#random.below(3) === 0) {
      // A power cut, or yesterday's backup: the index is of an earlier time.
      rmSync(this.#stateDirectory, { recursive: true });
      cpSync(kept, this.#stateDirectory, { recursive: true });
    }
    this.#flushes.clear();
    this.#startWatcher();
  }

  #keepIndex(): void {
    const kept = `${this.#stateDirectory}-kept`;
    rmSync(kept, { recursive: true, force: true });
    cpSync(this.#stateDirectory, kept, { recursive: true });
  }

  #flush(): number {
    const id = this.#nextFlush++;
    this.#flushes.set(id, this.#source.mutations);
    this.#toEngine({ type: 'flush', id });
    return id;
  }

  async #work(): Promise<boolean> {
    const { prototype } = Directory;
    const list = Object.getOwnPropertyDescriptor(prototype, 'list')?.value as Directory['list'];
    const fails = (): boolean => this.#isInEngine && this.#failures > 0 && this.#failures-- > 0;
    const failure = () => {
      if (this.#options.fault === 'what cannot be read counts as deleted') return [];
      throw Object.assign(new Error('EIO: simulated'), { code: 'EIO', errno: -5, syscall: 'scandir' });
    };
    prototype.list = function failing(this: Directory) {
      return fails() ? failure() : list.call(this);
    };
    const { prototype: rootPrototype } = SafeRoot;
    const open = Object.getOwnPropertyDescriptor(rootPrototype, 'directory')?.value as SafeRoot['directory'];
    const refuses = (): boolean => this.#isInEngine && this.#refusals > 0 && this.#refusals-- > 0;
    rootPrototype.directory = function refusing(this: SafeRoot, path) {
      if (path !== ROOT && refuses())
        throw Object.assign(new Error('EMFILE: simulated'), { code: 'EMFILE', errno: -24, syscall: 'open' });
      return open.call(this, path);
    };
    this.#isInEngine = true;
    try {
      return (await this.#engine?.work()) === true;
    } finally {
      this.#isInEngine = false;
      prototype.list = list;
      rootPrototype.directory = open;
    }
  }

  #toEngine(command: EngineCommand): void {
    this.#note(`> ${command.type}`);
    this.#engine?.handle(command);
  }

  #take(event: EngineEvent): void {
    switch (event.type) {
      case 'batch':
      case 'compare':
      case 'upload':
        if (this.#isConnected) this.#toServer.push(event);
        return;
      case 'flushed':
        this.#flushed.set(event.id, event.problemCount);
        // Nothing was changed since it was asked for: all of it has to be there now.
        if (this.#server.isEdited || this.#isTakenOver || !this.#server.isRunning) return;
        if (this.#flushes.get(event.id) === this.#source.mutations && event.problemCount === 0)
          this.#assertEqual(`flush ${event.id}`);
        return;
      case 'changes':
        this.#note(`${event.changes.operations} ${event.changes.paths.replaceAll(/aside-[0-9a-f]+/g, 'aside')}`);
        return;
      case 'status':
        this.#status = event.status;
        return;
      case 'break-session':
        throw new Error(`the engine makes no sense of its server: ${event.message}`);
      case 'log':
      case 'all-sent':
      case 'cancel-upload':
      case 'would-send':
      case 'failed':
      case 'closed':
        return;
    }
  }

  #deliverHints(count: number): void {
    const { dirty } = this.#engine ?? {};
    if (this.#hintsWereLost) dirty?.addEverything({ reason: 'overflow', detail: 'hints were lost' }, this.#nowMs);
    this.#hintsWereLost = false;
    for (const { dir, name } of this.#source.hints.splice(0, count)) {
      if (name === undefined) dirty?.addDirectory(dir, true, this.#nowMs);
      else dirty?.addName(dir, name, this.#nowMs);
    }
  }

  /** What may happen while the engine waits. */
  async #interrupt(): Promise<void> {
    if (this.#isSettling) return;
    const random = this.#random;
    for (let happenings = random.below(4); happenings > 0; happenings--) {
      switch (random.below(5)) {
        case 0:
          this.#note(this.#source.mutate(random));
          break;
        case 1:
          this.#serverReads(1 + random.below(3));
          break;
        case 2:
        case 3:
          this.#watcherReads(1 + random.below(3));
          break;
        default:
          if (random.below(10) === 0) this.#cut();
          else if (!this.#isConnected && this.#server.isRunning) this.#connect();
      }
    }
  }

  // ---- the wire

  #connect(): void {
    try {
      const session = this.#server.connect();
      this.#isConnected = true;
      this.#toEngine({ type: 'connected', session });
    } catch (error) {
      this.#survive(error);
    }
  }

  #cut(): void {
    if (!this.#isConnected) return;
    this.#isConnected = false;
    this.#isTakenOver = false;
    this.#late = this.#toWatcher;
    this.#toServer = [];
    this.#toWatcher = [];
    this.#uploaded = [];
    this.#toEngine({ type: 'disconnected' });
  }

  /** Who had the folder before is told at once, or when it next sends something. */
  #letAnotherWrite(): void {
    if (!this.#server.isRunning) return;
    try {
      this.#note(this.#server.takeOver(this.#random));
      this.#isTakenOver = this.#isConnected;
      if (this.#random.below(2) === 0) this.#cut();
    } catch (error) {
      this.#survive(error);
    }
  }

  #serverReads(count: number): void {
    const messages = this.#toServer.splice(0, count);
    try {
      for (let at = 0; at < messages.length && this.#isConnected; ) at += this.#serve(messages.slice(at));
    } catch (error) {
      this.#survive(error);
    }
  }

  /** Answers the first message, and the batches that come right behind it in one group. Returns how many that were. */
  #serve(messages: readonly ToServer[]): number {
    const [first] = messages;
    switch (first?.type) {
      case undefined:
        return 1;
      case 'compare':
        this.#toWatcher.push({ type: 'compared', answer: this.#server.compare(first) });
        return 1;
      case 'upload':
        this.#uploaded.push({ type: 'uploaded', result: this.#server.upload(first.request, this.#source.directory) });
        return 1;
      case 'batch': {
        const end = messages.findIndex(({ type }) => type !== 'batch');
        const batches = messages
          .slice(0, end < 0 ? messages.length : end)
          .filter((message) => message.type === 'batch');
        this.#apply(batches);
        return batches.length;
      }
    }
  }

  #apply(batches: readonly Extract<ToServer, { type: 'batch' }>[]): void {
    const before = new Map(walk(this.#server.directory));
    const { results, drifted, isRefused } = this.#server.apply(batches, this.#options.fault);
    const failed = new Set(results.flatMap(({ problems }) => problems.map(({ path }) => path)));
    this.#assertHonest(before, batches.length > 1, failed);
    if (isRefused) return this.#cut();
    if (this.#isTakenOver) throw new Error('changes were taken with the lease of before');
    for (const result of results) {
      if (result.durable) this.#server.durableRevision = result.revision;
      this.#toWatcher.push({ type: 'applied', result });
    }
    this.#drifted(drifted);
  }

  #drifted(entries: readonly TreePath[]): void {
    if (entries.length === 0 || !this.#isConnected) return;
    const paths = [...new Set(entries.map((path) => (path === ROOT ? ROOT : parentOf(path))))];
    this.#toWatcher.push({ type: 'drifted', paths, headRevision: this.#server.headRevision });
  }

  #watcherReads(count: number): void {
    const fault = this.#options.fault === 'an answer is believed that belongs to another session';
    if (fault) this.#toWatcher.unshift(...this.#late.splice(0));
    for (const command of this.#toWatcher.splice(0, count)) this.#toEngine(command);
    // Another stream: when its answers come has nothing to do with the others.
    if (this.#isSettling || this.#random.below(2) === 0) {
      for (const command of this.#uploaded.splice(0)) this.#toEngine(command);
    }
  }

  // ---- crashes

  #survive(error: unknown): void {
    if (!(error instanceof Crash)) throw error;
    this.#note('crash');
    this.#cut();
  }

  async #checkpoint(): Promise<void> {
    if (!this.#server.isRunning) return;
    try {
      await this.#server.checkpoint(this.#options.fault);
    } catch (error) {
      this.#survive(error);
    }
  }

  #restartServer(): void {
    for (let tries = 0; !this.#server.isRunning; tries++) {
      try {
        this.#server.start();
      } catch (error) {
        if (!(error instanceof Crash) || tries > 3) throw error;
      }
    }
  }

  // ---- what must hold

  /**
   * Each path of the replica was so at the source at some time, or has what a rename brought there that is older than the
   * source's; and nothing went that never went there. Of a group, a later batch may have renamed what an earlier one put. Where
   * a directory was to take the place of a file, or a file that of a directory, and the disk failed in between, nothing may be left.
   */
  #assertHonest(before: ReadonlyMap<TreePath, string>, isGroup: boolean, failed: ReadonlySet<TreePath>): void {
    const now = new Map(walk(this.#server.directory));
    const moved = new Set(before.values());
    for (const [path, content] of now) {
      if (before.get(path) === content || path.includes('.lockstep-aside-')) continue;
      const mayBeMoved = moved.has(content) || (isGroup && this.#source.everHadFile(content));
      if (this.#server.wasMadeByAnother(path, content)) continue;
      if (!mayBeMoved && !this.#source.everHad(path, content))
        throw new Error(`${path} never was ${content} at the source`);
    }
    for (const [path, content] of before) {
      if (now.has(path) || path.includes('.lockstep-aside-') || this.#server.wasMadeByAnother(path, undefined))
        continue;
      const isHalfDone = [...failed].some(
        (half) => isInside(path, half) && this.#source.everHadOtherKind(half, before),
      );
      if (!isHalfDone && !this.#source.wasEverGone(path))
        throw new Error(`${path} was deleted, and never was at the source (${content})`);
    }
  }

  #assertEqual(when: string): void {
    const [source, replica] = [treeOf(this.#source.directory), treeOf(this.#server.directory)];
    const differences = [...new Set([...source.keys(), ...replica.keys()])].filter(
      (path) => source.get(path) !== replica.get(path) || !this.#hasSameOwner(path),
    );
    const [mine, theirs] = [this.#source.directory, this.#server.directory].map((path) => statSync(path));
    if (differences.length === 0 && this.#options.hardLinks === true) this.#assertLinked(when);
    if (differences.length === 0 && mine?.mode === theirs?.mode) return;
    const lines = differences.map(
      (path) => `${path}: ${source.get(path) ?? 'nothing'} | ${replica.get(path) ?? 'nothing'}`,
    );
    throw new Error(`${when}: after a flush the replica is another:\n  ${lines.join('\n  ')}`);
  }

  #assertLinked(when: string): void {
    const shown = [this.#source.directory, this.#server.directory].map((directory) =>
      sharedNamesOf(directory)
        .map((names) => names.join(' '))
        .join('\n  '),
    );
    if (shown[0] !== shown[1]) throw new Error(`${when}: links became others:\n  ${shown.join('\n became\n  ')}`);
  }

  #hasSameOwner(path: string): boolean {
    if (this.#options.owners !== true) return true;
    const [mine, theirs] = [this.#source, this.#server].map(({ directory }) => lstatSync(join(directory, path)));
    return mine?.uid === theirs?.uid && mine?.gid === theirs?.gid;
  }

  #note(what: string): void {
    this.#trace.push(what);
    if (SHOWS_TRACE) process.stdout.write(`${what}\n`);
  }
}
