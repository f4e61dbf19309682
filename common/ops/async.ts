/**
 * Small helpers for structured asynchrony: every wait can be cancelled, every queue has a bound in bytes,
 * every timer is taken down where it was put up. Knows nothing of the rooms that use it.
 */
import { LockstepError } from './errors.ts';

/** A promise together with the right to settle it. Settling twice does nothing. */
export class Deferred<T> {
  readonly promise: Promise<T>;
  resolve!: (value: T | PromiseLike<T>) => void;
  reject!: (error: unknown) => void;

  constructor() {
    this.promise = new Promise<T>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

/** setTimeout counts in int32; a longer delay would fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * Waits `delayMs` milliseconds (any size).
 * @throws the signal's reason, as soon as it aborts.
 */
export async function sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  let remainingMs = Math.max(0, delayMs);
  do {
    const stepMs = Math.min(remainingMs, MAX_TIMER_MS);
    await sleepOnce(stepMs, signal);
    remainingMs -= stepMs;
  } while (remainingMs > 0);
}

/** As `sleep`, for whoever looks at the signal anyway. False when it cut the wait short. */
export function slept(delayMs: number, signal: AbortSignal): Promise<boolean> {
  return sleep(delayMs, signal).then(
    () => true,
    () => false,
  );
}

function sleepOnce(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/**
 * Waits for a promise, or for the signal. The promise itself is not stopped; its owner still has to end it.
 * @throws the signal's reason, as soon as it aborts.
 */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  const aborted = new Deferred<never>();
  const onAbort = () => aborted.reject(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([aborted.promise, promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

export interface TimeoutOptions {
  /** Milliseconds until the task is given up. */
  readonly timeoutMs: number;
  /** What is thrown then. */
  readonly onTimeout: () => Error;
  /** Gives the task up earlier, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Runs a task that must end in time. Its signal aborts when it must stop; the caller does not wait for it then. */
export async function withTimeout<T>(run: (signal: AbortSignal) => Promise<T>, options: TimeoutOptions): Promise<T> {
  options.signal?.throwIfAborted();
  const expiry = new AbortController();
  const timer = setTimeout(() => expiry.abort(options.onTimeout()), Math.min(options.timeoutMs, MAX_TIMER_MS));
  const signal = options.signal === undefined ? expiry.signal : AbortSignal.any([expiry.signal, options.signal]);
  try {
    return await untilAborted(run(signal), signal);
  } finally {
    clearTimeout(timer);
  }
}

export interface BackoffOptions {
  readonly initialMs: number;
  readonly maxMs: number;
  /** Growth per attempt; default 1.6, as in the gRPC connection backoff. */
  readonly factor?: number | undefined;
  /** Share (0..1) by which a delay is moved up or down at random; default 0.2. */
  readonly jitter?: number | undefined;
}

/** Growing pauses between attempts (the gRPC connection backoff protocol). */
export class Backoff {
  readonly #options: Required<{ [K in keyof BackoffOptions]: number }>;
  readonly #random: () => number;
  #nextMs: number;

  /** `random` gives numbers in [0, 1), as Math.random does. */
  constructor(options: BackoffOptions, random: () => number = Math.random) {
    this.#options = {
      initialMs: options.initialMs,
      maxMs: options.maxMs,
      factor: options.factor ?? 1.6,
      jitter: options.jitter ?? 0.2,
    };
    this.#random = random;
    this.#nextMs = options.initialMs;
  }

  /** The pause before the next attempt, in milliseconds; never more than `maxMs`. */
  next(): number {
    const { maxMs, factor, jitter } = this.#options;
    const baseMs = Math.min(this.#nextMs, maxMs);
    this.#nextMs = Math.min(baseMs * factor, maxMs);
    return Math.min(maxMs, baseMs * (1 + jitter * (2 * this.#random() - 1)));
  }

  /** Back to the first pause, after a success. */
  reset(): void {
    this.#nextMs = this.#options.initialMs;
  }
}

export interface AsyncQueueOptions<T> {
  /** Bound of the queued items' sizes. One item alone may be larger, else it could never pass. */
  readonly maxBytes: number;
  /** What an item weighs against the bound. Default: 1, which makes `maxBytes` a number of items. */
  readonly sizeOf?: ((item: T) => number) | undefined;
}

interface WaitingPush<T> {
  readonly item: T;
  readonly sizeBytes: number;
  readonly admitted: Deferred<void>;
}

/**
 * A first-in first-out queue bounded in bytes, between one or more producers and consumers.
 * `close()` lets the consumers finish what is queued; `close(error)` drops it and fails both sides.
 */
export class AsyncQueue<T> implements AsyncIterable<T> {
  readonly #options: AsyncQueueOptions<T>;
  readonly #items: { readonly item: T; readonly sizeBytes: number }[] = [];
  readonly #pushes: WaitingPush<T>[] = [];
  readonly #takes: Deferred<IteratorResult<T, undefined>>[] = [];
  #queuedBytes = 0;
  #closed: { readonly error: Error | undefined } | undefined;

  constructor(options: AsyncQueueOptions<T>) {
    this.#options = options;
  }

  /** Sizes of what waits inside, not counting items of producers that still wait for room. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  /**
   * Resolves once the item is inside. Producers are admitted in order.
   * @throws the error of `close`, or the signal's reason; then the item is not inside.
   */
  async push(item: T, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (this.tryPush(item)) return;
    if (this.#closed !== undefined) throw this.#closedError();
    const waiting = { item, sizeBytes: this.#sizeOf(item), admitted: new Deferred<void>() };
    this.#pushes.push(waiting);
    const onAbort = () => {
      const index = this.#pushes.indexOf(waiting);
      if (index >= 0) this.#pushes.splice(index, 1);
      waiting.admitted.reject(signal?.reason);
      this.#admit();
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await waiting.admitted.promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Takes the item in if there is room and nobody waits before it; false if not, or if the queue is closed. */
  tryPush(item: T): boolean {
    if (this.#closed !== undefined || this.#pushes.length > 0) return false;
    const sizeBytes = this.#sizeOf(item);
    if (!this.#hasRoom(sizeBytes)) return false;
    this.#insert(item, sizeBytes);
    return true;
  }

  /** No more items come. With an error, what is queued is dropped and both sides get the error. Later calls do nothing. */
  close(error?: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = { error };
    for (const waiting of this.#pushes.splice(0)) waiting.admitted.reject(this.#closedError());
    if (error !== undefined) {
      this.#items.length = 0;
      this.#queuedBytes = 0;
    }
    for (const take of this.#takes.splice(0)) {
      if (error === undefined) take.resolve({ done: true, value: undefined });
      else take.reject(error);
    }
  }

  /** The next item; done once the queue is closed and empty. */
  async next(): Promise<IteratorResult<T, undefined>> {
    const first = this.#items.shift();
    if (first !== undefined) {
      this.#queuedBytes -= first.sizeBytes;
      this.#admit();
      return { done: false, value: first.item };
    }
    if (this.#closed === undefined) {
      const take = new Deferred<IteratorResult<T, undefined>>();
      this.#takes.push(take);
      return take.promise;
    }
    if (this.#closed.error !== undefined) throw this.#closed.error;
    return { done: true, value: undefined };
  }

  /** Leaving the loop early leaves the queue open: another consumer, or a later one, may go on. */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    return { next: () => this.next() };
  }

  #sizeOf(item: T): number {
    return this.#options.sizeOf?.(item) ?? 1;
  }

  #hasRoom(sizeBytes: number): boolean {
    return this.#items.length === 0 || this.#queuedBytes + sizeBytes <= this.#options.maxBytes;
  }

  #insert(item: T, sizeBytes: number): void {
    const take = this.#takes.shift();
    if (take !== undefined) {
      take.resolve({ done: false, value: item });
      return;
    }
    this.#items.push({ item, sizeBytes });
    this.#queuedBytes += sizeBytes;
  }

  #admit(): void {
    for (let first = this.#pushes[0]; first !== undefined && this.#hasRoom(first.sizeBytes); first = this.#pushes[0]) {
      this.#pushes.shift();
      this.#insert(first.item, first.sizeBytes);
      first.admitted.resolve();
    }
  }

  #closedError(): Error {
    return this.#closed?.error ?? new LockstepError('CANCELLED', 'the queue is closed');
  }
}
