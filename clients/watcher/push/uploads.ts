/**
 * The contents of a session that travel beside the changes: which are sent now, which wait, what is tried again.
 * Memory is bounded per content (content-reader.ts) and by how many are sent at once.
 */
import { Backoff, slept } from '../../../common/ops/async.ts';
import { LockstepError, type Reason } from '../../../common/ops/errors.ts';
import type { Logger } from '../../../common/ops/logger.ts';
import { toLockstepError } from '../../../common/rpc/errors.ts';
import { displayPath } from '../../../common/tree/tree-path.ts';
import type { UploadRequest, UploadResult } from '../engine/messages.ts';
import type { UploadCall } from './connection.ts';
import type { SentBytes } from './sent-bytes.ts';
import { MIN_FETCHED_BYTES } from './signature-fetch.ts';
import { type UploadAttempt, type UploadContext, UploadStream } from './upload-stream.ts';

/** Contents that use the link at the same time. Those that only wait for the server's answer do not count. */
const MAX_SENDING = 4;
/** Smaller contents are not worth the round trip of asking what arrived earlier. */
const RESUME_BYTES = 4 * 2 ** 20;

/** Of larger ones the system may have written some to the disk before it turns out that it was for nothing. */
const MAX_COPIED_FOR_NOTHING_BYTES = 2 ** 30;

/** Why a server may not have got a file that it was to read itself, and gets it when it is sent. */
const UNREAD: ReadonlySet<Reason> = new Set<Reason>([
  'BASIS_MISMATCH',
  'PERMISSION_DENIED',
  'IO',
  'DIGEST_MISMATCH',
  'INVALID_ARGUMENT',
]);

export interface UploadsOptions {
  readonly context: UploadContext;
  readonly open: () => UploadCall;
  /** Asks the server for a signature; undefined where sending the whole is quicker. */
  readonly fetchSignature: SignatureFetcher | undefined;
  /** Calls of UploadContent that may be open at the same time. */
  readonly maxStreams: number;
  readonly onResult: (result: UploadResult) => void;
  /** The lease is gone, and with it the session. */
  readonly onStale: (error: LockstepError) => void;
  readonly logger: Logger;
  readonly sent?: SentBytes | undefined;
}

export type SignatureFetcher = (digest: Uint8Array, sizeBytes: number, signal: AbortSignal) => Promise<Uint8Array>;

type Outcome = UploadResult['outcome'];

type Way = Pick<UploadAttempt, 'resume' | 'asDelta' | 'asLocal' | 'knownDigest'>;

interface Upload {
  request: UploadRequest;
  readonly abort: AbortController;
  isSending: boolean;
  sentBytes: number;
  /** Where in the content the sending is. */
  reachedBytes: number;
}

export class Uploads {
  readonly #options: UploadsOptions;
  readonly #waiting = new Map<string, UploadRequest>();
  readonly #running = new Map<string, Upload>();
  readonly #tasks = new Set<Promise<void>>();
  /** Open calls that carry nothing now. */
  readonly #idle: UploadStream[] = [];
  #isClosed = false;

  constructor(options: UploadsOptions) {
    this.#options = options;
  }

  /** How much of the contents that are under way has been sent, for the display of progress. */
  get reachedBytes(): number {
    let sum = 0;
    for (const upload of this.#running.values()) sum += upload.reachedBytes;
    return sum;
  }

  /** Answered once by `onResult`, unless it is cancelled. */
  request(request: UploadRequest): void {
    if (this.#isClosed) {
      this.#answer(request, { type: 'interrupted' });
      return;
    }
    this.#waiting.set(request.uploadId, request);
    this.#startNext();
  }

  cancel(uploadId: string): void {
    this.#waiting.delete(uploadId);
    const upload = this.#running.get(uploadId);
    if (upload === undefined) return;
    // From here on nobody is answered for it, also when the same id is requested again at once.
    this.#running.delete(uploadId);
    upload.abort.abort(new LockstepError('CANCELLED', 'the upload was cancelled'));
    this.#startNext();
  }

  /** The session is over: what is not done is answered as interrupted. Resolves when all calls have ended. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const interrupted = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const upload of this.#running.values()) {
      interrupted.push(upload.request);
      upload.abort.abort(new LockstepError('CANCELLED', 'the session is over'));
    }
    this.#running.clear();
    for (const request of interrupted) this.#answer(request, { type: 'interrupted' });
    await Promise.all(this.#tasks);
    this.#endIdle();
  }

  #startNext(): void {
    const maxOpen = Math.max(1, this.#options.maxStreams);
    for (const [uploadId, request] of this.#waiting) {
      if (this.#isClosed || this.#running.size >= maxOpen || this.#sendingCount() >= MAX_SENDING) return;
      this.#waiting.delete(uploadId);
      const upload = { request, abort: new AbortController(), isSending: true, sentBytes: 0, reachedBytes: 0 };
      this.#running.set(uploadId, upload);
      const task = this.#run(upload).finally(() => this.#tasks.delete(task));
      this.#tasks.add(task);
    }
  }

  #sendingCount(): number {
    let count = 0;
    for (const upload of this.#running.values()) if (upload.isSending) count++;
    return count;
  }

  /** Never rejects: every end is an answer. */
  async #run(upload: Upload): Promise<void> {
    const outcome = await this.#outcomeOf(upload);
    const { uploadId } = upload.request;
    if (this.#running.get(uploadId) !== upload) return;
    this.#running.delete(uploadId);
    this.#answer(upload.request, outcome);
    this.#startNext();
    // A server bounds how long and how many calls may be open: none is kept for nothing.
    if (this.#running.size === 0) this.#endIdle();
  }

  async #outcomeOf(upload: Upload): Promise<Outcome> {
    const backoff = new Backoff({ initialMs: 250, maxMs: 15_000 });
    const { signal } = upload.abort;
    const { knownDigest, sizeBytes, before, basis } = upload.request;
    let asLocal = this.#isReadable;
    let asDelta = !asLocal && upload.request.basis !== undefined;
    let resume = !asLocal && !asDelta && sizeBytes > RESUME_BYTES;
    // A copy of something else the server makes from that, perhaps without writing anything.
    let looksFirst = sizeBytes > MAX_COPIED_FOR_NOTHING_BYTES || !isOf(before ?? basis, knownDigest);
    let wasUnread = false;
    let mayRedo = true;
    for (;;) {
      try {
        // Whether it is its own basis a delta finds out by itself, and a server that makes a copy whether there was any need.
        const toBeFound = asLocal && !looksFirst ? knownDigest : undefined;
        const isFound = toBeFound !== undefined || (asDelta && isOf(upload.request.basis, knownDigest));
        if (knownDigest !== undefined && !isFound && (await this.#isStill(upload, knownDigest))) {
          return { type: 'done', digest: knownDigest, sentBytes: 0 };
        }
        if (!asLocal && (await this.#fetchBasis(upload))) {
          asDelta = true;
          resume = false;
        }
        const outcome = await this.#attempt(upload, { resume, asDelta, asLocal, knownDigest: toBeFound });
        // There was nothing wrong with the file.
        if (wasUnread) this.#options.context.localFiles?.wasNotRead();
        return outcome;
      } catch (thrown) {
        if (signal.aborted) return { type: 'interrupted' };
        const error = toLockstepError(thrown);
        this.#options.logger.debug({ err: error }, `upload of ${displayPath(upload.request.path)} broke`);
        if (asLocal && !looksFirst && knownDigest !== undefined && error.reason === 'NO_SPACE') {
          // What is no news needs no room.
          looksFirst = true;
          continue;
        }
        if (asLocal && UNREAD.has(error.reason)) {
          asLocal = false;
          wasUnread = true;
          asDelta = upload.request.basis !== undefined;
          continue;
        }
        switch (error.reason) {
          case 'BUSY':
            return { type: 'changed' };
          case 'LEASE_STALE':
            this.#options.onStale(error);
            return { type: 'interrupted' };
          case 'OFFSET_MISMATCH':
            // An earlier attempt, perhaps of an earlier process, has left something: go on there.
            if (resume) return failed(error);
            resume = true;
            asDelta = false;
            break;
          case 'BASIS_MISMATCH':
            // The server has another version: it gets the whole.
            if (!asDelta) return failed(error);
            asDelta = false;
            break;
          case 'DIGEST_MISMATCH':
            // E102: one automatic redo, from the beginning, because the server has dropped what it had.
            if (!mayRedo) return failed(error);
            mayRedo = false;
            resume = false;
            asDelta = false;
            break;
          case 'SERVER_UNREACHABLE':
          case 'DRAINING':
          case 'CANCELLED':
            // The channel of contents broke while the session lives; if that is gone too, it will end this wait.
            resume = true;
            asDelta = false;
            asLocal = false;
            if (!(await slept(backoff.next(), signal))) return { type: 'interrupted' };
            break;
          default:
            return failed(error);
        }
      }
    }
  }

  /** Whether the server can read files of this machine itself. Not where it was said how much may be sent: that would not hold. */
  get #isReadable(): boolean {
    const { localFiles, bandwidth } = this.#options.context;
    return localFiles?.areReadable === true && bandwidth?.hasLimit !== true;
  }

  /** Asks once for the signature of what the server has. True when there is a basis now that there was not before. */
  async #fetchBasis(upload: Upload): Promise<boolean> {
    const { before, ...request } = upload.request;
    const { fetchSignature } = this.#options;
    if (before === undefined || fetchSignature === undefined) return false;
    upload.request = request;
    if (Math.min(before.sizeBytes, request.sizeBytes) < MIN_FETCHED_BYTES) return false;
    try {
      const signature = await fetchSignature(before.digest, before.sizeBytes, upload.abort.signal);
      upload.request = { ...request, basis: { digest: before.digest, path: request.path, signature } };
      return true;
    } catch (error) {
      upload.abort.signal.throwIfAborted();
      this.#options.logger.debug({ err: error }, `no signature for ${displayPath(request.path)}: it is sent whole`);
      return false;
    }
  }

  /** Reads the file without sending it: only its metadata may be new (E75). */
  async #isStill({ request, abort }: Upload, knownDigest: Uint8Array): Promise<boolean> {
    const { content, transfer } = this.#options.context;
    let digest: Buffer | undefined;
    for await (const chunk of content.read(request, { ...transfer, fromBytes: request.sizeBytes }, abort.signal)) {
      chunk.release();
      digest = chunk.digest;
    }
    return digest?.equals(knownDigest) === true;
  }

  async #attempt(upload: Upload, way: Way): Promise<Outcome> {
    upload.isSending = true;
    const attempt = {
      request: upload.request,
      ...way,
      onSent: (wireBytes: number, contentBytes: number, endBytes: number) => {
        upload.sentBytes += wireBytes;
        this.#options.sent?.add(wireBytes, contentBytes);
        upload.reachedBytes = endBytes;
      },
      onAllSent: () => {
        upload.isSending = false;
        this.#startNext();
      },
    };
    const stream = this.#takeStream();
    const { digest, wasSent, signature } = await stream.upload(this.#options.context, attempt, upload.abort.signal);
    this.#idle.push(stream);
    if (way.asLocal) this.#options.context.localFiles?.wasRead();
    if (!wasSent) return { type: 'done', digest: new Uint8Array(digest), sentBytes: 0 };
    const { path, sizeBytes } = upload.request;
    const shown = {
      path: displayPath(path),
      bytes: sizeBytes,
      sent_bytes: upload.sentBytes,
      delta: way.asDelta,
      local: way.asLocal,
    };
    this.#options.logger.debug(shown, 'content uploaded');
    const done = { type: 'done', digest: new Uint8Array(digest), sentBytes: upload.sentBytes } as const;
    return signature === undefined ? done : { ...done, signature };
  }

  #takeStream(): UploadStream {
    for (let stream = this.#idle.pop(); stream !== undefined; stream = this.#idle.pop()) {
      if (stream.isUsable) return stream;
    }
    return new UploadStream(this.#options.open());
  }

  #endIdle(): void {
    for (const stream of this.#idle.splice(0)) stream.end();
  }

  #answer({ uploadId, path }: UploadRequest, outcome: Outcome): void {
    this.#options.onResult({ uploadId, path, outcome });
  }
}

function failed(error: LockstepError): Outcome {
  return { type: 'failed', reason: error.reason, message: error.message };
}

function isOf(content: { readonly digest: Uint8Array } | undefined, digest: Uint8Array | undefined): boolean {
  return content !== undefined && digest !== undefined && Buffer.compare(content.digest, digest) === 0;
}
