/**
 * A worker of the replica that the first call starts: a thread costs 70 ms of processor time and memory, and many a folder
 * never needs it.
 */
import { LockstepError } from '../../../common/ops/errors.ts';
import type { ReplicaWorker } from './replica-worker.ts';
import { methodOf } from './worker-calls.ts';

type Started<Api extends { close(): Promise<void> }> = Pick<ReplicaWorker<Api>, 'api' | 'close'>;

export class WorkerOnDemand<Api extends { close(): Promise<void> }> {
  readonly #start: () => Promise<Started<Api>>;
  #worker: Promise<Started<Api>> | undefined;
  #isClosed = false;

  /** @param start after it has failed, the next call tries it again */
  constructor(start: () => Promise<Started<Api>>) {
    this.#start = start;
  }

  /** What the worker offers, to be called as if it were here. Calls reach it in their order. */
  readonly api: Api = new Proxy({} as object, {
    get:
      (_, method) =>
      async (...args: readonly unknown[]) =>
        methodOf((await this.#started()).api, String(method))(...(args as never[])),
  }) as Api;

  /** Resolves when it has ended, also where it had never begun. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const worker = await this.#worker?.catch(() => undefined);
    await worker?.close();
  }

  #started(): Promise<Started<Api>> {
    if (this.#worker !== undefined) return this.#worker;
    if (this.#isClosed) return Promise.reject(new LockstepError('DRAINING', 'the folder is closed'));
    const starting = this.#start();
    this.#worker = starting;
    starting.catch(() => {
      this.#worker = undefined;
    });
    return starting;
  }
}
