/**
 * The engine's side of the observer: starts its thread, takes its hints, and has new directories watched before they
 * are scanned.
 */
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { Deferred } from '../../../common/ops/async.ts';
import { describeError, LockstepError } from '../../../common/ops/errors.ts';
import { YOUNG_GENERATION } from '../../../common/ops/garbage-collection.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { workerUrl } from '../../../common/ops/worker-url.ts';
import type { ChangeSourceKind } from './change-source.ts';
import type { RequestedSource } from './choose-source.ts';
import type { HintBatch } from './hints.ts';
import type { ObserverCommand, ObserverMessage, ObserverWorkerData } from './observer-messages.ts';

const COOKIE_DIRECTORY_NAME = 'cookies';

/** A cookie that was not seen by then was lost together with other events. */
const COOKIE_TIMEOUT_MS = 2000;

export interface ObserverOptions {
  readonly directory: string;
  /** The watcher's state directory; exists, and is not in `directory`. */
  readonly stateDirectory: string;
  readonly source: RequestedSource;
  readonly excludes: readonly string[];
  /** Entries of the tree when that is known already. */
  readonly entryCount?: number | undefined;
  /** Between two scans of the poll source. Default 5,000 ms. */
  readonly pollIntervalMs?: number | undefined;
  /** May be called before `start` resolves. */
  readonly onHints: (batch: HintBatch) => void;
  /** Why part of the tree is only polled; undefined when all is well again. */
  readonly onDegraded: (reason: string | undefined) => void;
  /** The observer's thread ended by itself. There will be no more hints; only scans see changes now. */
  readonly onFailed: (error: LockstepError) => void;
}

export interface CookieAnswer {
  /** Events prove nothing now: a scan has to. Otherwise all hints of changes before the call have been handed over. */
  readonly scanNeeded: boolean;
}

export class Observer {
  readonly #options: ObserverOptions;
  readonly #worker: Worker;
  readonly #watched = new Int32Array(new SharedArrayBuffer(4));
  readonly #started = new Deferred<void>();
  readonly #ended = new Deferred<void>();
  readonly #watching = new Map<number, Deferred<void>>();
  readonly #cookies = new Map<number, Deferred<CookieAnswer>>();
  #sequence = 0;
  #lastCookieId = 0;
  #source: ChangeSourceKind = 'poll';
  #sourceReason = '';
  #isStarted = false;
  #hasEnded = false;
  #isClosing = false;

  private constructor(options: ObserverOptions) {
    this.#options = options;
    const data: ObserverWorkerData = {
      directory: options.directory,
      cookieDirectory: join(options.stateDirectory, COOKIE_DIRECTORY_NAME),
      requested: options.source,
      excludes: options.excludes,
      entryCount: options.entryCount,
      pollIntervalMs: options.pollIntervalMs ?? 5000,
      watched: this.#watched.buffer,
    };
    this.#worker = new Worker(workerUrl('./observer-worker.ts', import.meta.url), {
      workerData: data,
      resourceLimits: YOUNG_GENERATION.ofEntries,
    });
    this.#worker.on('message', (message: ObserverMessage) => this.#onMessage(message));
    this.#worker.on('error', (error) => this.#onFailed(describeError(error)));
    this.#worker.on('exit', () => this.#onExit());
  }

  /**
   * Starts the thread; resolves when every directory is watched. Scan only then: the changes in between are hinted at.
   * @throws LockstepError IO when the thread cannot do its work.
   */
  static async start(options: ObserverOptions): Promise<Observer> {
    const observer = new Observer(options);
    try {
      await observer.#started.promise;
    } catch (error) {
      await observer.close();
      throw error;
    }
    return observer;
  }

  get source(): ChangeSourceKind {
    return this.#source;
  }

  /** For people: why this source. */
  get sourceReason(): string {
    return this.#sourceReason;
  }

  /**
   * Announces directories that a scan found, parents first; when this resolves they are watched, so list them then.
   * Also for a directory, with all below it, that was moved or replaced.
   */
  async watchDirectories(dirs: readonly TreePath[]): Promise<void> {
    if (dirs.length === 0 || this.#hasEnded) return;
    const watching = new Deferred<void>();
    this.#watching.set(this.#announce(dirs), watching);
    await watching.promise;
  }

  /**
   * The same, blocking this thread; a round trip takes some 50 microseconds.
   * @returns false when it took longer than `timeoutMs`: the directories may not be watched yet.
   */
  watchDirectoriesSync(dirs: readonly TreePath[], timeoutMs = 1000): boolean {
    if (dirs.length === 0) return true;
    if (this.#hasEnded) return false;
    const sequence = this.#announce(dirs);
    const giveUpAtMs = performance.now() + timeoutMs;
    for (let done = Atomics.load(this.#watched, 0); done < sequence; done = Atomics.load(this.#watched, 0)) {
      const leftMs = giveUpAtMs - performance.now();
      if (leftMs <= 0) return false;
      Atomics.wait(this.#watched, 0, done, leftMs);
    }
    return true;
  }

  /** Directories that are gone, or ignored from now on, with all below. Tell this before what took their place. */
  forgetDirectories(dirs: readonly TreePath[]): void {
    if (dirs.length > 0) this.#send({ type: 'forget', dirs });
  }

  /** Waits until the hints of all changes made before this call have been handed to `onHints` (E124). */
  async cookie(): Promise<CookieAnswer> {
    if (this.#hasEnded) return { scanNeeded: true };
    const id = ++this.#lastCookieId;
    const answer = new Deferred<CookieAnswer>();
    this.#cookies.set(id, answer);
    this.#send({ type: 'cookie', id });
    const timer = setTimeout(() => this.#answerCookie(id, true), COOKIE_TIMEOUT_MS);
    try {
      return await answer.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    this.#send({ type: 'close' });
    await this.#ended.promise;
  }

  #announce(dirs: readonly TreePath[]): number {
    const sequence = ++this.#sequence;
    this.#send({ type: 'watch', sequence, dirs });
    return sequence;
  }

  #send(command: ObserverCommand): void {
    if (!this.#hasEnded) this.#worker.postMessage(command);
  }

  #onMessage(message: ObserverMessage): void {
    switch (message.type) {
      case 'started':
        this.#source = message.source;
        this.#sourceReason = message.reason;
        this.#isStarted = true;
        this.#started.resolve();
        return;
      case 'turn': {
        const { hints, cookies, degraded } = message.turn;
        this.#send({ type: 'turn-taken' });
        if (hints.directories.length > 0 || hints.everything !== undefined) this.#options.onHints(hints);
        if (degraded !== undefined) this.#options.onDegraded(degraded ?? undefined);
        for (const { id, scanNeeded } of cookies) this.#answerCookie(id, scanNeeded);
        return;
      }
      case 'watched':
        this.#watching.get(message.sequence)?.resolve();
        this.#watching.delete(message.sequence);
        return;
      case 'cookie':
        this.#answerCookie(message.id, message.scanNeeded);
        return;
      case 'failed':
        this.#onFailed(message.message);
        return;
      case 'closed':
        return;
    }
  }

  #answerCookie(id: number, scanNeeded: boolean): void {
    this.#cookies.get(id)?.resolve({ scanNeeded });
    this.#cookies.delete(id);
  }

  #onFailed(message: string): void {
    this.#end(new LockstepError('IO', `changes cannot be observed: ${message}`));
    void this.#worker.terminate();
  }

  /** Tells it once: whoever waits for the start, or else the listener. */
  #end(error: LockstepError): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    if (this.#isStarted) this.#options.onFailed(error);
    else this.#started.reject(error);
  }

  #onExit(): void {
    this.#hasEnded = true;
    this.#end(new LockstepError('IO', 'the thread that observes changes has ended'));
    for (const watching of this.#watching.values()) watching.resolve();
    for (const id of [...this.#cookies.keys()]) this.#answerCookie(id, true);
    this.#watching.clear();
    this.#ended.resolve();
  }
}
