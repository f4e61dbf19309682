/**
 * An UploadContent call, and one content's way over it after the other: where to begin, the chunks, the proof at the
 * end. Making a call costs more than sending a small content, which is why calls are used again. Knows nothing of the
 * other calls, nor of retries.
 */
import { type Digest, digestFromBytes } from '../../../common/content/digest.ts';
import { Deferred, untilAborted } from '../../../common/ops/async.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { readMessages } from '../../../common/rpc/call-stream.ts';
import { type EncodedUpload, encodeUploadInPlace } from '../../../common/rpc/hot-codec.ts';
import { superviseCall } from '../../../common/rpc/call-supervision.ts';
import { toWirePath } from '../../../common/tree/tree-path.ts';
import { Compressor } from '../../../gen/lockstep/sync/v1/entry.ts';
import type { UploadContentRequest, UploadStep } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { UploadRequest } from '../engine/messages.ts';
import type { UploadCall } from './connection.ts';
import type { TransferOptions } from './content-messages.ts';
import type { ContentChunk, ContentReader } from './content-reader.ts';
import type { LocalFiles } from './local-files.ts';
import type { TokenBucket } from './token-bucket.ts';

export interface UploadContext {
  readonly content: ContentReader;
  readonly folder: string;
  readonly lease: bigint;
  readonly transfer: Omit<TransferOptions, 'fromBytes' | 'basis'>;
  /** Whether contents that are sent whole are compressed, too. What an edit adds always is, where the server takes that. */
  readonly compressWhole: boolean;
  /** What chunks are counted against; undefined: nothing is. */
  readonly bandwidth?: TokenBucket | undefined;
  /** Undefined: the server is not on this machine, or must not read its files. */
  readonly localFiles?: LocalFiles | undefined;
}

/** What the server has now. */
export interface UploadedContent {
  readonly digest: Digest;
  /** False when it turned out that the server had it before, and nothing was sent. */
  readonly wasSent: boolean;
  /** Packed; only when it was sent as a delta. */
  readonly signature: Uint8Array | undefined;
}

export interface UploadAttempt {
  readonly request: UploadRequest;
  /** Ask the server first how much of it arrived earlier. */
  readonly resume: boolean;
  /** Send what differs from the request's basis only, and nothing at all when nothing does. Not together with `resume`. */
  readonly asDelta: boolean;
  /** Let the server read the file. Neither together with `resume` nor with `asDelta`. */
  readonly asLocal: boolean;
  /** Together with `asLocal`: what the content may be, and the server has by then. */
  readonly knownDigest?: Uint8Array | undefined;
  /** Called for each message: the bytes that it puts on the wire, how much of the content that is, and where in it that ends. */
  readonly onSent: (wireBytes: number, contentBytes: number, endBytes: number) => void;
  /** Called when all is sent and only the server's answer is missing. */
  readonly onAllSent: () => void;
}

/** Where a content stands when the server has answered its beginning. */
interface Standing {
  readonly committedBytes: number;
  readonly isComplete: boolean;
}

/** What the server says about the content that is under way. */
interface Answers {
  readonly uploadId: Buffer;
  readonly sizeBytes: number;
  readonly standing: Deferred<Standing>;
  /** With the digest, where the server was to find it out. */
  readonly complete: Deferred<Uint8Array>;
  /** Called with how much of the content the server has. */
  readonly onCommitted: (committedBytes: number) => void;
}

export class UploadStream {
  readonly #call: UploadCall;
  /** Aborts with the reason when the call is over. */
  readonly #over = new AbortController();
  #answers: Answers | undefined;

  constructor(call: UploadCall) {
    this.#call = call;
    const supervision = superviseCall(call);
    supervision.onOver(() => this.#over.abort(supervision.overError()));
    this.#receive().catch((error: unknown) => {
      this.#over.abort(error);
      this.#answers?.standing.reject(error);
      this.#answers?.complete.reject(error);
    });
  }

  /** False once the call is over, for whatever reason: make another one. */
  get isUsable(): boolean {
    return !this.#over.signal.aborted && !this.#call.writableEnded;
  }

  /**
   * Resolves with the content's digest when the server has it whole and durable. One content at a time; after an error
   * the call is over.
   * @throws LockstepError of the server; BUSY when the file changed; the signal's reason.
   */
  async upload(context: UploadContext, attempt: UploadAttempt, signal: AbortSignal): Promise<UploadedContent> {
    const answers = answersFor(attempt);
    this.#answers = answers;
    try {
      this.#over.signal.throwIfAborted();
      if (!attempt.asDelta) this.#call.write(beginning(context, attempt));
      if (attempt.resume) context.content.prepare();
      if (attempt.asLocal) return await this.#haveRead(context, attempt, answers, signal);
      const standing = attempt.resume
        ? await untilAborted(answers.standing.promise, signal)
        : { committedBytes: 0, isComplete: false };
      const uploaded = await this.#send(context, attempt, standing, signal);
      attempt.onAllSent();
      if (!uploaded.wasSent) return uploaded;
      await untilAborted(answers.complete.promise, signal);
      return uploaded;
    } catch (error) {
      this.cancel();
      throw error;
    } finally {
      this.#answers = undefined;
    }
  }

  /** Half-close: no more contents. */
  end(): void {
    if (this.isUsable) this.#call.end();
  }

  cancel(): void {
    this.#call.cancel();
  }

  /** The server reads the file and tells its digest, which is that of the file as it was expected if it still is that afterwards. */
  async #haveRead(
    { content }: UploadContext,
    { request, knownDigest }: UploadAttempt,
    { complete }: Answers,
    signal: AbortSignal,
  ): Promise<UploadedContent> {
    const { sizeBytes } = request;
    for (let at = 0; at < sizeBytes; at += LOCAL_RANGE_BYTES) {
      const copyLength = BigInt(Math.min(LOCAL_RANGE_BYTES, sizeBytes - at));
      const offset = BigInt(at);
      this.#call.write({
        ...EMPTY,
        offset,
        steps: [{ copyOffset: offset, copyLength, zeroLength: 0n, dataLength: 0 }],
      });
    }
    this.#call.write({ ...EMPTY, offset: BigInt(sizeBytes), finish: true });
    const digest = digestFromBytes(await untilAborted(complete.promise, signal));
    if (digest === undefined)
      throw new LockstepError('INVALID_ARGUMENT', 'the server does not tell the digest of what it read');
    content.check(request);
    return { digest, wasSent: knownDigest === undefined || !digest.equals(knownDigest), signature: undefined };
  }

  async #send(
    context: UploadContext,
    attempt: UploadAttempt,
    { committedBytes, isComplete }: Standing,
    signal: AbortSignal,
  ): Promise<UploadedContent> {
    const basis = attempt.asDelta ? attempt.request.basis : undefined;
    const zstd = context.transfer.zstd && (context.compressWhole || basis !== undefined);
    const options = { ...context.transfer, zstd, fromBytes: committedBytes, basis: basis?.signature };
    const anyEnd = AbortSignal.any([signal, this.#over.signal]);
    const unsent = basis && new UnchangedBeginning(basis.digest);
    const send = async (chunk: ContentChunk): Promise<void> => {
      const admitted = context.bandwidth?.admit(chunk.data.length, 'contents', anyEnd);
      if (admitted !== undefined) await admitted;
      // grpc-js has copied the bytes when it calls back; not more than the granted chunks ever wait.
      this.#call.write(continuation(chunk), () => chunk.release());
      attempt.onSent(chunk.data.length, chunk.contentBytes, chunk.offsetBytes + chunk.contentBytes);
    };
    for await (const chunk of context.content.read(attempt.request, options, anyEnd)) {
      if (isComplete) chunk.release();
      else if (unsent?.holds(chunk) === true) {
        chunk.release();
        if (chunk.digest !== undefined) return { digest: chunk.digest, wasSent: false, signature: undefined };
      } else {
        const held = unsent?.take();
        if (held !== undefined) this.#call.write(beginning(context, attempt));
        for (const earlier of held ?? []) await send(earlier);
        await send(chunk);
      }
      if (chunk.digest !== undefined) return { digest: chunk.digest, wasSent: true, signature: chunk.signature };
    }
    throw new LockstepError('INTERNAL', 'a content ended without its digest');
  }

  async #receive(): Promise<void> {
    for await (const { uploadId, committedSize, complete, digest } of readMessages(this.#call)) {
      const answers = this.#answers;
      // Of a content that was finished, or given up, before.
      if (answers === undefined || !answers.uploadId.equals(uploadId)) continue;
      if (committedSize > BigInt(answers.sizeBytes)) {
        throw new LockstepError('INVALID_ARGUMENT', 'the server says that it holds more of a content than there is');
      }
      answers.onCommitted(Number(committedSize));
      answers.standing.resolve({ committedBytes: Number(committedSize), isComplete: complete });
      if (complete) answers.complete.resolve(digest);
    }
    throw new LockstepError('SERVER_UNREACHABLE', 'the server ended the stream of contents');
  }
}

/**
 * The chunks of a delta as long as they only say that the content begins as its basis does. If that is all, nothing needs
 * to be sent: only the file's metadata is new (E75).
 */
class UnchangedBeginning {
  readonly #basisDigest: Uint8Array;
  #held: ContentChunk[] | undefined = [];

  constructor(basisDigest: Uint8Array) {
    this.#basisDigest = basisDigest;
  }

  /** False from the first difference on. */
  holds(chunk: ContentChunk): boolean {
    if (this.#held === undefined || chunk.data.length > 0) return false;
    let at = chunk.offsetBytes;
    for (const { copyOffsetBytes, copyLengthBytes, zeroBytes } of chunk.steps) {
      if (copyOffsetBytes !== at || zeroBytes > 0) return false;
      at += copyLengthBytes;
    }
    if (chunk.digest?.equals(this.#basisDigest) === false) return false;
    // Its buffer goes back at once; there is nothing in it.
    this.#held.push({ ...chunk, release: () => {} });
    return true;
  }

  /** What was held back, once. */
  take(): readonly ContentChunk[] | undefined {
    const held = this.#held;
    this.#held = undefined;
    return held;
  }
}

function answersFor({ request: { uploadId, sizeBytes }, asLocal, onSent }: UploadAttempt): Answers {
  const standing = new Deferred<Standing>();
  const complete = new Deferred<Uint8Array>();
  for (const { promise } of [standing, complete]) {
    promise.catch(() => {
      // Whoever waits gets the error; an upload that was given up earlier needs none.
    });
  }
  let reachedBytes = 0;
  const onCommitted = (committedBytes: number) => {
    if (!asLocal) return;
    onSent(0, committedBytes - reachedBytes, committedBytes);
    reachedBytes = committedBytes;
  };
  return { uploadId: Buffer.from(uploadId, 'hex'), sizeBytes, standing, complete, onCommitted };
}

const NO_BYTES = new Uint8Array(0);
const EMPTY: UploadContentRequest = {
  folder: '',
  lease: 0n,
  uploadId: NO_BYTES,
  size: 0n,
  digest: NO_BYTES,
  resume: false,
  basisDigest: NO_BYTES,
  basisPath: '',
  offset: 0n,
  steps: [],
  data: NO_BYTES,
  compressor: Compressor.COMPRESSOR_UNSPECIFIED,
  dataSize: 0,
  finish: false,
  localFile: undefined,
};

/** What the server reads before it tells how far it is: a tenth of a second, or two on a slow disk. Its pipeline runs empty in between. */
const LOCAL_RANGE_BYTES = 256 * 2 ** 20;

function beginning(context: UploadContext, attempt: UploadAttempt): UploadContentRequest {
  const { request, resume, asDelta, asLocal, knownDigest } = attempt;
  const basis = asDelta ? request.basis : undefined;
  const uploadId = Buffer.from(request.uploadId, 'hex');
  return {
    ...EMPTY,
    folder: context.folder,
    lease: context.lease,
    uploadId,
    size: BigInt(request.sizeBytes),
    resume,
    basisDigest: basis?.digest ?? NO_BYTES,
    basisPath: basis === undefined ? '' : toWirePath(basis.path),
    localFile: asLocal ? context.localFiles?.name(uploadId, request, knownDigest) : undefined,
  };
}

function continuation(chunk: ContentChunk): UploadContentRequest | EncodedUpload {
  const isPlain = chunk.digest === undefined && chunk.steps.length === 0;
  if (chunk.hasHeadRoom && isPlain) return encodeUploadInPlace(chunk.offsetBytes, chunk.data);
  return {
    ...EMPTY,
    offset: BigInt(chunk.offsetBytes),
    steps: stepsOf(chunk.steps),
    data: chunk.data,
    compressor: chunk.literalBytes === undefined ? Compressor.COMPRESSOR_UNSPECIFIED : Compressor.COMPRESSOR_ZSTD,
    dataSize: chunk.literalBytes ?? 0,
    digest: chunk.digest ?? NO_BYTES,
    finish: chunk.digest !== undefined,
  };
}

function stepsOf(steps: ContentChunk['steps']): UploadStep[] {
  return steps.map(({ copyOffsetBytes, copyLengthBytes, zeroBytes, dataBytes }) => ({
    copyOffset: BigInt(copyOffsetBytes),
    copyLength: BigInt(copyLengthBytes),
    zeroLength: BigInt(zeroBytes),
    dataLength: dataBytes,
  }));
}
