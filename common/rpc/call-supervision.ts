/**
 * What is known about a streaming call while it lives: has it failed, has it ended, is there room to write?
 * A client call must be supervised in the turn in which it was made: its first error may come in the next one, and
 * an `error` event that nobody listens to ends the process.
 */
import type { Readable, Writable } from 'node:stream';
import type { ServiceError } from '@grpc/grpc-js';
import { Deferred } from '../ops/async.ts';
import { LockstepError } from '../ops/errors.ts';
import { isServiceError, toLockstepError } from './errors.ts';

/** A streaming call of grpc-js, of either side and any shape. */
export type StreamingCall = Readable | Writable;

export class CallSupervision {
  readonly isServerSide: boolean;
  #failure: LockstepError | undefined;
  #isOver = false;
  #room: Deferred<void> | undefined;
  readonly #wakers = new Set<() => void>();

  constructor(call: StreamingCall) {
    this.isServerSide = 'sendMetadata' in call;
    call.on('error', (error: Error) => this.#fail(isServiceError(error) ? error : toLockstepError(error)));
    call.on('drain', () => this.#settleRoom());
    call.on('close', () => this.#end());
    if (this.isServerSide) {
      call.on('cancelled', () => this.#fail(new LockstepError('CANCELLED', 'the peer gave the call up')));
      call.on('finish', () => this.#end());
    } else {
      call.on('status', () => this.#end());
    }
  }

  /** Why the call failed, undefined while it has not. */
  get failure(): LockstepError | undefined {
    return this.#failure;
  }

  /** True once nothing can be sent or received any more, messages that already arrived excepted. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Calls back at every failure or end, until the returned function is called. */
  onOver(callback: () => void): () => void {
    this.#wakers.add(callback);
    return () => this.#wakers.delete(callback);
  }

  /** Resolves at the next `drain`, rejects when the call ends before. All waiting writers share it. */
  untilRoom(): Promise<void> {
    if (this.#isOver || this.#failure !== undefined) return Promise.reject(this.overError());
    this.#room ??= new Deferred<void>();
    return this.#room.promise;
  }

  /** What a writer gets on a call that is over. */
  overError(): LockstepError {
    return this.#failure ?? new LockstepError('CANCELLED', 'the peer has ended the call');
  }

  #fail(error: LockstepError | ServiceError): void {
    this.#failure ??= toLockstepError(error);
    this.#notify();
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#notify();
  }

  #notify(): void {
    const room = this.#room;
    this.#room = undefined;
    room?.reject(this.overError());
    for (const waker of this.#wakers) waker();
  }

  #settleRoom(): void {
    const room = this.#room;
    this.#room = undefined;
    room?.resolve();
  }
}

const supervisions = new WeakMap<StreamingCall, CallSupervision>();

/** The one supervision of a call; made at the first request. */
export function superviseCall(call: StreamingCall): CallSupervision {
  let supervision = supervisions.get(call);
  if (supervision === undefined) {
    supervision = new CallSupervision(call);
    supervisions.set(call, supervision);
  }
  return supervision;
}
