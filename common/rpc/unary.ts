/**
 * Unary calls as promises, always with a deadline: a peer that accepts TCP and then keeps silent would otherwise hold
 * the caller for ever (grpc-node#2785).
 */
import { type CallOptions, type Client, type ClientUnaryCall, Metadata, type ServiceError } from '@grpc/grpc-js';
import { cancelOnAbort } from './call-stream.ts';
import { fromStatus } from './errors.ts';

/** How a generated client declares a unary method (its longest overload). */
export type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

export interface UnaryOptions {
  /** Milliseconds that the call may take, connecting included. Default 30,000; more than 2^31-1 is cut to that. */
  readonly deadlineMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly metadata?: Metadata | undefined;
}

const DEFAULT_DEADLINE_MS = 30_000;
/** Servers of this library read `grpc-timeout` as an int32. */
const MAX_DEADLINE_MS = 2 ** 31 - 1;

/**
 * `await unary(client, client.getServerInfo, request, { deadlineMs: 5_000 })`.
 * @throws LockstepError; the signal's reason when it aborted.
 */
export function unary<Request, Response>(
  client: Client,
  method: UnaryMethod<Request, Response>,
  request: Request,
  options: UnaryOptions = {},
): Promise<Response> {
  const { signal, metadata = new Metadata(), deadlineMs = DEFAULT_DEADLINE_MS } = options;
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const deadline = new Date(Date.now() + Math.min(deadlineMs, MAX_DEADLINE_MS));
    const call = method.call(client, request, metadata, { deadline }, (error, response) => {
      if (error === null) resolve(response);
      else reject(signal?.aborted ? signal.reason : fromStatus(error));
    });
    cancelOnAbort(call, signal);
  });
}
