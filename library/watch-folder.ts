/**
 * A watcher inside another program. Composition only: options go the way of the command line's, so that they are checked, and named
 * in messages, as there.
 */
import { resolveOptions } from '../common/ops/configuration.ts';
import { Deferred } from '../common/ops/async.ts';
import { LockstepError } from '../common/ops/errors.ts';
import { toWirePath } from '../common/tree/tree-path.ts';
import { bandwidthSettings } from '../clients/watcher/commands/bandwidth-schedule.ts';
import { watchOptions } from '../clients/watcher/commands/options.ts';
import { planWatch } from '../clients/watcher/commands/watch-plan.ts';
import type { AcknowledgedChange } from '../clients/watcher/engine/messages.ts';
import { unpackChanges } from '../clients/watcher/engine/packed-changes.ts';
import { EngineThreads } from '../clients/watcher/engine-thread.ts';
import { Bandwidth } from '../clients/watcher/push/bandwidth.ts';
import { Progress } from '../clients/watcher/status/progress.ts';
import { workOf } from '../clients/watcher/status/progress-text.ts';
import { openStateDirectory, prepareWatchedDirectory } from '../clients/watcher/status/state-directory.ts';
import type { WatcherEvent } from '../clients/watcher/status/watcher-model.ts';
import { VERSION } from '../clients/watcher/version.ts';
import { Watcher } from '../clients/watcher/watcher.ts';
import { loggerOf, type LogOptions } from './log-options.ts';

export interface WatchFolderOptions extends LogOptions {
  /** The directory to keep the server in step with. It must exist, except with `create`. */
  readonly directory: string;
  readonly create?: boolean | undefined;
  /** HOST:PORT, :PORT or unix:PATH; or an invitation in `join`. */
  readonly server?: string | undefined;
  /** A line of `sync-server invite`: server, folder, token and fingerprint at once. */
  readonly join?: string | undefined;
  /** The replica's name on the server. Default: "default". */
  readonly folder?: string | undefined;
  readonly token?: string | undefined;
  /** PEM of the authority to trust; means TLS. */
  readonly ca?: string | undefined;
  /** SHA-256 of the server's key, the only one that is trusted then; means TLS. */
  readonly fingerprint?: string | undefined;
  readonly clientCert?: string | undefined;
  readonly clientKey?: string | undefined;
  /** No TLS, also to another machine. */
  readonly insecure?: boolean | undefined;
  /** The watcher's index, outside of the directory. Default: in the user's state directory. */
  readonly state?: string | undefined;
  /** What to leave out, in gitignore syntax. */
  readonly exclude?: readonly string[] | undefined;
  readonly watcher?: 'auto' | 'chokidar' | 'native' | 'poll' | undefined;
  /** Of the full rescan behind the watcher. Default: 10 minutes; 5 s with poll. */
  readonly scanIntervalMs?: number | undefined;
  /** Pause before deleting more than this at once, as "1000" or "50%". */
  readonly maxDelete?: string | undefined;
  /** Keep the names of one file as names of one file. */
  readonly hardLinks?: boolean | undefined;
  /** As "2MB/s". */
  readonly bandwidthLimit?: string | undefined;
  /** Carry owners, which the server has to be told to keep. Default: "off". */
  readonly owner?: 'off' | 'name' | 'number' | undefined;
  /** Take the folder from another watcher that holds it. */
  readonly takeOver?: boolean | undefined;
}

export interface SyncProblem {
  /** As on the wire: UTF-8, with %XX for bytes that are not. */
  readonly path: string;
  readonly message: string;
}

/** What is being done, how far, and how fast. */
export interface WatchProgress {
  /** Undefined when there is nothing to do. */
  readonly activity: 'connecting' | 'comparing' | 'scanning' | 'sending' | 'making-durable' | undefined;
  /** All that was there at the start has arrived, durably. */
  readonly firstSyncDone: boolean;
  /** Entries found since the start, changed or not. */
  readonly scannedEntries: number;
  /** Acknowledged since the start. */
  readonly sentChanges: number;
  /** Of contents, arrived since the start. */
  readonly sentBytes: number;
  /** Smoothed over some seconds; 0 when nothing moves. */
  readonly changesPerSecond: number;
  readonly bytesPerSecond: number;
  /** Until nothing is pending, at that pace; undefined while that cannot be known. */
  readonly leftSeconds: number | undefined;
}

export interface WatchStatus {
  readonly state: 'starting' | 'in-step' | 'syncing' | 'offline' | 'paused' | 'stopped';
  /** In step, and nothing is left out. */
  readonly inStep: boolean;
  /** Why it is what it is, in one sentence, or empty. */
  readonly reason: string;
  readonly revision: bigint;
  readonly durableRevision: bigint;
  readonly entries: number;
  readonly pendingChanges: number;
  readonly pendingBytes: number;
  /** Deletions that wait for `resume`. */
  readonly heldDeletes: number;
  readonly since: Date;
  readonly lastChange: Date | undefined;
  /** From the moment the last change was seen to its acknowledgement; undefined for none, and for what the first sync has found. */
  readonly latencyMs: number | undefined;
  readonly progress: WatchProgress;
  /** At most 100 of them. */
  readonly problems: readonly SyncProblem[];
  readonly problemCount: number;
}

export interface SyncedChange {
  readonly operation: 'put' | 'link' | 'mkdir' | 'symlink' | 'metadata' | 'move' | 'delete';
  /** As on the wire. */
  readonly path: string;
  /** Where a moved entry was; of a hard link, another name of the file. */
  readonly from: string | undefined;
  readonly revision: bigint;
  readonly sizeBytes: number;
}

export interface WatchEvents {
  /** The state is another one. */
  readonly status: WatchStatus;
  /** The server has them. */
  readonly changes: readonly SyncedChange[];
  /** An entry that cannot be synced. */
  readonly problem: SyncProblem;
}

export interface FlushOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface FolderWatch extends AsyncDisposable {
  status(): WatchStatus;
  /**
   * Resolves when all that was on disk at the call is durable on the server, with the revision that covers it. Waits while the server is
   * out of reach, until the signal aborts.
   * @throws LockstepError INCOMPLETE when entries could not be synced, MASS_DELETE when the watcher has stopped for safety; why it
   *   ended; the signal's reason.
   */
  flush(options?: FlushOptions): Promise<bigint>;
  /** Listeners are called one after the other, and must not throw. @returns what ends the subscription */
  on<E extends keyof WatchEvents>(event: E, listener: (value: WatchEvents[E]) => void): () => void;
  /** Stop sending; watching goes on. */
  pause(): void;
  /** Go on, and confirm deletions that were held back. */
  resume(): void;
  /** Look at the whole tree again. */
  rescan(): void;
  /** Resolves after `close`; rejects with a LockstepError when the watcher cannot go on: refused, root missing … */
  readonly ended: Promise<void>;
  /** Sends what is under way, gives the folder back, lets go of everything. Calling it again does nothing. */
  close(): Promise<void>;
}

/**
 * Resolves when it watches; `flush` tells when the first sync is done. A server that is out of reach is tried again for ever.
 * @throws LockstepError USAGE for wrong options, ROOT_MISSING, LOCKED when the directory is being watched already
 */
export async function watchFolder(options: WatchFolderOptions): Promise<FolderWatch> {
  const { scanIntervalMs, directory, token, log: _, logLevel: __, ...others } = options;
  const flags = { ...others, dir: directory, scanInterval: scanIntervalMs && `${scanIntervalMs}ms` };
  const environment = token === undefined ? {} : { LOCKSTEP_TOKEN: token };
  const resolved = resolveOptions(watchOptions, { flags, environment });
  const plan = planWatch(resolved, { environment: process.env, version: VERSION });
  const real = prepareWatchedDirectory(plan.dir, plan.stateDirectory, plan.create);
  const lock = openStateDirectory(plan.stateDirectory, real);
  const logger = loggerOf('watcher', options);
  const engines = new EngineThreads();
  const noTerminal = { columns: 0, write: () => {} };
  const watcher = new Watcher(plan.optionsFor(real), {
    logger,
    progress: new Progress('off', { logger, fields: {}, writeLine: () => {}, terminal: noTerminal }),
    startEngine: (engineOptions) => engines.start(engineOptions),
    bandwidth: new Bandwidth(bandwidthSettings(resolved.values)),
    writeLine: () => {},
    complain: () => {},
  });
  const ended = untilOver(watcher, engines, lock);
  // Who does not look hears of it from `flush`.
  ended.catch(() => undefined);
  return new RunningWatch(watcher, ended);
}

async function untilOver(watcher: Watcher, engines: EngineThreads, lock: Disposable): Promise<void> {
  try {
    await watcher.run();
  } finally {
    await engines[Symbol.asyncDispose]();
    lock[Symbol.dispose]();
  }
}

class RunningWatch implements FolderWatch {
  readonly ended: Promise<void>;
  readonly #watcher: Watcher;
  readonly #over = new Deferred<never>();

  constructor(watcher: Watcher, ended: Promise<void>) {
    this.#watcher = watcher;
    this.ended = ended;
    const closed = () => this.#over.reject(new LockstepError('CANCELLED', 'the watch is closed'));
    ended.then(closed, (error: unknown) => this.#over.reject(error));
    this.#over.promise.catch(() => undefined);
  }

  status(): WatchStatus {
    const { snapshot } = this.#watcher;
    const { phase, reason, sinceMs, lastChangeMs, latencyMs, engine } = snapshot;
    const { entries: _, pendingChanges: __, bytes: ___, ...progress } = workOf(snapshot);
    return {
      state: phase,
      inStep: phase === 'in-step' && engine.problemCount === 0,
      reason,
      revision: engine.revision,
      durableRevision: engine.durableRevision,
      entries: engine.entries,
      pendingChanges: engine.pendingChanges,
      pendingBytes: engine.pendingBytes,
      heldDeletes: engine.heldDeletes,
      since: new Date(sinceMs),
      lastChange: lastChangeMs === 0 ? undefined : new Date(lastChangeMs),
      latencyMs: latencyMs === 0 ? undefined : latencyMs,
      progress,
      problems: engine.problems.map(({ path, message }) => ({ path: toWirePath(path), message })),
      problemCount: engine.problemCount,
    };
  }

  async flush({ signal }: FlushOptions = {}): Promise<bigint> {
    signal?.throwIfAborted();
    const flushed = this.#watcher.flush(signal);
    // What ended the watcher says more than that it is stopping.
    flushed.catch(() => undefined);
    try {
      const { revision } = await Promise.race([this.#over.promise, flushed]);
      await Promise.race([this.#over.promise, this.#tells(revision)]);
      return revision;
    } catch (error) {
      if (!(error instanceof LockstepError) || error.reason !== 'DRAINING') throw error;
      return await this.#over.promise;
    }
  }

  /** The status comes a moment after the answer: whoever asks for it next shall not be told less than he was. */
  async #tells(revision: bigint): Promise<void> {
    const told = new Deferred<void>();
    const look = () => {
      if (this.#watcher.snapshot.engine.durableRevision >= revision) told.resolve();
    };
    const stop = this.#watcher.subscribe(look);
    look();
    try {
      await told.promise;
    } finally {
      stop();
    }
  }

  on<E extends keyof WatchEvents>(event: E, listener: (value: WatchEvents[E]) => void): () => void {
    const listeners: Partial<{ readonly [K in keyof WatchEvents]: (value: WatchEvents[K]) => void }> = {
      [event]: listener,
    };
    return this.#watcher.subscribe((happened) => this.#tell(listeners, happened));
  }

  pause(): void {
    this.#watcher.order({ type: 'pause' });
  }

  resume(): void {
    this.#watcher.order({ type: 'resume' });
  }

  rescan(): void {
    this.#watcher.order({ type: 'rescan' });
  }

  async close(): Promise<void> {
    this.#watcher.stop();
    // Why it has ended before is what `ended` tells.
    await this.ended.catch(() => undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #tell(
    listeners: Partial<{ readonly [K in keyof WatchEvents]: (value: WatchEvents[K]) => void }>,
    event: WatcherEvent,
  ): void {
    switch (event.type) {
      case 'state':
        listeners.status?.(this.status());
        break;
      case 'progress':
        break;
      case 'changes':
        listeners.changes?.([...unpackChanges(event.changes)].map(syncedChange));
        break;
      case 'problem':
        listeners.problem?.({ path: toWirePath(event.path), message: event.message });
        break;
    }
  }
}

function syncedChange(change: AcknowledgedChange): SyncedChange {
  const { operation, path, from, revision, contentBytes } = change;
  return {
    operation,
    path: toWirePath(path),
    from: from === undefined ? undefined : toWirePath(from),
    revision,
    sizeBytes: contentBytes,
  };
}
