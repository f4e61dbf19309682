/**
 * One session with a server, from the first word to the last: the lease, the stream of changes, comparisons and
 * uploads. Carries what the engine says to the server and back; understands neither batches nor trees.
 *
 * A session lives until its stream of changes ends. Whatever breaks ends it; the next one starts from scratch, and the
 * engine counts as unsent what was not acknowledged.
 */
import { Deferred, sleep } from '../../../common/ops/async.ts';
import { digestFromBytes } from '../../../common/content/digest.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { Logger } from '../../../common/ops/logger.ts';
import { Acknowledgement, type AcquireLeaseResponse } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { EngineEvent, SessionFacts, UploadResult } from '../engine/messages.ts';
import { admit, type AdmissionOptions } from './admission.ts';
import { type AnsweredBatch, ChangeStream } from './change-stream.ts';
import { CompareStream } from './compare-stream.ts';
import type { Connection } from './connection.ts';
import type { ContentReader } from './content-reader.ts';
import { digestFunctionFromWire, type ServerFacts } from './handshake.ts';
import { LocalFiles } from './local-files.ts';
import type { SentBytes } from './sent-bytes.ts';
import { fetchSignature } from './signature-fetch.ts';
import type { TokenBucket } from './token-bucket.ts';
import { type SignatureFetcher, Uploads } from './uploads.ts';

/** What the engine asks of a session. */
export type SessionRequest = Extract<
  EngineEvent,
  { type: 'batch' | 'compare' | 'upload' | 'cancel-upload' | 'all-sent' | 'break-session' }
>;

export interface SessionOptions extends AdmissionOptions {
  readonly acknowledgement: 'durable' | 'applied';
  /** Whether whole contents are compressed; not worth it on this machine's own network. */
  readonly compress: boolean;
  readonly content: ContentReader;
  readonly logger: Logger;
  /** Hears of each batch that was answered. */
  readonly onAnswered?: ((batch: AnsweredBatch) => void) | undefined;
  /** The watched directory, absolute, if a server on this machine may read its files; undefined: all is sent. */
  readonly localDirectory?: string | undefined;
  /** What batches and contents are counted against; undefined: nothing is. */
  readonly bandwidth?: TokenBucket | undefined;
  /** What goes out is counted here. */
  readonly sent?: SentBytes | undefined;
}

/** How long the server may take to open the stream of changes. */
const OPENING_DEADLINE_MS = 30_000;

/** What the reconnection needs of a session, so that it can be tested without one. */
export interface LiveSession {
  readonly facts: SessionFacts;
  /**
   * Resolves when the server has accepted the lease for the stream of changes; what is sent before follows the opening, and is
   * not looked at if that is refused. Rejects with why it was.
   */
  readonly opened: Promise<void>;
  /**
   * Resolves when the session is over: after `finish`, or when there is more to send than was thought when all was said to be sent.
   * Rejects with why it broke.
   */
  readonly ended: Promise<void>;
  /** True once the server has answered a batch: the session is of use. */
  readonly hasAnswers: boolean;
  /** Bytes of contents that are sent, and not yet answered for. */
  readonly reachedBytes: number;
  handle(request: SessionRequest): void;
  finish(deadlineMs: number): Promise<void>;
  abort(): Promise<void>;
}

export class Session implements LiveSession {
  readonly facts: SessionFacts;
  readonly server: ServerFacts;
  readonly opened: Promise<void>;
  readonly ended: Promise<void>;
  readonly #changes: ChangeStream;
  readonly #compare: CompareStream;
  readonly #uploads: Uploads;
  readonly #failure = new Deferred<never>();
  /** Nobody needs it any longer. */
  readonly #left = new Deferred<void>();
  #isAllSent = false;

  private constructor(
    options: SessionOptions,
    server: ServerFacts,
    facts: SessionFacts,
    localFiles: LocalFiles | undefined,
    makeChanges: () => ChangeStream,
    signal: AbortSignal,
  ) {
    const { connection, engine, folder } = options;
    this.server = server;
    this.facts = facts;
    this.#changes = makeChanges();
    this.#compare = new CompareStream({
      folder,
      open: () => connection.compareTree(),
      onAnswer: (answer) => {
        engine.post({ type: 'compared', answer }, [exactBuffer(answer.encoded)]);
        return engine.untilRoom();
      },
      onFailure: (error) => this.#failure.reject(error),
    });
    this.#uploads = new Uploads({
      context: {
        content: options.content,
        folder,
        lease: facts.lease,
        transfer: {
          digestFunction: facts.digestFunction,
          zstd: server.zstd,
          maxZeroBytes: server.limits.maxZeroBytes,
        },
        compressWhole: options.compress,
        bandwidth: options.bandwidth,
        localFiles,
      },
      open: () => connection.uploadContent(),
      // Where whole contents are not even compressed, sending one takes less than reading it twice.
      fetchSignature: options.compress ? signatureFetcher(connection, folder) : undefined,
      maxStreams: server.limits.maxUploadStreams,
      onResult: (result: UploadResult) => engine.post({ type: 'uploaded', result }),
      onStale: (error) => this.#failure.reject(error),
      logger: options.logger,
      sent: options.sent,
    });
    this.ended = Promise.race([this.#untilLeft(), this.#failure.promise]);
    this.opened = this.#untilOpened(signal);
    for (const promise of [this.opened, this.ended]) {
      promise.catch(() => {
        // Heard by whoever opened the session.
      });
    }
  }

  /**
   * Greets, takes the lease, and begins to open the stream of changes, for which `opened` waits: at most as long as the signal
   * lets it. On an error nothing stays open; the connection is the caller's.
   * @throws LockstepError LEASE_HELD, FOLDER_NOT_FOUND, UNAUTHENTICATED … as the server says; SERVER_UNREACHABLE; the
   *   signal's reason.
   */
  static async open(options: SessionOptions, signal: AbortSignal): Promise<Session> {
    const { connection, folder } = options;
    const { server, lease } = await admit(options, signal);
    const localFiles =
      options.localDirectory === undefined ? undefined : LocalFiles.open(options.localDirectory, lease.localKeyPath);
    const facts = { ...factsOf(server, lease, options.compress), readsFiles: localFiles !== undefined };
    const acknowledgement =
      options.acknowledgement === 'durable'
        ? Acknowledgement.ACKNOWLEDGEMENT_DURABLE
        : Acknowledgement.ACKNOWLEDGEMENT_APPLIED;
    const open = { folder, lease: lease.lease, acknowledgement };
    const makeChanges = () => new ChangeStream(connection.applyChanges(), open, options.engine, options);
    return new Session(options, server, facts, localFiles, makeChanges, signal);
  }

  get hasAnswers(): boolean {
    return this.#changes.answers > 0;
  }

  get reachedBytes(): number {
    return this.#uploads.reachedBytes;
  }

  handle(request: SessionRequest): void {
    if (request.lease !== undefined && request.lease !== this.facts.lease) return;
    if (this.#isAllSent && isForServer(request)) {
      // An answer has led to more. This session ends with its last answer; the engine counts as unsent what comes now.
      this.#left.resolve();
      return;
    }
    switch (request.type) {
      case 'batch':
        this.#changes.send(request.form, request.encoded, request.rawBytes);
        break;
      case 'compare':
        this.#compare.ask(request.path, request.treeDigest);
        break;
      case 'upload':
        this.#uploads.request(request.request);
        break;
      case 'cancel-upload':
        this.#uploads.cancel(request.uploadId);
        break;
      case 'all-sent':
        this.#isAllSent = true;
        this.#changes.halfClose();
        break;
      case 'break-session':
        this.#failure.reject(new LockstepError(request.reason, request.message));
        break;
    }
  }

  /** Sends nothing more, lets the server answer what it has and take the lease back; at most for so long. */
  async finish(deadlineMs: number): Promise<void> {
    this.#left.resolve();
    this.#compare.finish();
    this.#changes.finish();
    const giveUp = new AbortController();
    // Broken or ended, it is over: the lease goes with the connection at the latest.
    const over = this.ended.catch(() => undefined);
    await Promise.race([over, sleep(deadlineMs, giveUp.signal)]);
    giveUp.abort();
    await this.abort();
  }

  /** When all was said before, it lives on until it is known that there is no more. */
  async #untilLeft(): Promise<void> {
    await this.#changes.ended;
    await this.#left.promise;
  }

  async #untilOpened(signal: AbortSignal): Promise<void> {
    const deadline = AbortSignal.timeout(OPENING_DEADLINE_MS);
    try {
      await this.#changes.opened(AbortSignal.any([signal, deadline]));
    } catch (error) {
      if (signal.aborted || error instanceof LockstepError) throw error;
      throw new LockstepError('SERVER_UNREACHABLE', 'the server does not open the stream of changes', { cause: error });
    }
  }

  /** Cuts everything off. Uploads are answered as interrupted before this resolves. */
  async abort(): Promise<void> {
    this.#compare.cancel();
    this.#changes.cancel();
    await this.#uploads.close();
  }
}

function isForServer({ type }: SessionRequest): boolean {
  return type === 'batch' || type === 'compare' || type === 'upload';
}

/** Far above what any server gives. */
const MAX_EPOCH_CHARS = 255;
const MAX_BATCH_ID_BYTES = 255;

/** What the server says of its state, checked. @throws LockstepError INVALID_ARGUMENT, PROTOCOL_UNSUPPORTED */
function factsOf(server: ServerFacts, lease: AcquireLeaseResponse, compress: boolean): SessionFacts {
  const { epoch, headBatchId, rootTreeDigest } = lease;
  if (epoch.length > MAX_EPOCH_CHARS || headBatchId.length > MAX_BATCH_ID_BYTES) {
    throw new LockstepError('INVALID_ARGUMENT', 'the server describes its state in a way that makes no sense');
  }
  if (rootTreeDigest.length !== 0 && digestFromBytes(rootTreeDigest) === undefined) {
    throw new LockstepError('INVALID_ARGUMENT', `the server's tree digest has ${rootTreeDigest.length} bytes`);
  }
  const { maxBatchBytes, maxBatchChanges, maxInlineBytes, maxInFlightBytes } = server.limits;
  return {
    lease: lease.lease,
    epoch: lease.epoch,
    headRevision: lease.headRevision,
    headBatchId: new Uint8Array(lease.headBatchId),
    rootTreeDigest: new Uint8Array(lease.rootTreeDigest),
    digestFunction: digestFunctionFromWire(lease.digestFunction),
    maxBatchBytes,
    maxBatchChanges,
    maxInlineBytes,
    maxInFlightBytes,
    zstd: server.zstd,
    compressAll: compress && server.zstd,
    hardLinks: server.hardLinks,
  };
}

/** The buffer behind an array that has it to itself. */
function exactBuffer(bytes: Uint8Array): ArrayBuffer {
  return bytes.buffer as ArrayBuffer;
}

function signatureFetcher(connection: Connection, folder: string): SignatureFetcher {
  return (bytes, sizeBytes, signal) => {
    const digest = digestFromBytes(bytes);
    if (digest === undefined) throw new LockstepError('INTERNAL', `a digest of ${bytes.length} bytes`);
    return fetchSignature(connection.getSignature({ folder, digest }), digest, sizeBytes, signal);
  };
}
