/**
 * The observer's thread: a change source and nothing else, so that its event loop always has time to empty the
 * kernel's queue. Talks to the engine through observer-messages.ts only.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { describeError, LockstepError } from '../../../common/ops/errors.ts';
import { saveCompiledCode } from '../../../common/ops/compile-cache.ts';
import { giveBackMemoryWhenIdle } from '../../../common/ops/garbage-collection.ts';
import type { ChangeSource } from './change-source.ts';
import { makeSource } from './choose-source.ts';
import { CookieDirectory } from './cookie-directory.ts';
import { eventQueueLength } from './inotify-limits.ts';
import type { ObserverCommand, ObserverMessage, ObserverWorkerData } from './observer-messages.ts';
import { TurnGatherer } from './turn-gatherer.ts';

class ObserverWorker {
  readonly #post: (message: ObserverMessage) => void;
  readonly #root: SafeRoot;
  readonly #gatherer: TurnGatherer;
  readonly #cookies: CookieDirectory;
  readonly #source: ChangeSource;
  readonly #reason: string;
  readonly #watched: Int32Array;

  constructor(data: ObserverWorkerData, post: (message: ObserverMessage) => void) {
    this.#post = post;
    this.#watched = new Int32Array(data.watched);
    this.#root = SafeRoot.open(data.directory);
    this.#gatherer = new TurnGatherer((turn) => post({ type: 'turn', turn }), eventQueueLength());
    this.#cookies = new CookieDirectory(data.cookieDirectory, (id) => this.#onCookie(id));
    const { source, choice } = makeSource({ ...data, root: this.#root, events: this.#gatherer });
    this.#source = source;
    this.#reason = choice.reason;
  }

  async start(): Promise<void> {
    await this.#source.start();
    this.#post({ type: 'started', source: this.#source.kind, reason: this.#reason });
  }

  async handle(command: ObserverCommand): Promise<void> {
    switch (command.type) {
      case 'watch':
        this.#source.watchDirectories(command.dirs);
        Atomics.store(this.#watched, 0, command.sequence);
        Atomics.notify(this.#watched, 0);
        this.#post({ type: 'watched', sequence: command.sequence });
        return;
      case 'forget':
        this.#source.forgetDirectories(command.dirs);
        return;
      case 'cookie':
        if (this.#needsScan() || !this.#cookies.drop(command.id)) this.#answerCookie(command.id, true);
        return;
      case 'turn-taken':
        this.#gatherer.onTurnTaken();
        return;
      case 'close':
        await this.#source.close();
        this.#cookies.close();
        this.#gatherer.close();
        this.#root.close();
        this.#post({ type: 'closed' });
        return;
    }
  }

  #onCookie(id: number): void {
    this.#gatherer.onCookie(id);
  }

  /** Whether events prove nothing at the moment. */
  #needsScan(): boolean {
    return this.#source.blindness !== undefined || this.#gatherer.isOverflowPending;
  }

  #answerCookie(id: number, scanNeeded: boolean): void {
    this.#post({ type: 'cookie', id, scanNeeded });
  }
}

const port = parentPort;
if (port === null) throw new LockstepError('INTERNAL', 'the observer runs in a worker thread only');
saveCompiledCode();
giveBackMemoryWhenIdle();
const post = (message: ObserverMessage): void => port.postMessage(message);
const fail = (error: unknown): void => post({ type: 'failed', message: describeError(error) });

try {
  const worker = new ObserverWorker(workerData as ObserverWorkerData, post);
  port.on('message', (command: ObserverCommand) => {
    worker.handle(command).then(() => {
      if (command.type === 'close') port.close();
    }, fail);
  });
  worker.start().catch(fail);
} catch (error) {
  fail(error);
}
