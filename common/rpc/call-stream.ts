/**
 * Reading, writing and ending streaming calls, done once: async iteration that never destroys the call, writes that
 * wait for room, errors that reach the peer with their details, AbortSignals.
 *
 * grpc-js calls are Node streams, but Node's own iteration over them hangs the peer: leaving a `for await` loop
 * destroys the stream before its status was sent (grpc-node#1839). Therefore nothing here ever
 * calls `destroy`; clients cancel, servers end.
 */
import type { Writable } from 'node:stream';
import type {
  ClientReadableStream,
  ClientWritableStream,
  ServerDuplexStream,
  ServerReadableStream,
  ServerWritableStream,
} from '@grpc/grpc-js';
import { untilAborted } from '../ops/async.ts';
import { superviseCall } from './call-supervision.ts';
import { toStatus } from './errors.ts';

/** A call that messages of type T come from, on either side. */
export type MessageSource<T> = ClientReadableStream<T> | ServerReadableStream<T, unknown>;

/** A call that messages of type T can be written to, on either side. */
export type MessageSink<T> =
  | ClientWritableStream<T>
  | ServerWritableStream<unknown, T>
  | ServerDuplexStream<unknown, T>;

/** A client's call of any streaming shape. */
export interface CancellableCall extends NodeJS.EventEmitter {
  cancel(): void;
}

/**
 * The peer's messages in order, until it ends its side. Leaving the loop early leaves the call open and unread.
 * At most 16 decoded messages wait inside the stream; not asking for the next one holds the peer back.
 * @throws LockstepError: on a client the peer's error, after the messages before it; on a server CANCELLED when the
 *   client went away, or the error the call was ended with.
 */
export function readMessages<T>(call: MessageSource<T>): AsyncGenerator<T, void, undefined> {
  superviseCall(call);
  return generateMessages(call);
}

async function* generateMessages<T>(call: MessageSource<T>): AsyncGenerator<T, void, undefined> {
  const supervision = superviseCall(call);
  let wake = () => {};
  const onProgress = () => wake();
  call.on('readable', onProgress);
  call.on('end', onProgress);
  const stopListening = supervision.onOver(onProgress);
  try {
    for (;;) {
      const failure = supervision.failure;
      if (failure !== undefined && (supervision.isServerSide || failure.reason === 'CANCELLED')) throw failure;
      const message: T | null = call.destroyed ? null : call.read();
      if (message !== null) {
        yield message;
        continue;
      }
      if (failure !== undefined) throw failure;
      if (call.readableEnded) {
        if (supervision.isServerSide) await afterThisTurn();
        if (supervision.failure !== undefined) throw supervision.failure;
        return;
      }
      if (call.destroyed) throw supervision.overError();
      // Nothing can have happened since the checks above: they and this line run in one turn.
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    call.off('readable', onProgress);
    call.off('end', onProgress);
    stopListening();
  }
}

/**
 * When a client goes away, grpc-js shows its server a regular `end` first and `cancelled` some ticks later, within
 * one turn of the event loop; taken for an end, half a transfer would look whole.
 */
function afterThisTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/**
 * Hands a message to the call and resolves when there is room for another; that is: at most 16 messages wait inside.
 * Resolved does not mean received. Without room the message is inside nevertheless, also when this rejects.
 * @throws LockstepError when the call has failed or ended; the signal's reason when it aborts.
 */
export async function writeMessage<T>(call: MessageSink<T>, message: T, signal?: AbortSignal): Promise<void> {
  const supervision = superviseCall(call);
  signal?.throwIfAborted();
  if (supervision.failure !== undefined || supervision.isOver || call.writableEnded || call.destroyed) {
    throw supervision.overError();
  }
  if (!call.write(message)) await untilAborted(supervision.untilRoom(), signal);
}

/**
 * Ends a server's response stream with the status of an error. Does nothing on a call that has ended or was
 * cancelled. Messages written before are still delivered first.
 */
export function endWithError(call: Writable, error: unknown): void {
  superviseCall(call);
  if (call.writableEnded || call.destroyed) return;
  // grpc-js takes the status from this event and ends the stream by itself.
  call.emit('error', Object.assign(new Error('call ended with an error'), toStatus(error)));
}

/**
 * Cancels a client's call when the signal aborts; at once if it already has. The listener goes with the call.
 * @returns a function that takes the listener down earlier.
 */
export function cancelOnAbort(call: CancellableCall, signal: AbortSignal | undefined): () => void {
  if (signal === undefined) return () => {};
  const onAbort = () => call.cancel();
  const dispose = () => {
    signal.removeEventListener('abort', onAbort);
    call.removeListener('status', dispose);
  };
  call.on('status', dispose);
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort, { once: true });
  return dispose;
}
