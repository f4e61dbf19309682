/**
 * Calls between threads: an interface of asynchronous methods, spoken over a message port. Knows no replica.
 * Arguments and results are structured-clone data; large buffers are handed over, not copied.
 */
import type { MessagePort, Worker } from 'node:worker_threads';
import { Deferred } from '../../../common/ops/async.ts';
import { describeError, isReason, LockstepError } from '../../../common/ops/errors.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';

/** To the worker. */
interface Call {
  readonly type: 'call';
  readonly id: number;
  readonly method: string;
  readonly args: readonly unknown[];
}

/** From the worker. */
type Reply =
  | { readonly type: 'reply'; readonly id: number; readonly value: unknown }
  | { readonly type: 'failed'; readonly id: number; readonly error: CarriedError };

/** An error's facts; classes do not survive a clone. */
export interface CarriedError {
  readonly reason: string;
  readonly message: string;
  readonly path: string | undefined;
  readonly details: Readonly<Record<string, string>> | undefined;
}

type Method = (...args: never[]) => Promise<unknown>;

/** Answers the calls that come in; `call` looks a method up. */
export function serveCalls(
  port: MessagePort,
  call: (method: string, args: readonly unknown[]) => Promise<unknown>,
): void {
  port.on('message', (message: Call) => {
    if (message.type !== 'call') return;
    const { id } = message;
    // `async` makes errors thrown at once rejections too.
    (async () => call(message.method, reviveBuffers(message.args) as readonly unknown[]))().then(
      (value) => post(port, { type: 'reply', id, value }),
      (error: unknown) => post(port, { type: 'failed', id, error: carriedError(error) }),
    );
  });
}

/** The other side. Ends with every call rejected when the worker ends. */
export class CallClient<Api> {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Deferred<unknown>>();
  #nextId = 1;
  #ended: LockstepError | undefined;

  constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (message: Reply | { readonly type: string }) => this.#onMessage(message));
  }

  /** What the worker offers, to be called as if it were here. */
  readonly api: Api = new Proxy({} as object, {
    get:
      (_, method) =>
      (...args: readonly unknown[]) =>
        this.#call(String(method), args),
  }) as Api;

  /** The worker is gone. */
  end(error: LockstepError): void {
    this.#ended ??= error;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }

  #call(method: string, args: readonly unknown[]): Promise<unknown> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const id = this.#nextId++;
    const pending = new Deferred<unknown>();
    this.#pending.set(id, pending);
    const call: Call = { type: 'call', id, method, args };
    post(this.#worker, call);
    return pending.promise;
  }

  #onMessage(message: Reply | { readonly type: string }): void {
    if (!('id' in message)) return;
    const pending = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    if (message.type === 'reply') pending?.resolve(reviveBuffers(message.value));
    else pending?.reject(revivedError(message.error));
  }
}

/** For one method by name, as `serveCalls` needs it. @throws INTERNAL for a name that is none */
export function methodOf(target: object, name: string): Method {
  const method: unknown = Reflect.get(target, name);
  if (typeof method !== 'function') throw new LockstepError('INTERNAL', `a worker was asked for "${name}"`);
  return (...args) => method.apply(target, args) as Promise<unknown>;
}

export function carriedError(error: unknown): CarriedError {
  if (!(error instanceof LockstepError))
    return { reason: 'INTERNAL', message: describeError(error), path: undefined, details: undefined };
  return { reason: error.reason, message: describeError(error), path: error.path, details: error.details };
}

export function revivedError({ reason, message, path, details }: CarriedError): LockstepError {
  return new LockstepError(isReason(reason) ? reason : 'INTERNAL', message, {
    path: path as TreePath | undefined,
    details,
  });
}

/** Above this a buffer is handed over with its memory; below, copying is cheaper and keeps pools out of it. */
const MIN_TRANSFER_BYTES = 64 * 1024;

function post(port: MessagePort | Worker, message: Call | Reply): void {
  const transfers: ArrayBuffer[] = [];
  port.postMessage(withOwnBuffers(message, transfers), transfers);
}

/**
 * Buffers in the form in which they may be sent: cloning a view would clone all of the memory that it is a view of, which
 * for a small one is a pool of other people's data.
 */
function withOwnBuffers(value: unknown, transfers: ArrayBuffer[]): unknown {
  if (value instanceof Uint8Array) {
    const { buffer, byteLength } = value;
    const isMost =
      byteLength >= MIN_TRANSFER_BYTES && byteLength * 2 >= buffer.byteLength && buffer instanceof ArrayBuffer;
    const own = isMost ? value : new Uint8Array(value);
    if (own.byteLength >= MIN_TRANSFER_BYTES && own.buffer instanceof ArrayBuffer) transfers.push(own.buffer);
    return own;
  }
  if (Array.isArray(value)) return value.map((item) => withOwnBuffers(item, transfers));
  if (typeof value !== 'object' || value === null) return value;
  const copy: Record<string, unknown> = {};
  for (const [key, item] of Object.entries(value)) copy[key] = withOwnBuffers(item, transfers);
  return copy;
}

/** Buffers arrive as plain byte arrays. */
function reviveBuffers(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (Array.isArray(value)) return value.map(reviveBuffers);
  if (typeof value !== 'object' || value === null) return value;
  for (const [key, item] of Object.entries(value)) {
    if (typeof item === 'object') Reflect.set(value, key, reviveBuffers(item));
  }
  return value;
}
