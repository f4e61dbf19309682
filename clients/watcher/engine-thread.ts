/**
 * The engine's thread, as the composition holds it.
 */
import { Worker } from 'node:worker_threads';
import { LockstepError } from '../../common/ops/errors.ts';
import type { EngineCommand, EngineEvent, EngineOptions, TakenMessage } from './engine/messages.ts';
import { EngineBacklog } from './engine-backlog.ts';
import type { EnginePort } from './push/engine-port.ts';
import { workerUrl } from './worker-url.ts';

export interface EngineThread extends EnginePort {
  onEvent(listener: (event: EngineEvent) => void): void;
  /** The thread died without having said why. */
  onFailure(listener: (error: LockstepError) => void): void;
  terminate(): Promise<void>;
}

export function startEngine(options: EngineOptions): EngineThread {
  const worker = new Worker(workerUrl('./engine/engine-worker.ts', import.meta.url), {
    workerData: options,
    name: 'engine',
  });
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
    terminate: async () => {
      await worker.terminate();
    },
  };
}
