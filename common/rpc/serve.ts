/**
 * Server handlers as async functions: what they throw becomes the call's status, with its details; what they return
 * ends it. Nothing a handler does can leave a call hanging or a rejection unhandled.
 */
import type { Writable } from 'node:stream';
import type { handleUnaryCall, ServerUnaryCall } from '@grpc/grpc-js';
import { endWithError } from './call-stream.ts';
import { superviseCall } from './call-supervision.ts';
import { toLockstepError, toStatus } from './errors.ts';

/** Hears of every failed call, for the log; not of those that the client gave up. */
export type CallErrorListener = (error: unknown, path: string) => void;

/** The handler of a unary method. The signal aborts when the client gives up. */
export function unaryHandler<Request, Response>(
  run: (call: ServerUnaryCall<Request, Response>, signal: AbortSignal) => Promise<Response>,
  onError?: CallErrorListener,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    const abandoned = new AbortController();
    call.on('cancelled', () => abandoned.abort());
    Promise.resolve()
      .then(() => run(call, abandoned.signal))
      .then(
        (response) => callback(null, response),
        (error: unknown) => {
          if (!abandoned.signal.aborted) onError?.(error, call.getPath());
          callback(toStatus(error));
        },
      );
  };
}

/** A server's call with a response stream. */
export type ResponseStreamCall = Writable & { getPath(): string };

/**
 * The handler of a server-streaming or bidirectional method. The signal aborts when the client gives up and when the
 * call is ended from outside (`TrackedCalls.endAll`), with a LockstepError as its reason.
 */
export function streamHandler<Call extends ResponseStreamCall>(
  run: (call: Call, signal: AbortSignal) => Promise<void>,
  onError?: CallErrorListener,
): (call: Call) => void {
  return (call) => {
    const supervision = superviseCall(call);
    const over = new AbortController();
    const stopListening = supervision.onOver(() => over.abort(supervision.overError()));
    Promise.resolve()
      .then(() => run(call, over.signal))
      .then(
        () => {
          if (!call.writableEnded && !call.destroyed) call.end();
        },
        (error: unknown) => {
          if (!over.signal.aborted && toLockstepError(error).reason !== 'CANCELLED') onError?.(error, call.getPath());
          endWithError(call, error);
        },
      )
      .finally(stopListening);
  };
}
