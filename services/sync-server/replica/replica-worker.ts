/**
 * A worker of the replica as the main thread sees it: started, called, and missed when it ends unasked.
 */
import { type ResourceLimits, Worker } from 'node:worker_threads';
import { Deferred } from '../../../common/ops/async.ts';
import { describeError, LockstepError } from '../../../common/ops/errors.ts';
import type { ReplicaLog } from './replica-log.ts';
import type { ReplicaSettings } from './replica-options.ts';
import { CallClient, revivedError } from './worker-calls.ts';
import type { WorkerEvent } from './worker-messages.ts';

export interface ReplicaWorkerOptions {
  readonly url: URL;
  readonly resourceLimits: ResourceLimits;
  readonly settings: ReplicaSettings;
  readonly logger: ReplicaLog;
  readonly onEvent: (event: WorkerEvent) => void;
  /** The worker ended without having been asked to. */
  readonly onFailure: (error: LockstepError) => void;
}

export class ReplicaWorker<Api extends { close(): Promise<void> }> {
  readonly api: Api;
  readonly #client: CallClient<Api>;
  readonly #exited = new Deferred<void>();
  #isClosing = false;

  private constructor(worker: Worker, options: ReplicaWorkerOptions) {
    this.#client = new CallClient<Api>(worker);
    this.api = this.#client.api;
    let cause: unknown;
    worker.on('error', (error) => {
      cause = error;
    });
    worker.on('exit', () => {
      const isAsked = this.#isClosing;
      const error = new LockstepError(
        isAsked ? 'DRAINING' : 'INTERNAL',
        isAsked ? 'the folder is closed' : 'a worker of the folder ended',
        { cause },
      );
      if (!isAsked)
        options.logger.error({ error: describeError(error) }, 'a worker of the folder ended; restart the server');
      this.#client.end(error);
      if (!isAsked) options.onFailure(error);
      this.#exited.resolve();
    });
  }

  /** Resolves when the worker has opened its part of the replica. @throws what that threw */
  static async start<Api extends { close(): Promise<void> }>(
    options: ReplicaWorkerOptions,
  ): Promise<ReplicaWorker<Api>> {
    const worker = new Worker(options.url, {
      workerData: options.settings,
      resourceLimits: options.resourceLimits,
    });
    const opened = new Deferred<void>();
    const onFailure = (error: LockstepError): void => {
      opened.reject(error);
      options.onFailure(error);
    };
    worker.on('message', (event: WorkerEvent) => {
      switch (event.type) {
        case 'opened':
          opened.resolve();
          break;
        case 'not-opened':
          started.#isClosing = true;
          opened.reject(revivedError(event.error));
          break;
        case 'log':
          options.logger[event.level](event.fields, event.message);
          break;
        default:
          options.onEvent(event);
      }
    });
    const started = new ReplicaWorker<Api>(worker, { ...options, onFailure });
    await opened.promise;
    return started;
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    await this.api.close();
    await this.#exited.promise;
  }
}
