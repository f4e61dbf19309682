/**
 * A session that only looks: comparisons without a lease, for `--dry-run`. It needs no more than the right to read, and
 * disturbs no writer.
 */
import { Deferred } from '../../../common/ops/async.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { SessionFacts } from '../engine/messages.ts';
import { CompareStream } from './compare-stream.ts';
import type { Connection } from './connection.ts';
import type { EnginePort } from './engine-port.ts';
import { digestFunctionFromWire, greet } from './handshake.ts';
import type { LiveSession, SessionRequest } from './session.ts';

export interface InspectionOptions {
  readonly connection: Connection;
  readonly folder: string;
  /** Refuse a server that does not keep owners. Default false. */
  readonly carriesOwners?: boolean | undefined;
  readonly engine: EnginePort;
}

export class Inspection implements LiveSession {
  readonly facts: SessionFacts;
  readonly opened = Promise.resolve();
  readonly ended: Promise<void>;
  readonly hasAnswers = false;
  readonly reachedBytes = 0;
  readonly #compare: CompareStream;
  readonly #end = new Deferred<void>();

  private constructor({ connection, folder, engine }: InspectionOptions, facts: SessionFacts) {
    this.facts = facts;
    this.ended = this.#end.promise;
    this.ended.catch(() => {
      // Heard by whoever opened the session.
    });
    this.#compare = new CompareStream({
      folder,
      open: () => connection.compareTree(),
      onAnswer: (answer) => {
        engine.post({ type: 'compared', answer });
        return engine.untilRoom();
      },
      onFailure: (error) => this.#end.reject(error),
    });
  }

  /** @throws LockstepError as Session.open, without those of leases. */
  static async open(options: InspectionOptions, signal: AbortSignal): Promise<Inspection> {
    const { connection, folder } = options;
    const server = await greet(connection, folder, signal, options);
    const { entry } = await connection.getEntry({ folder, path: '' }, signal);
    const { maxBatchBytes, maxBatchChanges, maxInlineBytes, maxInFlightBytes } = server.limits;
    const facts: SessionFacts = {
      lease: 0n,
      epoch: server.folder.epoch,
      headRevision: server.folder.headRevision,
      headBatchId: new Uint8Array(0),
      rootTreeDigest: new Uint8Array(entry?.digest ?? []),
      digestFunction: digestFunctionFromWire(server.folder.digestFunction),
      maxBatchBytes,
      maxBatchChanges,
      maxInlineBytes,
      maxInFlightBytes,
      zstd: false,
      compressAll: false,
      hardLinks: server.hardLinks,
    };
    return new Inspection(options, facts);
  }

  /** Batches and uploads are what a look must not send: they are dropped. */
  handle(request: SessionRequest): void {
    if (request.type === 'compare') this.#compare.ask(request.path, request.treeDigest);
    if (request.type === 'break-session') this.#end.reject(new LockstepError(request.reason, request.message));
  }

  async finish(): Promise<void> {
    this.#end.resolve();
    this.#compare.cancel();
  }

  async abort(): Promise<void> {
    this.#compare.cancel();
  }
}
