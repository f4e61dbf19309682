/**
 * The main thread's handle of the content worker: contents as streams of chunks. What is in memory per content is
 * bounded by its grants; buffers go back to the worker once their bytes are on the wire.
 */
import { closeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { type Digest, digestFromBytes } from '../../../common/content/digest.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { AsyncQueue } from '../../../common/ops/async.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { YOUNG_GENERATION } from '../../../common/ops/garbage-collection.ts';
import { threadEnded } from '../../../common/ops/thread-end.ts';
import { UPLOAD_HEAD_ROOM_BYTES } from '../../../common/rpc/head-room.ts';
import { displayPath } from '../../../common/tree/tree-path.ts';
import { workerUrl } from '../../../common/ops/worker-url.ts';
import {
  CHUNK_BUFFER_BYTES,
  type ContentCommand,
  type ContentEvent,
  type ContentStep,
  type ExpectedFile,
  type TransferOptions,
} from './content-messages.ts';
import { openExpected } from './expected-file.ts';

/** Chunks of one content that may be in memory, on their way from the disk to the wire: 2 MiB. */
const GRANTS_PER_CONTENT = 8;

export interface ContentChunk {
  readonly offsetBytes: number;
  /** The bytes, or one zstd frame of them. Not to be touched after `release`. */
  readonly data: Uint8Array;
  /** Whether the bytes before `data` in its buffer are free for the message around it. */
  readonly hasHeadRoom: boolean;
  /** Length of the content that this chunk stands for, copied ranges included. */
  readonly contentBytes: number;
  /** When `data` is a frame: the length of what it stands for. */
  readonly literalBytes: number | undefined;
  /** Which ranges of the basis, and how many zeros, come where between the data. Empty: there are only data. */
  readonly steps: readonly ContentStep[];
  /** In the last chunk of a delta: the packed signature of the content. */
  readonly signature: Uint8Array | undefined;
  /** In the last chunk: the digest of the whole content. */
  readonly digest: Digest | undefined;
  /** To be called once, when the bytes were copied or sent: another chunk may be read. */
  release(): void;
}

interface Transfer {
  readonly file: ExpectedFile;
  readonly chunks: AsyncQueue<ContentChunk>;
}

export class ContentReader {
  readonly #directory: string;
  readonly #transfers = new Map<number, Transfer>();
  #worker: Worker | undefined;
  #nextTransfer = 1;
  #isClosed = false;

  /** The thread starts with the first content, or when one is said to come. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** A content will be read soon: the thread starts while whoever wants it still waits for something else. */
  prepare(): void {
    if (!this.#isClosed) this.#worker ??= this.#start();
  }

  /**
   * The file's content in order, proved at its end to be that of the file as it was expected. Leaving the loop early
   * ends the reading.
   * @throws LockstepError BUSY when the file is not, or no longer, what was expected; PERMISSION_DENIED or IO when it
   *   cannot be read; the signal's reason when it aborts.
   */
  async *read(file: ExpectedFile, options: TransferOptions, signal: AbortSignal): AsyncGenerator<ContentChunk, void> {
    signal.throwIfAborted();
    if (this.#isClosed) throw new LockstepError('CANCELLED', 'the content reader is closed');
    const id = this.#nextTransfer++;
    const chunks = new AsyncQueue<ContentChunk>({ maxBytes: GRANTS_PER_CONTENT });
    let hasEnded = false;
    const onAbort = () => chunks.close(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    this.#transfers.set(id, { file, chunks });
    try {
      this.#post({ type: 'open', transfer: id, file, options, grants: GRANTS_PER_CONTENT });
      for await (const chunk of chunks) {
        hasEnded = chunk.digest !== undefined;
        yield chunk;
        if (hasEnded) return;
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#transfers.delete(id);
      if (!hasEnded) this.#post({ type: 'cancel', transfer: id });
    }
  }

  /**
   * Whether the file is what was expected, without reading it. At once: no thread is started for that.
   * @throws LockstepError BUSY when it is not; PERMISSION_DENIED or IO when it cannot be opened.
   */
  check(file: ExpectedFile): void {
    using root = SafeRoot.open(this.#directory);
    const fd = openExpected(root, file);
    if (fd === undefined) throw changed(file);
    closeSync(fd);
  }

  /** Ends the thread; what is being read fails. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#failAll(new LockstepError('CANCELLED', 'the content reader is closed'));
    if (this.#worker === undefined) return;
    const close: ContentCommand = { type: 'close' };
    this.#worker.postMessage(close);
    await threadEnded(this.#worker);
  }

  #post(command: ContentCommand): void {
    if (this.#isClosed) return;
    this.#worker ??= this.#start();
    const reused = command.type === 'grant' ? command.buffer : undefined;
    this.#worker.postMessage(command, reused === undefined ? [] : [reused]);
  }

  #start(): Worker {
    const worker = new Worker(workerUrl('./content-worker.ts', import.meta.url), {
      workerData: { directory: this.#directory },
      name: 'content',
      resourceLimits: YOUNG_GENERATION.ofContents,
    });
    worker.on('message', (event: ContentEvent) => this.#receive(event));
    worker.on('error', (error) => {
      // The next content starts a new thread: one file that breaks it must not end all reading.
      this.#worker = undefined;
      this.#failAll(new LockstepError('INTERNAL', 'the content worker failed', { cause: error }));
    });
    // The program ends when its work is done; this thread alone is no reason to go on.
    worker.unref();
    return worker;
  }

  #receive(event: ContentEvent): void {
    const transfer = this.#transfers.get(event.transfer);
    if (transfer === undefined) return;
    switch (event.type) {
      case 'chunk':
        // There is room for as many as were granted. Those of a reading that was given up meanwhile go nowhere.
        if (!transfer.chunks.tryPush(this.#chunkOf(event)))
          transfer.chunks.close(new LockstepError('INTERNAL', 'more of a content came than was granted'));
        break;
      case 'changed':
        transfer.chunks.close(changed(transfer.file));
        break;
      case 'failed':
        transfer.chunks.close(new LockstepError(event.reason, event.message, { path: transfer.file.path }));
        break;
    }
  }

  #chunkOf(event: Extract<ContentEvent, { type: 'chunk' }>): ContentChunk {
    const { transfer, offsetBytes, data, contentBytes, literalBytes, steps, signature, digest } = event;
    // Frames, and the literal data of deltas, are in memory of their own length.
    const isPooled = data.buffer.byteLength === CHUNK_BUFFER_BYTES && data.byteOffset === UPLOAD_HEAD_ROOM_BYTES;
    return {
      offsetBytes,
      data,
      hasHeadRoom: isPooled,
      contentBytes,
      literalBytes,
      steps,
      signature,
      digest: digest === undefined ? undefined : digestFromBytes(digest),
      release: () => this.#post({ type: 'grant', transfer, buffer: isPooled ? data.buffer : undefined }),
    };
  }

  #failAll(error: LockstepError): void {
    for (const { chunks } of this.#transfers.values()) chunks.close(error);
  }
}

function changed({ path }: ExpectedFile): LockstepError {
  return new LockstepError('BUSY', `${displayPath(path)} changed while it was read`, { path });
}
