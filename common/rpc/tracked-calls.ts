/**
 * The open response streams of a server. A server can only shut down when none is left, and
 * nobody but us can end them with a status that tells clients to come back.
 */
import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import type { LockstepError } from '../ops/errors.ts';
import { endWithError } from './call-stream.ts';
import { superviseCall } from './call-supervision.ts';
import type { ResponseStreamCall } from './serve.ts';

interface PeerOfCall {
  getPeer(): string;
}

export class TrackedCalls {
  readonly #open = new Set<ResponseStreamCall>();
  #closing: LockstepError | undefined;

  /** How many streams are open. */
  get size(): number {
    return this.#open.size;
  }

  /** Keeps the call until it is over. False when it was ended at once, because all calls are being ended. */
  track(call: ResponseStreamCall): boolean {
    if (this.#closing !== undefined) {
      endWithError(call, this.#closing);
      return false;
    }
    this.#open.add(call);
    const supervision = superviseCall(call);
    supervision.onOver(() => {
      if (supervision.isOver || call.destroyed) this.#open.delete(call);
    });
    return true;
  }

  /**
   * The same service, with each of its response streams tracked. For `server.addService`. `onCall` hears of the peer of each
   * call of any shape, when its handler begins.
   */
  tracking<Implementation extends UntypedServiceImplementation>(
    service: ServiceDefinition,
    implementation: Implementation,
    onCall?: (peer: string) => void,
  ): Implementation {
    const tracked: UntypedServiceImplementation = { ...implementation };
    for (const [name, method] of Object.entries(service)) {
      const handler = implementation[name];
      if (handler === undefined || (!method.responseStream && onCall === undefined)) continue;
      const start = handler as unknown as (call: ResponseStreamCall, ...callback: readonly unknown[]) => void;
      tracked[name] = (call: ResponseStreamCall & PeerOfCall, ...callback: readonly unknown[]) => {
        onCall?.(call.getPeer());
        if (!method.responseStream || this.track(call)) start.call(implementation, call, ...callback);
      };
    }
    // Only handlers were wrapped; names and shapes are those of the given implementation.
    return tracked as Implementation;
  }

  /** Ends all open streams, and each one that still comes, with this error. */
  endAll(error: LockstepError): void {
    this.#closing = error;
    for (const call of this.#open) endWithError(call, error);
  }
}
