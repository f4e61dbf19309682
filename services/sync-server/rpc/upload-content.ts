/**
 * UploadContent: contents into the replica's staging, one after the other on a stream. Parts go to the replica as
 * they come, up to a bound of bytes ahead of it; finishing one content (which syncs it) overlaps with the next one.
 */
import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { Digest } from '../../../common/content/digest.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { endWithError, readMessages, writeMessage } from '../../../common/rpc/call-stream.ts';
import { isMalformed, type Malformed } from '../../../common/rpc/hot-codec.ts';
import { streamHandler } from '../../../common/rpc/serve.ts';
import type {
  LocalFile,
  UploadContentRequest,
  UploadContentResponse,
} from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { Upload } from '../replica/replica.ts';
import { ByteWindow } from './byte-window.ts';
import type { ServedFolder, SyncContext } from './sync-context.ts';
import { beginFromWire, copiedBytesOf, partFromWire, zeroBytesOf } from './upload-message.ts';
import { digestFromWire } from './wire-values.ts';

type UploadCall = ServerDuplexStream<UploadContentRequest | Malformed, UploadContentResponse>;

/** Bytes of one stream that the replica has not written yet. There may be several streams at once. */
const MAX_UNWRITTEN_BYTES = 4 * 2 ** 20;
/** What a part costs beside its bytes, so that very many copies of ranges, which have none, are bounded too. */
const PART_OVERHEAD_BYTES = 1024;
const STEP_OVERHEAD_BYTES = 128;
/** Zeros are not held, but they are hashed: what comes within a second or two may wait, not what takes hours. */
const ZERO_SHARE = 2 ** -6;
/** What a finish counts for: it holds no bytes, but a sync is work too. */
const FINISH_BYTES = 256 * 2 ** 10;
/** How often the client hears how far a content is. */
const PROGRESS_BYTES = 2 ** 20;
const NO_DIGEST = new Uint8Array(0);

export function uploadContent(context: SyncContext) {
  return streamHandler(async (call: UploadCall, signal) => {
    const session = new UploadSession(context, call, signal);
    try {
      for await (const message of readMessages(call)) {
        if (isMalformed(message))
          throw new LockstepError('INVALID_ARGUMENT', 'a message is not an UploadContentRequest');
        await session.take(message);
      }
      await session.settle();
    } finally {
      await session.close();
    }
  }, context.onCallError);
}

/** The content that messages of the stream continue. */
interface CurrentContent {
  readonly uploadId: Buffer;
  readonly sizeBytes: number;
  readonly digest: Digest | undefined;
  readonly upload: Upload;
  readonly isLocal: boolean;
  /** Settles with the last part's committed size. */
  written: Promise<number>;
  announcedSizeBytes: number;
}

class UploadSession {
  readonly #context: SyncContext;
  readonly #call: UploadCall;
  readonly #signal: AbortSignal;
  readonly #window = new ByteWindow(MAX_UNWRITTEN_BYTES);
  readonly #finishing = new Set<Promise<void>>();
  /** Folder and lease of the stream, from its first message. */
  #opened: { readonly served: ServedFolder; readonly lease: bigint; readonly disconnect: () => void } | undefined;
  #current: CurrentContent | undefined;

  constructor(context: SyncContext, call: UploadCall, signal: AbortSignal) {
    this.#context = context;
    this.#call = call;
    this.#signal = signal;
    // At once: what the stream still waits for must not hold the place of the one that the client opens instead.
    signal.addEventListener('abort', () => this.#opened?.disconnect(), { once: true });
  }

  /** Takes the next message; resolves when there is room for another. */
  async take(message: UploadContentRequest): Promise<void> {
    if (message.uploadId.length > 0) await this.#begin(message);
    const current = this.#current;
    if (current === undefined)
      throw new LockstepError('INVALID_ARGUMENT', 'a message continues a content that was not begun');
    // What still comes of a content that was found is not needed.
    if (current.upload.complete) return;
    // Before the data is given away: the digest is a view of the same received message.
    const digest = digestFromWire(message.digest, 'digest') ?? current.digest;
    this.#write(current, message);
    if (message.finish) this.#finish(current, digest);
    await this.#window.untilRoom(this.#signal);
  }

  /** Waits until all that was taken is answered. */
  async settle(): Promise<void> {
    await this.#current?.written;
    await Promise.all(this.#finishing);
  }

  /** What was begun and not finished stays for resumption. */
  async close(): Promise<void> {
    this.#opened?.disconnect();
    await this.#leaveCurrent();
    // Their failures were answered when they happened.
    await Promise.allSettled(this.#finishing);
  }

  async #begin(message: UploadContentRequest): Promise<void> {
    await this.#leaveCurrent();
    const { served, lease } = this.#open(message);
    const begin = beginFromWire(message, lease, (path) => this.#context.pathOf(path), this.#context.limits);
    if (message.localFile !== undefined) requireProof(served, begin.uploadId, message.localFile);
    const upload = await served.replica.beginUpload(begin);
    const announcedSizeBytes = upload.committedSizeBytes;
    if (upload.complete) this.#countBytes(0, begin.sizeBytes);
    this.#current = {
      uploadId: begin.uploadId,
      sizeBytes: begin.sizeBytes,
      digest: begin.digest,
      upload,
      isLocal: begin.localFile !== undefined,
      written: Promise.resolve(announcedSizeBytes),
      announcedSizeBytes,
    };
    await this.#answer(begin.uploadId, announcedSizeBytes, upload.complete);
  }

  /** The lease is checked again for each content; the stream is registered with the first. */
  #open(message: UploadContentRequest): { readonly served: ServedFolder; readonly lease: bigint } {
    const before = this.#opened;
    if (before !== undefined) {
      const { replica } = before.served;
      if (message.folder !== '' && message.folder !== replica.folder) {
        throw new LockstepError('INVALID_ARGUMENT', 'one stream uploads to one folder');
      }
      if (message.lease === before.lease || message.lease === 0n) return before;
    }
    const served = before?.served ?? this.#context.authorizeStream(this.#call, message.folder, 'write');
    const end = (error: LockstepError) => endWithError(this.#call, error);
    before?.disconnect();
    this.#signal.throwIfAborted();
    this.#opened = { served, lease: message.lease, disconnect: served.leases.connectUpload(message.lease, { end }) };
    return this.#opened;
  }

  #write(current: CurrentContent, message: UploadContentRequest): void {
    const part = partFromWire(message, current.sizeBytes);
    if (part === undefined) return;
    const sizeBytes = part.data.length;
    const zeroBytes = zeroBytesOf(part.steps);
    const stepBytes = STEP_OVERHEAD_BYTES * (part.steps?.length ?? 0) + zeroBytes * ZERO_SHARE;
    const waitingBytes = sizeBytes + PART_OVERHEAD_BYTES + stepBytes;
    this.#window.add(waitingBytes);
    this.#countBytes(sizeBytes, copiedBytesOf(part.steps) + zeroBytes + (part.decompressedSizeBytes ?? sizeBytes));
    const written = current.upload.write(part).then(async (committedSizeBytes) => {
      this.#window.remove(waitingBytes);
      await this.#announceProgress(current, committedSizeBytes);
      return committedSizeBytes;
    });
    current.written = current.written.then(() => written);
    // The first failure ends the stream at once; nobody may be waiting for it at that moment.
    written.catch((error: unknown) => endWithError(this.#call, error));
    current.written.catch(() => undefined);
  }

  #finish(current: CurrentContent, digest: Digest | undefined): void {
    if (digest === undefined && !current.isLocal) {
      throw new LockstepError('INVALID_ARGUMENT', 'a content is finished without its digest');
    }
    this.#current = undefined;
    this.#window.add(FINISH_BYTES);
    const finished = this.#complete(current, digest).finally(() => {
      this.#window.remove(FINISH_BYTES);
      this.#finishing.delete(finished);
    });
    this.#finishing.add(finished);
    finished.catch((error: unknown) => endWithError(this.#call, error));
  }

  async #complete(current: CurrentContent, digest: Digest | undefined): Promise<void> {
    try {
      await current.written;
    } catch (error) {
      await current.upload.suspend();
      throw error;
    }
    const actual = await current.upload.finish(digest);
    const folder = this.#opened?.served.replica.folder ?? '';
    this.#context.metrics.uploads.add(1, { folder });
    await this.#answer(current.uploadId, current.sizeBytes, true, digest === undefined ? actual : undefined);
  }

  async #announceProgress(current: CurrentContent, committedSizeBytes: number): Promise<void> {
    if (committedSizeBytes - current.announcedSizeBytes < PROGRESS_BYTES || current.upload.complete) return;
    // Who does not read how far it is need not be told: answers that wait would add up.
    if (this.#call.writableNeedDrain) return;
    current.announcedSizeBytes = committedSizeBytes;
    await this.#answer(current.uploadId, committedSizeBytes, false);
  }

  #answer(
    uploadId: Buffer,
    committedSizeBytes: number,
    complete: boolean,
    digest: Uint8Array = NO_DIGEST,
  ): Promise<void> {
    const answer = { uploadId, committedSize: BigInt(committedSizeBytes), complete, digest };
    return writeMessage(this.#call, answer, this.#signal);
  }

  /** `rawBytes` is how much of the content those bytes stand for. */
  #countBytes(wireBytes: number, rawBytes: number): void {
    const served = this.#opened?.served;
    served?.traffic.carried({ wireBytes, rawBytes });
    if (wireBytes > 0) this.#context.metrics.uploadBytes.add(wireBytes, { folder: served?.replica.folder ?? '' });
  }

  async #leaveCurrent(): Promise<void> {
    const current = this.#current;
    this.#current = undefined;
    if (current === undefined || current.upload.complete) return;
    // A part that failed has ended the stream already; what was written before it stays.
    await current.written.catch(() => undefined);
    await current.upload.suspend();
  }
}

/** Or anybody with a token could have files read to which only the server has the right. */
function requireProof({ localKey }: ServedFolder, uploadId: Buffer, { path, proof }: LocalFile): void {
  if (localKey?.proves(uploadId, path, proof) === true) return;
  throw new LockstepError(
    'PERMISSION_DENIED',
    'the proof that goes with local_file was not made with the key that holds here',
  );
}
