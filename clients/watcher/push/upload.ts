/**
 * One content's way to the server over one UploadContent call: where to begin, the chunks, the proof at the end. Knows
 * nothing of other uploads, nor of retries.
 */
import type { Digest } from '../../../common/content/digest.ts';
import { Deferred, untilAborted } from '../../../common/ops/async.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { readMessages } from '../../../common/rpc/call-stream.ts';
import { superviseCall } from '../../../common/rpc/call-supervision.ts';
import { Compressor } from '../../../gen/lockstep/sync/v1/entry.ts';
import type { UploadContentRequest } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { UploadRequest } from '../engine/messages.ts';
import type { UploadCall } from './connection.ts';
import type { TransferOptions } from './content-messages.ts';
import type { ContentChunk, ContentReader } from './content-reader.ts';

export interface UploadContext {
  readonly content: ContentReader;
  readonly folder: string;
  readonly lease: bigint;
  readonly transfer: Omit<TransferOptions, 'fromBytes'>;
}

export interface UploadAttempt {
  readonly request: UploadRequest;
  /** Ask the server first how much of it arrived earlier. */
  readonly resume: boolean;
  /** Called for each message, with the bytes that it puts on the wire. */
  readonly onSent: (wireBytes: number) => void;
  /** Called when all is sent and only the server's answer is missing. */
  readonly onAllSent: () => void;
}

/** Where a stream stands when the server has answered a resumption. */
interface Standing {
  readonly committedBytes: number;
  readonly isComplete: boolean;
}

/**
 * Resolves with the content's digest when the server has it whole and durable. The call is over afterwards.
 * @throws LockstepError of the server; BUSY when the file changed; the signal's reason.
 */
export async function uploadOver(
  call: UploadCall,
  context: UploadContext,
  attempt: UploadAttempt,
  signal: AbortSignal,
): Promise<Digest> {
  const supervision = superviseCall(call);
  const over = new AbortController();
  const stopListening = supervision.onOver(() => over.abort(supervision.overError()));
  const answers = new Answers(call, attempt.request);
  try {
    const begin = beginning(context, attempt);
    call.write(begin);
    const standing = attempt.resume
      ? await untilAborted(answers.standing.promise, signal)
      : { committedBytes: 0, isComplete: false };
    const digest = await send(call, context, attempt, standing, AbortSignal.any([signal, over.signal]));
    attempt.onAllSent();
    if (!standing.isComplete) await untilAborted(answers.complete.promise, signal);
    call.end();
    return digest;
  } catch (error) {
    call.cancel();
    throw error;
  } finally {
    stopListening();
  }
}

async function send(
  call: UploadCall,
  context: UploadContext,
  attempt: UploadAttempt,
  { committedBytes, isComplete }: Standing,
  signal: AbortSignal,
): Promise<Digest> {
  const options = { ...context.transfer, fromBytes: committedBytes };
  for await (const chunk of context.content.read(attempt.request, options, signal)) {
    if (isComplete) chunk.release();
    else {
      const message = continuation(chunk);
      // grpc-js has copied the bytes when it calls back; not more than the granted chunks ever wait.
      call.write(message, () => chunk.release());
      attempt.onSent(chunk.data.length);
    }
    if (chunk.digest !== undefined) return chunk.digest;
  }
  throw new LockstepError('INTERNAL', 'a content ended without its digest');
}

/** The server's side of the call. */
class Answers {
  readonly standing = new Deferred<Standing>();
  readonly complete = new Deferred<void>();
  readonly #request: UploadRequest;

  constructor(call: UploadCall, request: UploadRequest) {
    this.#request = request;
    for (const { promise } of [this.standing, this.complete]) {
      promise.catch(() => {
        // Whoever waits gets the error; an upload that was given up earlier needs none.
      });
    }
    this.#receive(call).catch((error: unknown) => {
      this.standing.reject(error);
      this.complete.reject(error);
    });
  }

  async #receive(call: UploadCall): Promise<void> {
    for await (const { committedSize, complete } of readMessages(call)) {
      if (committedSize > BigInt(this.#request.sizeBytes)) {
        throw new LockstepError('INVALID_ARGUMENT', 'the server says that it holds more of a content than there is');
      }
      this.standing.resolve({ committedBytes: Number(committedSize), isComplete: complete });
      if (complete) this.complete.resolve();
    }
    throw new LockstepError('SERVER_UNREACHABLE', 'the server ended an upload before it was complete');
  }
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
  copyLength: 0n,
  copyOffset: 0n,
  data: NO_BYTES,
  compressor: Compressor.COMPRESSOR_UNSPECIFIED,
  dataSize: 0,
  finish: false,
};

function beginning(context: UploadContext, { request, resume }: UploadAttempt): UploadContentRequest {
  return {
    ...EMPTY,
    folder: context.folder,
    lease: context.lease,
    uploadId: Buffer.from(request.uploadId, 'hex'),
    size: BigInt(request.sizeBytes),
    resume,
  };
}

function continuation(chunk: ContentChunk): UploadContentRequest {
  return {
    ...EMPTY,
    offset: BigInt(chunk.offsetBytes),
    data: chunk.data,
    compressor: chunk.compressed ? Compressor.COMPRESSOR_ZSTD : Compressor.COMPRESSOR_UNSPECIFIED,
    dataSize: chunk.compressed ? chunk.contentBytes : 0,
    digest: chunk.digest ?? NO_BYTES,
    finish: chunk.digest !== undefined,
  };
}
