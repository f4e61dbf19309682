/**
 * Who writes a folder. One desk per folder: it knows the newest lease, its holder, and the streams that work under it.
 *
 * Two guards stand behind each other. The desk decides who gets a lease, and ends streams of older ones at once. The
 * replica persists the newest number and refuses batches of lower ones, whatever the desk believes: a writer that was
 * paused, or a second server process, is fenced there.
 *
 * States of a lease: granted (acquired, no stream yet; protected for the grace time) -> connected (an ApplyChanges stream is
 * open) -> idle (the stream broke; the holder may come back, anyone may take over) or returned (the stream was
 * half-closed: nobody holds the folder). Any acquisition replaces it.
 */
import { LockstepError } from '../../../common/ops/errors.ts';

export interface LeaseRequest {
  /** Identity of the client's index, 16 bytes. */
  readonly holderId: Buffer;
  /** Who that is, for people. */
  readonly holder: string;
  readonly takeOver: boolean;
}

export interface LeaseHolder {
  readonly lease: bigint;
  readonly holder: string;
  /** When the lease was acquired. */
  readonly since: Date;
  /** A stream of changes is open. */
  readonly isConnected: boolean;
}

/** A stream that works under a lease. */
export interface LeasedStream {
  /** Ends the stream with this error; must not throw. */
  end(error: LockstepError): void;
}

export interface LeaseDeskOptions {
  /** How long a lease without a stream is protected after its acquisition, in milliseconds. */
  readonly graceMs: number;
  /** UploadContent streams that one lease may have open. */
  readonly maxUploadStreams: number;
  /** Milliseconds since 1970. */
  readonly now?: (() => number) | undefined;
}

interface Lease {
  readonly number: bigint;
  readonly holderId: Buffer;
  readonly holder: string;
  readonly sinceMs: number;
  changes: LeasedStream | undefined;
  readonly uploads: Set<LeasedStream>;
}

export class LeaseDesk {
  readonly #options: LeaseDeskOptions;
  readonly #now: () => number;
  #current: Lease | undefined;
  /** Acquisitions one after the other, so that numbers and holders cannot get mixed up. */
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: LeaseDeskOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** Who holds the folder, undefined for nobody. A holder that is gone is named until someone else acquires. */
  get holder(): LeaseHolder | undefined {
    const lease = this.#current;
    if (lease === undefined) return undefined;
    return {
      lease: lease.number,
      holder: lease.holder,
      since: new Date(lease.sinceMs),
      isConnected: lease.changes !== undefined,
    };
  }

  /**
   * Grants a lease with the number that `nextNumber` makes, and ends all streams of the one before.
   * @throws LEASE_HELD while another holder is connected, or was granted a lease within the grace time
   */
  acquire(request: LeaseRequest, nextNumber: () => Promise<bigint>): Promise<bigint> {
    const granted = this.#queue.then(() => this.#grant(request, nextNumber));
    // The next in line does not care how this one ended; its own caller does.
    this.#queue = granted.catch(() => undefined);
    return granted;
  }

  /**
   * Registers the stream of changes of a lease. An older stream of the same lease is ended: its client lost it
   * and came back sooner than the server could notice (E105).
   * @throws LEASE_STALE
   */
  connectChanges(number: bigint, stream: LeasedStream): LeaseConnection {
    const lease = this.#leaseOf(number);
    lease.changes?.end(staleError('the stream was opened again'));
    lease.changes = stream;
    return {
      disconnect: () => {
        if (lease.changes === stream) lease.changes = undefined;
      },
      giveBack: () => {
        if (lease.changes === stream) lease.changes = undefined;
        if (this.#current === lease && lease.changes === undefined) {
          this.#current = undefined;
          endAll(lease.uploads, staleError('the lease was given back'));
        }
      },
    };
  }

  /**
   * Registers an upload stream of a lease.
   * @returns a function that takes it out again
   * @throws LEASE_STALE, LIMIT_EXCEEDED
   */
  connectUpload(number: bigint, stream: LeasedStream): () => void {
    const { uploads } = this.#leaseOf(number);
    if (uploads.size >= this.#options.maxUploadStreams) {
      throw new LockstepError('LIMIT_EXCEEDED', `more than ${this.#options.maxUploadStreams} upload streams are open`);
    }
    uploads.add(stream);
    return () => uploads.delete(stream);
  }

  async #grant(request: LeaseRequest, nextNumber: () => Promise<bigint>): Promise<bigint> {
    const before = this.#current;
    if (before !== undefined && !request.takeOver && !before.holderId.equals(request.holderId))
      this.#refuseIfHeld(before);
    const number = await nextNumber();
    this.#current = {
      number,
      holderId: request.holderId,
      holder: request.holder,
      sinceMs: this.#now(),
      changes: undefined,
      uploads: new Set(),
    };
    if (before !== undefined) {
      const error = staleError(`lease ${number} was acquired by ${request.holder}`);
      before.changes?.end(error);
      endAll(before.uploads, error);
    }
    return number;
  }

  #refuseIfHeld(lease: Lease): void {
    const withinGrace = this.#now() - lease.sinceMs < this.#options.graceMs;
    if (lease.changes === undefined && !withinGrace) return;
    const since = new Date(lease.sinceMs).toISOString();
    throw new LockstepError('LEASE_HELD', `the folder is written by ${lease.holder} since ${since}`, {
      details: { holder: lease.holder, since },
    });
  }

  #leaseOf(number: bigint): Lease {
    if (this.#current === undefined || this.#current.number !== number) {
      throw staleError(`lease ${number} is not the newest: acquire again`);
    }
    return this.#current;
  }
}

export interface LeaseConnection {
  /** The stream broke: the holder is no longer connected. */
  disconnect(): void;
  /** The stream ended well: nobody holds the folder any more. */
  giveBack(): void;
}

function endAll(streams: Iterable<LeasedStream>, error: LockstepError): void {
  for (const stream of [...streams]) stream.end(error);
}

function staleError(message: string): LockstepError {
  return new LockstepError('LEASE_STALE', message);
}
