/**
 * A server and a watcher as a user has them: two real processes over a real socket, a watched directory and a replica in a
 * temporary place, gone afterwards. Waits for states, never for times.
 */
import { execFileSync } from 'node:child_process';
import { accessSync, chownSync, constants, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControlClient } from '../../clients/watcher/status/control-client.ts';
import { CountingProxy } from './counting-proxy.ts';
import { BinProgram, type Exit, runToEnd } from './bin-program.ts';
import { type CompareOptions, differencesOf } from './tree-oracle.ts';

export type ChangeSource = 'auto' | 'chokidar' | 'native' | 'poll';
/** What every test about watching is run with. */
export const CHANGE_SOURCES = ['chokidar', 'native'] as const;

export interface PairOptions {
  /** Default: native. */
  readonly changeSource?: ChangeSource;
  readonly serverFlags?: readonly string[];
  readonly watcherFlags?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Asked at each start of the program. */
  readonly serverEnvironment?: () => Readonly<Record<string, string>>;
  readonly watcherEnvironment?: () => Readonly<Record<string, string>>;
  /** Commands that start the programs: `prlimit` and the like. */
  readonly serverWrapper?: readonly string[];
  readonly watcherWrapper?: readonly string[];
  /** Where the watched directory is, when not in the pair's own place. */
  readonly source?: string;
  /** The watcher talks to the server through a proxy that counts. */
  readonly counting?: boolean;
  /** The watcher talks to the server through this. */
  readonly proxy?: (serverPort: number) => Promise<PairProxy>;
  /** Puts something into the two directories before anything is started. */
  readonly prepare?: (pair: Pair) => void;
  /** Where the replica is, when not beside the watched directory. */
  readonly replica?: string;
  /** Where the watcher's state is, when not beside the watched directory. */
  readonly watcherState?: string;
  /** The user that the watcher runs as; needs root. */
  readonly watcherUid?: number;
  /** The user that the server runs as; needs root. */
  readonly serverUid?: number;
}

/** What lies between the two. */
export interface PairProxy {
  readonly port: number;
  stop(): Promise<void>;
}

/** "At once", on a machine that does other things as well. */
const FOLLOW_MS = 15_000;
const FLUSH_MS = 60_000;
const LOOK_MS = 10;

export class Pair {
  readonly base: string;
  readonly source: string;
  readonly replica: string;
  readonly watcherState: string;
  readonly options: PairOptions;
  #server: BinProgram | undefined;
  #watcher: BinProgram | undefined;
  #proxy: CountingProxy | undefined;
  #otherProxy: PairProxy | undefined;
  #serverPort = 0;
  /** Those that ended before; their words are part of the report. */
  readonly #former: BinProgram[] = [];
  #starts = 0;

  private constructor(options: PairOptions) {
    this.options = options;
    this.base = temporaryDirectory();
    this.source = options.source ?? join(this.base, 'source');
    this.replica = options.replica ?? join(this.base, 'replica');
    this.watcherState = options.watcherState ?? join(this.base, 'watcher-state');
    for (const directory of [this.source, this.replica, this.watcherState]) mkdirSync(directory, { recursive: true });
    if (options.watcherUid !== undefined) {
      for (const directory of [this.base, this.source, this.watcherState]) {
        chownSync(directory, options.watcherUid, options.watcherUid);
      }
    }
    if (options.serverUid !== undefined) {
      for (const directory of [this.base, this.replica]) chownSync(directory, options.serverUid, options.serverUid);
    }
  }

  /** Both run, and the first sync is done. */
  static async start(options: PairOptions = {}): Promise<Pair> {
    const pair = Pair.prepare(options);
    try {
      await pair.startServer();
      await pair.startWatcher();
      return pair;
    } catch (error) {
      await pair.remove();
      throw error;
    }
  }

  /** The directories only; nothing runs yet. */
  static prepare(options: PairOptions = {}): Pair {
    const pair = new Pair(options);
    options.prepare?.(pair);
    return pair;
  }

  get server(): BinProgram {
    if (this.#server === undefined) throw new Error('the server was not started');
    return this.#server;
  }

  get watcher(): BinProgram {
    if (this.#watcher === undefined) throw new Error('the watcher was not started');
    return this.#watcher;
  }

  get proxy(): CountingProxy {
    if (this.#proxy === undefined) throw new Error('this pair has no proxy');
    return this.#proxy;
  }

  /** What a watcher is told with --server. */
  get address(): string {
    return `127.0.0.1:${this.#proxy?.port ?? this.#otherProxy?.port ?? this.#serverPort}`;
  }

  /** Listens where it listened before, so that a watcher finds it again. */
  async startServer(flags: readonly string[] = []): Promise<void> {
    const readyFile = join(this.base, `server-ready-${this.#starts++}`);
    const own = ['--dir', this.replica, '--listen', `127.0.0.1:${this.#serverPort}`, '--http', 'off'];
    this.#server = this.#started('sync-server', [
      ...own,
      ...['--ready-file', readyFile, '--log-format', 'json'],
      ...(this.options.serverFlags ?? []),
      ...flags,
    ]);
    const { grpc } = await this.#server.ready(readyFile);
    this.#serverPort = Number(String(grpc).split(':').at(-1));
    if (this.options.counting === true) this.#proxy ??= await CountingProxy.start(this.#serverPort);
    this.#otherProxy ??= await this.options.proxy?.(this.#serverPort);
  }

  /** Resolves when it watches and the first sync is done. */
  async startWatcher(flags: readonly string[] = []): Promise<void> {
    await this.launchWatcher(flags).ready(this.#watcherReadyFile);
  }

  /** Starts it and does not wait. */
  launchWatcher(flags: readonly string[] = []): BinProgram {
    this.#starts++;
    const readiness = ['--ready-file', this.#watcherReadyFile, '--log-format', 'json', '--progress', 'off'];
    const source = ['--watcher', this.options.changeSource ?? 'native'];
    // Who has something between the two wants to see what goes through.
    const way = this.#proxy === undefined && this.#otherProxy === undefined ? [] : ['--no-local-files'];
    this.#watcher = this.#started('sync-watcher', [
      ...this.watcherArguments,
      ...readiness,
      ...source,
      ...way,
      ...(this.options.watcherFlags ?? []),
      ...flags,
    ]);
    return this.#watcher;
  }

  /** What names this pair to any command of the watcher that talks to the server. */
  get watcherArguments(): readonly string[] {
    return [...this.controlArguments, '--server', this.address];
  }

  /** What names this pair to `status`, `flush` and their like. */
  get controlArguments(): readonly string[] {
    return ['--dir', this.source, '--state', this.watcherState];
  }

  /** Runs `sync-watcher` to its end, with these arguments. */
  async command(...args: readonly string[]): Promise<Exit> {
    return runToEnd('sync-watcher', { arguments: args, environment: this.options.environment ?? {} });
  }

  /** `sync-watcher status --json`, parsed. */
  async status(): Promise<Readonly<Record<string, unknown>>> {
    const { stdout, stderr } = await this.command('status', ...this.controlArguments, '--json');
    if (stdout === '') throw new Error(`no status: ${stderr}`);
    return JSON.parse(stdout) as Record<string, unknown>;
  }

  /** As `sync-watcher flush`, without a process of its own: returns when all that was on disk is durable. */
  async flush(): Promise<void> {
    const client = new ControlClient(this.watcherState, this.source);
    try {
      await client.flush(FLUSH_MS);
    } finally {
      client.close();
    }
  }

  /** What is different right now; entries that come and go while they are compared count as different. */
  differences(options: CompareOptions = {}): readonly string[] {
    try {
      return differencesOf(this.source, this.replica, options);
    } catch (error) {
      if (error instanceof Error && 'code' in error && typeof error.code === 'string') {
        return [`cannot be compared: ${error.message}`];
      }
      throw error;
    }
  }

  /** Waits until the replica is equal by itself: nothing is asked of the watcher. */
  async follows(options: CompareOptions = {}, withinMs = FOLLOW_MS): Promise<void> {
    const endMs = performance.now() + withinMs;
    for (;;) {
      const differences = this.differences(options);
      if (differences.length === 0) return;
      if (performance.now() > endMs) {
        throw new Error(`not in step within ${withinMs} ms:\n  ${differences.join('\n  ')}`);
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  /** Flushes; then the two trees must be equal at once. */
  async inStep(options: CompareOptions = {}): Promise<void> {
    await this.flush();
    const differences = this.differences(options);
    if (differences.length > 0) throw new Error(`different after a flush:\n  ${differences.join('\n  ')}`);
  }

  /** Waits for a state of the running watcher, as `status --json` tells it. */
  async statusWhere(
    what: string,
    holds: (status: Readonly<Record<string, unknown>>) => boolean,
    withinMs = FOLLOW_MS,
  ): Promise<Readonly<Record<string, unknown>>> {
    const endMs = performance.now() + withinMs;
    for (;;) {
      const status = await this.status();
      if (holds(status)) return status;
      if (performance.now() > endMs) throw new Error(`not within ${withinMs} ms: ${what}: ${JSON.stringify(status)}`);
    }
  }

  /** A copy of the replica as it is now, beside it: `cp -a`. The server's own directory is not copied. */
  copyOfReplica(): string {
    return this.copyOf(this.replica, ['.lockstep']);
  }

  copyOf(directory: string, without: readonly string[] = []): string {
    const copy = mkdtempSync(join(this.base, 'copy-'));
    execFileSync('cp', ['-a', '--', `${directory}/.`, copy]);
    for (const name of without) rmSync(join(copy, name), { recursive: true, force: true });
    execFileSync('touch', ['-r', directory, copy]);
    return copy;
  }

  /** Everything that the programs said, for a failed test. */
  report(): string {
    const programs = [...this.#former, this.#server, this.#watcher].filter((program) => program !== undefined);
    return [...new Set(programs)].map((program) => program.report()).join('\n');
  }

  /** Kills what runs and removes everything. */
  async remove(): Promise<void> {
    for (const program of [this.#watcher, this.#server]) await program?.end('SIGKILL');
    await this.#proxy?.stop();
    await this.#otherProxy?.stop();
    removeDirectory(this.base);
  }

  get #watcherReadyFile(): string {
    return join(this.base, `watcher-ready-${this.#starts}`);
  }

  #started(name: 'sync-server' | 'sync-watcher', args: readonly string[]): BinProgram {
    const former = name === 'sync-server' ? this.#server : this.#watcher;
    if (former?.isRunning === true) throw new Error(`${name} runs already`);
    if (former !== undefined) this.#former.push(former);
    const { watcherUid, serverUid, environment, serverEnvironment, watcherEnvironment } = this.options;
    const { serverWrapper, watcherWrapper } = this.options;
    const uid = name === 'sync-watcher' ? watcherUid : serverUid;
    return new BinProgram(name, {
      arguments: args,
      wrapper: name === 'sync-server' ? serverWrapper : watcherWrapper,
      environment: { ...environment, ...(name === 'sync-server' ? serverEnvironment : watcherEnvironment)?.() },
      ...(uid === undefined ? {} : { uid }),
    });
  }
}

/** In memory where that is possible: what is tested is the programs, not the disk. */
export function temporaryDirectory(): string {
  return mkdtempSync(join(temporaryBase(), 'lockstep-e2e-'));
}

/** Where the directories of pairs are: in memory, if there is such a place. */
export function temporaryBase(): string {
  return memoryDirectory() ?? tmpdir();
}

export function removeDirectory(directory: string): void {
  // Node's own recursive removal fails on paths beyond 4,096 bytes.
  execFileSync('chmod', ['-R', 'u+rwx', '--', directory]);
  execFileSync('rm', ['-rf', '--', directory]);
}

function memoryDirectory(): string | undefined {
  try {
    accessSync('/dev/shm', constants.W_OK | constants.X_OK);
    return '/dev/shm';
  } catch {
    // There is none here.
    return undefined;
  }
}
