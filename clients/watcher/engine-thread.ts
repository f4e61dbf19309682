/**
 * The engine's thread, as the composition holds it. Loading what an engine needs takes a third of the start of the whole
 * program: a thread is made before anyone knows what it will watch, and waits.
 */
import { Worker } from 'node:worker_threads';
import { LockstepError } from '../../common/ops/errors.ts';
import { YOUNG_GENERATION } from '../../common/ops/garbage-collection.ts';
import { threadEnded } from '../../common/ops/thread-end.ts';
import type { BeginEngine, EngineCommand, EngineEvent, EngineOptions, TakenMessage } from './engine/messages.ts';
import { EngineBacklog } from './engine-backlog.ts';
import type { EnginePort } from './push/engine-port.ts';
import { workerUrl } from '../../common/ops/worker-url.ts';

export interface EngineThread extends EnginePort {
  onEvent(listener: (event: EngineEvent) => void): void;
  /** The thread died without having said why. */
  onFailure(listener: (error: LockstepError) => void): void;
  /** Resolves when the thread has ended, after the command `close` or a failure. */
  ended(): Promise<void>;
}

export class EngineThreads {
  #waiting: Worker | undefined = newThread();

  /** The thread that waits; for a second engine another one. */
  start(options: EngineOptions): EngineThread {
    const worker = this.#waiting ?? newThread();
    this.#waiting = undefined;
    worker.ref();
    const begin: BeginEngine = { type: 'begin', options };
    worker.postMessage(begin);
    return engineThread(worker);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) return;
    const close: EngineCommand = { type: 'close' };
    waiting.postMessage(close);
    await threadEnded(waiting);
  }
}

function newThread(): Worker {
  const worker = new Worker(workerUrl('./engine/engine-worker.ts', import.meta.url), {
    name: 'engine',
    resourceLimits: YOUNG_GENERATION.ofEntries,
  });
  // While it only waits it is no reason to go on.
  worker.unref();
  return worker;
}

function engineThread(worker: Worker): EngineThread {
  const backlog = new EngineBacklog();
  worker.on('exit', () => backlog.close());
  return {
    post: (command: EngineCommand, transfer = []) => {
      backlog.posted(command);
      worker.postMessage(command, transfer);
    },
    untilRoom: () => backlog.untilRoom(),
    onEvent: (listener) => {
      worker.on('message', (message: EngineEvent | TakenMessage) => {
        if (message.type === 'taken') backlog.taken();
        else listener(message);
      });
    },
    onFailure: (listener) => {
      worker.on('error', (cause) => listener(new LockstepError('INTERNAL', 'the engine thread failed', { cause })));
    },
    ended: () => threadEnded(worker),
  };
}
