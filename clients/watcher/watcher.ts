/**
 * The watcher, put together: the engine's thread, the sessions with the server, the control service, and what people see
 * of it. Composition only: nothing here looks at a tree or a message.
 */
import { hostname } from 'node:os';
import { fileSystemKind } from '../../common/fs/free-space.ts';
import { removeReadyFile, writeReadyFile } from '../../common/fs/ready-file.ts';
import { Deferred, withTimeout } from '../../common/ops/async.ts';
import { ExitCode, isReason, LockstepError } from '../../common/ops/errors.ts';
import type { Logger } from '../../common/ops/logger.ts';
import type { Address } from '../../common/rpc/address.ts';
import { telemetrySettings } from '../../common/telemetry/settings.ts';
import { displayText } from '../../common/tree/display-path.ts';
import type { FlushResponse } from '../../gen/lockstep/watcher/v1/watcher_service.ts';
import { displayPath } from '../../common/tree/tree-path.ts';
import type { EngineEvent, EngineOptions, EngineStatus } from './engine/messages.ts';
import type { EngineThread } from './engine-thread.ts';
import { OnSynced } from './hooks/on-synced.ts';
import type { Bandwidth } from './push/bandwidth.ts';
import type { AnsweredBatch } from './push/change-stream.ts';
import { Connection } from './push/connection.ts';
import { ContentReader } from './push/content-reader.ts';
import type { SecurityOptions } from './push/credentials.ts';
import { Inspection } from './push/inspection.ts';
import { type OpenedSession, Reconnect } from './push/reconnect.ts';
import { SentBytes } from './push/sent-bytes.ts';
import { Session } from './push/session.ts';
import { ChangeLog } from './status/change-log.ts';
import { ControlService } from './status/control-service.ts';
import type { Progress } from './status/progress.ts';
import { holderIdOf } from './status/state-directory.ts';
import type { WatcherTelemetry } from './status/telemetry.ts';
import type { MeteredWatcher, WatcherMeter } from './status/watcher-metrics.ts';
import { type WatcherEvent, WatcherModel, type WatcherSnapshot } from './status/watcher-model.ts';
import { VERSION } from './version.ts';

export interface WatcherOptions {
  readonly engine: EngineOptions;
  readonly address: Address;
  readonly security: SecurityOptions;
  /** With `once`: how long the server may be out of reach, in milliseconds. */
  readonly timeoutMs: number;
  readonly takeOver: boolean;
  /** Let a server on this machine read large files itself. */
  readonly localFiles: boolean;
  readonly readyFile: string | undefined;
  /** Run when changes have arrived. */
  readonly onSynced:
    | { readonly command: string; readonly environment: Environment; readonly timeoutMs: number | undefined }
    | undefined;
}

interface Metrics {
  readonly address: Address;
  add(watcher: MeteredWatcher): WatcherMeter;
}

type Environment = Readonly<Record<string, string | undefined>>;

export interface WatcherSurroundings {
  readonly logger: Logger;
  readonly progress: Progress;
  readonly startEngine: (options: EngineOptions) => EngineThread;
  /** Standard output: what a dry run would send. */
  readonly writeLine: (line: string) => void;
  /** Standard error: what could not be synced. */
  readonly complain: (sentence: string) => void;
  /** Shared by all watchers of the process. */
  readonly bandwidth: Bandwidth;
  /** Shared by all watchers of the process: where its metrics are shown. */
  readonly metrics?: Metrics | undefined;
  /** The first sync is done, up to this revision. */
  readonly onReady?: ((revision: string) => void) | undefined;
}

/** Together less than the ten seconds in which a stop must be done (E116). */
const ANSWERS_DEADLINE_MS = 5_000;
const CLOSE_DEADLINE_MS = 3_000;
/** Beside the answers; with --once the command is part of what is waited for. */
const HOOK_DEADLINE_MS = 2_500;

const MAX_SHOWN_DIRECTORY = 120;

/** Of a directory: each room logs as much as was asked of it. */
type Rooms = Readonly<Record<'observe' | 'engine' | 'push' | 'status' | 'hooks', Logger>>;

export class Watcher {
  readonly #options: WatcherOptions;
  readonly #around: WatcherSurroundings;
  readonly #rooms: Rooms;
  readonly #model: WatcherModel;
  readonly #engine: EngineThread;
  readonly #content: ContentReader;
  readonly #reconnect: Reconnect;
  readonly #control: ControlService;
  readonly #changes: ChangeLog;
  readonly #onSynced: OnSynced | undefined;
  readonly #result = new Deferred<ExitCode>();
  readonly #engineClosed = new Deferred<void>();
  readonly #sent = new SentBytes();
  readonly #meter: WatcherMeter | undefined;
  #telemetry: WatcherTelemetry | undefined;
  #excludes: readonly string[];
  #isReady = false;
  #isEnding = false;

  constructor(options: WatcherOptions, around: WatcherSurroundings) {
    const { directory, folder, mode } = options.engine;
    this.#options = options;
    this.#excludes = options.engine.excludes;
    this.#around = around;
    this.#model = new WatcherModel({ directory, server: options.address.text, folder });
    this.#meter = around.metrics?.add({ model: this.#model, sent: this.#sent });
    this.#rooms = roomsOf(around.logger);
    this.#changes = new ChangeLog(this.#rooms.status);
    this.#content = new ContentReader(directory);
    if (options.readyFile !== undefined) removeReadyFile(options.readyFile);
    this.#engine = around.startEngine(options.engine);
    this.#control = new ControlService({
      model: this.#model,
      engine: this.#engine,
      bandwidth: around.bandwidth,
      logger: this.#rooms.status,
    });
    this.#reconnect = new Reconnect({
      open: (isFirst, signal) => this.#open(isFirst, signal),
      mode: mode === 'watch' ? 'watch' : 'once',
      timeoutMs: options.timeoutMs,
      address: options.address.text,
      engine: this.#engine,
      onState: (state) => {
        if (!this.#isEnding) this.#model.connectionIs(state);
      },
      logger: this.#rooms.push,
    });
    this.#model.subscribe((event) => {
      // A dry run has brought nothing into step.
      if (mode !== 'dry-run' || this.#model.snapshot.phase !== 'in-step') around.progress.see(event);
    });
    if (options.onSynced !== undefined && mode !== 'dry-run') {
      this.#onSynced = new OnSynced({
        ...options.onSynced,
        directory,
        durable: options.engine.acknowledgement === 'durable',
        logger: this.#rooms.hooks,
        onEnd: (failure, result) => this.#model.onSyncedEnded(failure, result),
      });
      this.#model.subscribe(this.#onSynced.see);
    }
    this.#engine.onEvent((event) => this.#handle(event));
    this.#engine.onFailure((error) => {
      this.#result.reject(error);
      this.#engineClosed.resolve();
    });
  }

  /**
   * Resolves with the exit status, when all is closed.
   * @throws LockstepError when the watcher could not start or go on; all is closed then, too.
   */
  async run(): Promise<ExitCode> {
    const { logger } = this.#around;
    const { directory, stateDirectory, folder, mode } = this.#options.engine;
    if (mode !== 'dry-run') await this.#startControl(stateDirectory);
    logger.info(
      { directory, folder, server: this.#options.address.text },
      mode === 'watch' ? 'watching' : 'looking once',
    );
    await this.#startTelemetry();
    const connected = this.#reconnect.run();
    connected.catch((error: unknown) => this.#result.reject(error));
    try {
      return await this.#result.promise;
    } finally {
      this.#isEnding = true;
      await this.#close(connected);
    }
  }

  /** What it is doing now. */
  get snapshot(): WatcherSnapshot {
    return this.#model.snapshot;
  }

  /** As `sync-watcher flush`; waits for a server that is out of reach as long as the signal lets it. */
  flush(signal: AbortSignal | undefined): Promise<FlushResponse> {
    return this.#control.flush(signal);
  }

  /** What happens from now on. @returns what ends the subscription */
  subscribe(listener: (event: WatcherEvent) => void): () => void {
    return this.#model.subscribe(listener);
  }

  /** An order, as from the command line. */
  order(command: { readonly type: 'pause' | 'resume' | 'rescan' }): void {
    this.#engine.post(command);
  }

  /** Other patterns than before, in gitignore syntax: what they name is as if neither side had it. */
  exclude(excludes: readonly string[]): void {
    if (JSON.stringify(excludes) === JSON.stringify(this.#excludes)) return;
    this.#excludes = excludes;
    this.#engine.post({ type: 'exclude', excludes });
  }

  /** Ends cleanly: `run` resolves with this exit status, unless it had one already. */
  stop(exitCode: ExitCode = ExitCode.OK): void {
    this.#result.resolve(exitCode);
  }

  /** Without it the watcher does its work all the same; only `status` and its relatives do not. */
  async #startControl(stateDirectory: string): Promise<void> {
    try {
      await this.#control.start(stateDirectory);
    } catch (error) {
      this.#rooms.status.warn({ err: error }, 'the control socket cannot be made: status and flush will not work');
    }
  }

  /** Nothing of it is loaded where none is configured. */
  async #startTelemetry(): Promise<void> {
    const settings = telemetrySettings(process.env);
    if (settings === undefined || this.#options.engine.mode === 'dry-run') return;
    const { logger } = this.#around;
    try {
      const { WatcherTelemetry } = await import('./status/telemetry.ts');
      const watcher = { model: this.#model, sent: this.#sent };
      this.#telemetry = new WatcherTelemetry({ settings, version: VERSION, logger, ...watcher });
    } catch (error) {
      // Watching is what it is here for.
      logger.warn({ err: error }, 'going on without telemetry');
    }
  }

  async #open(isFirst: boolean, signal: AbortSignal): Promise<OpenedSession> {
    const { address, security, takeOver, localFiles } = this.#options;
    const { directory, stateDirectory, folder, mode, acknowledgement, owner = 'off' } = this.#options.engine;
    const carriesOwners = owner !== 'off';
    const connection = new Connection({ address, security, watched: directory });
    try {
      if (mode === 'dry-run') {
        const session = await Inspection.open({ connection, folder, carriesOwners, engine: this.#engine }, signal);
        return { session, close: () => connection.close() };
      }
      const session = await Session.open(
        {
          connection,
          folder,
          holderId: holderIdOf(stateDirectory),
          holder: holderText(directory),
          takeOver: takeOver && isFirst,
          acknowledgement,
          carriesOwners,
          compress: !address.isLoopback,
          localDirectory: localFiles && address.isLoopback && isLocal(directory) ? directory : undefined,
          content: this.#content,
          engine: this.#engine,
          logger: this.#rooms.push,
          onAnswered: this.#onAnswered,
          bandwidth: this.#around.bandwidth.bucket,
          sent: this.#sent,
        },
        signal,
      );
      const { epoch, headRevision } = session.facts;
      const { serverVersion } = session.server;
      this.#rooms.push.info(
        { server_version: serverVersion, epoch, revision: headRevision },
        `connected to ${address.text}`,
      );
      return { session, close: () => connection.close() };
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Undefined where nobody wants to know: then nothing is measured. */
  get #onAnswered(): ((batch: AnsweredBatch) => void) | undefined {
    const listeners = [this.#telemetry?.onAnswered, this.#meter?.onAnswered].filter((one) => one !== undefined);
    if (listeners.length === 0) return undefined;
    return (batch) => {
      for (const listener of listeners) listener(batch);
    };
  }

  #handle(event: EngineEvent): void {
    switch (event.type) {
      case 'batch':
      case 'compare':
      case 'upload':
      case 'cancel-upload':
      case 'all-sent':
      case 'break-session':
        this.#reconnect.handle(event);
        break;
      case 'changes':
        this.#model.acknowledged(event.changes);
        this.#changes.write(event.changes);
        break;
      case 'would-send':
        for (const line of event.lines) this.#around.writeLine(line);
        break;
      case 'status':
        // What is being taken apart is no news.
        if (this.#isEnding) break;
        this.#model.engineSays(withUploads(event.status, this.#reconnect.reachedBytes));
        this.#consider(event.status);
        break;
      case 'flushed':
        this.#control.flushed(event);
        break;
      case 'log':
        this.#rooms[event.room][event.level](event.fields, event.message);
        break;
      case 'failed':
        this.#result.reject(new LockstepError(isReason(event.reason) ? event.reason : 'INTERNAL', event.message));
        // It has closed what it had; nothing more comes.
        this.#engineClosed.resolve();
        break;
      case 'closed':
        this.#engineClosed.resolve();
        break;
    }
  }

  /** Whether this status is what somebody is waiting for. */
  #consider(status: EngineStatus): void {
    const { mode } = this.#options.engine;
    if (mode === 'watch') {
      if (status.firstSyncDone) this.#becomeReady(status);
      return;
    }
    const isResting = status.phase === 'idle' || status.phase === 'paused' || status.phase === 'stopped';
    if (status.phase === 'stopped' || (isResting && status.heldDeletes > 0)) {
      this.#result.reject(new LockstepError('MASS_DELETE', status.heldDeletes > 0 ? heldText(status) : status.reason));
      return;
    }
    // Nothing becomes durable in a dry run: it is done when nothing is left to say.
    const isPlanned = mode === 'dry-run' && status.phase === 'idle' && status.pendingChanges === 0;
    if (!status.firstSyncDone && !isPlanned) return;
    this.#becomeReady(status);
    for (const { path, message } of status.problems) this.#around.complain(`${displayPath(path)}: ${message}`);
    const unnamed = status.problemCount - status.problems.length;
    if (unnamed > 0) this.#around.complain(`… and ${unnamed} more entries could not be synced`);
    this.#result.resolve(exitCodeWith(status));
  }

  #becomeReady(status: EngineStatus): void {
    if (this.#isReady) return;
    this.#isReady = true;
    const { readyFile } = this.#options;
    const revision = String(
      this.#options.engine.acknowledgement === 'durable' ? status.durableRevision : status.revision,
    );
    try {
      if (readyFile !== undefined) {
        const metrics = this.#around.metrics?.address.text;
        writeReadyFile(readyFile, { pid: process.pid, revision, metrics });
      }
      this.#around.onReady?.(revision);
    } catch (error) {
      this.#result.reject(error);
    }
  }

  /** Answers first, so that the index learns of them; then the index; then everything else. */
  async #close(connected: Promise<void>): Promise<void> {
    const graceMs = this.#options.engine.mode === 'once' ? Number.POSITIVE_INFINITY : HOOK_DEADLINE_MS;
    const hookEnded = this.#onSynced?.close(graceMs);
    await this.#reconnect.stop(ANSWERS_DEADLINE_MS);
    await connected.catch(() => {
      // Already the result.
    });
    await hookEnded;
    const told = this.#telemetry?.close();
    await this.#closeEngine();
    await this.#control.stop();
    await this.#content.close();
    await told;
    this.#meter?.end();
    this.#changes.close();
    this.#around.progress.close();
    // Of a look it stays, as its result; a watcher that has stopped is not ready.
    const { readyFile, engine } = this.#options;
    if (readyFile !== undefined && engine.mode === 'watch') removeReadyFile(readyFile);
  }

  async #closeEngine(): Promise<void> {
    this.#engine.post({ type: 'close' });
    try {
      await withTimeout(() => this.#engineClosed.promise, {
        timeoutMs: CLOSE_DEADLINE_MS,
        onTimeout: () => new LockstepError('INTERNAL', 'the engine did not close in time'),
      });
    } catch (error) {
      // Its index survives a kill as it survives a crash: the next start compares.
      this.#rooms.engine.warn({ err: error }, 'the engine was cut off');
    }
    await this.#engine.ended();
  }
}

function roomsOf(logger: Logger): Rooms {
  const room = (name: keyof Rooms) => logger.child({ room: name });
  return {
    observe: room('observe'),
    engine: room('engine'),
    push: room('push'),
    status: room('status'),
    hooks: room('hooks'),
  };
}

/** The engine counts a content when it is acknowledged; a large one shall be seen moving before that. */
function withUploads(status: EngineStatus, reachedBytes: number): EngineStatus {
  if (reachedBytes === 0) return status;
  return {
    ...status,
    pendingBytes: Math.max(0, status.pendingBytes - reachedBytes),
    sentContentBytes: status.sentContentBytes + reachedBytes,
  };
}

function heldText({ heldDeletes, deleteLimit }: EngineStatus): string {
  const limit = `--max-delete allows (${deleteLimit} ${deleteLimit === 1 ? 'entry' : 'entries'} within a minute)`;
  const held = heldDeletes === 1 ? '1 deletion is' : `${heldDeletes} deletions are`;
  return `${held} more than ${limit}, and nothing was deleted; if they are meant, give a higher limit`;
}

/** For people who find the folder taken; servers limit its length. */
function holderText(directory: string): string {
  const shown = directory.length > MAX_SHOWN_DIRECTORY ? `…${directory.slice(-MAX_SHOWN_DIRECTORY)}` : directory;
  return displayText(`${hostname()}:${shown}:${process.pid}`);
}

/** Of a tree that was looked at once. */
function exitCodeWith({ problemCount, problems }: EngineStatus): ExitCode {
  if (problemCount === 0) return ExitCode.OK;
  return problems.some(({ reason }) => reason === 'NO_SPACE') ? ExitCode.SAFETY : ExitCode.SOME_FAILED;
}

/** A file of another machine is read once, here; and nobody waits for that machine in the thread that answers for this one. */
function isLocal(directory: string): boolean {
  try {
    return fileSystemKind(directory) !== 'network';
  } catch {
    // It is gone for the moment; whoever looks at it says so.
    return false;
  }
}
