/**
 * A scripted SyncService in memory: it keeps what it is told, answers as the protocol says, and misbehaves on request.
 * For tests of clients; it has no replica.
 */
import { zstdDecompressSync } from 'node:zlib';
import {
  type handleBidiStreamingCall,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerWritableStream,
} from '@grpc/grpc-js';
import { digestOf } from '../../common/content/digest.ts';
import { LockstepError } from '../../common/ops/errors.ts';
import { type Address, parseAddress } from '../../common/rpc/address.ts';
import { endWithError, readMessages, writeMessage } from '../../common/rpc/call-stream.ts';
import { streamHandler, unaryHandler } from '../../common/rpc/serve.ts';
import { Batch } from '../../gen/lockstep/sync/v1/change.ts';
import { Compressor, DigestFunction, type Entry } from '../../gen/lockstep/sync/v1/entry.ts';
import { type CompareTreeRequest, CompareTreeResponse } from '../../gen/lockstep/sync/v1/compare.ts';
import {
  type AcquireLeaseRequest,
  type AcquireLeaseResponse,
  type ApplyChangesRequest,
  type ApplyChangesResponse,
  type BatchApplied,
  FolderState,
  GetServerInfoResponse,
  type ListEntriesRequest,
  type ListEntriesResponse,
  type Mismatch,
  type SyncServiceServer,
  SyncServiceService,
  type UploadContentRequest,
  type UploadContentResponse,
  type VerifyFolderRequest,
  type VerifyFolderResponse,
} from '../../gen/lockstep/sync/v1/sync_service.ts';

export interface FakeServerScript {
  readonly protocolVersion?: number;
  readonly folders?: readonly string[];
  readonly zstd?: boolean;
  /** Thrown by AcquireLease. */
  readonly onAcquire?: (request: AcquireLeaseRequest, attempt: number) => LockstepError | undefined;
  /** Overrides parts of a batch's answer, ends the stream with an error, or stays silent. */
  readonly onBatch?: (batch: Batch, number: number) => Partial<BatchApplied> | LockstepError | 'silent' | undefined;
  /** Batches are answered only when the client has said that all is sent. */
  readonly answersAtEnd?: boolean;
  /** Ends the upload with an error when it returns one. */
  readonly onUpload?: (
    message: UploadContentRequest,
    stagedBytes: number,
    attempt: number,
  ) => LockstepError | undefined;
  /** The parts of an answer; the last of an array says that it is, those of an endless one say it themselves. Or the stream ends. */
  readonly onCompare?: (request: CompareTreeRequest) => Iterable<Partial<CompareTreeResponse>> | LockstepError | 'end';
  /** Overrides parts of what GetServerInfo and AcquireLease answer. */
  readonly onInfo?: (info: GetServerInfoResponse) => GetServerInfoResponse;
  readonly onLease?: (answer: AcquireLeaseResponse) => AcquireLeaseResponse;
  /** Sent at once instead of what the protocol says, for each message of an upload. */
  readonly onUploadAnswer?: (message: UploadContentRequest) => readonly Partial<UploadContentResponse>[];
  /** Sent behind `opened` on each stream of changes, or before it. */
  readonly unasked?: {
    readonly before?: readonly ApplyChangesResponse[];
    readonly after?: Iterable<ApplyChangesResponse>;
  };
  /** For ListEntries, in tree order. */
  readonly entries?: readonly Entry[];
  /** For VerifyFolder. */
  readonly mismatches?: readonly Mismatch[];
  /** Refuses calls without this bearer token. */
  readonly token?: string;
}

export class FakeServer {
  readonly script: FakeServerScript;
  readonly batches: Batch[] = [];
  readonly acquisitions: AcquireLeaseRequest[] = [];
  readonly uploads: UploadContentRequest[] = [];
  /** By digest in hex. */
  readonly contents = new Map<string, Buffer>();
  /** By upload id in hex. */
  readonly staged = new Map<string, Buffer>();
  readonly peers = new Set<string>();
  openChanges = 0;
  halfCloses = 0;
  lease = 0n;
  revision = 41n;
  #server = new Server();
  #uploadAttempts = 0;
  readonly #calls = new Set<ServerDuplexStream<ApplyChangesRequest, ApplyChangesResponse>>();
  #address: Address | undefined;

  constructor(script: FakeServerScript = {}) {
    this.script = script;
  }

  get address(): Address {
    if (this.#address === undefined) throw new Error('the fake server was not started');
    return this.#address;
  }

  async start(port = 0): Promise<Address> {
    this.#server = new Server({ 'grpc.max_receive_message_length': 4 * 2 ** 20 });
    this.#server.addService(SyncServiceService, this.#implementation());
    const bound = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, actual) => {
        if (error === null) resolve(actual);
        else reject(error);
      });
    });
    this.#address = parseAddress(`127.0.0.1:${bound}`);
    return this.#address;
  }

  /** As a crash would look to clients. */
  async stop(): Promise<void> {
    this.#server.forceShutdown();
  }

  /** Sends something that nobody asked for, on every stream of changes. */
  async push(response: ApplyChangesResponse): Promise<void> {
    for (const call of this.#calls) await writeMessage(call, response);
  }

  /** Ends every stream of changes, with an error or as if all were said. */
  endChanges(error?: LockstepError): void {
    for (const call of this.#calls) {
      if (error === undefined) call.end();
      else endWithError(call, error);
    }
  }

  #implementation(): SyncServiceServer {
    const unused = () => {
      throw new LockstepError('UNIMPLEMENTED', 'the fake server does not have this');
    };
    const bidi = <Request, Response>(
      run: (call: ServerDuplexStream<Request, Response>, signal: AbortSignal) => Promise<void>,
    ): handleBidiStreamingCall<Request, Response> =>
      streamHandler(async (call: ServerDuplexStream<Request, Response>, signal) => {
        this.#authorize(call.metadata.get('authorization')[0]);
        this.peers.add(call.getPeer());
        await run(call, signal);
      });
    return {
      getServerInfo: unaryHandler(async (call) => {
        this.#authorize(call.metadata.get('authorization')[0]);
        return this.script.onInfo?.(this.#info()) ?? this.#info();
      }),
      acquireLease: unaryHandler(async (call) => {
        const answer = this.#acquire(call.request);
        return this.script.onLease?.(answer) ?? answer;
      }),
      compareTree: bidi((call) => this.#compare(call)),
      uploadContent: bidi((call) => this.#upload(call)),
      applyChanges: bidi((call) => this.#apply(call)),
      getSignature: streamHandler(async () => unused()),
      listEntries: streamHandler((call: ServerWritableStream<ListEntriesRequest, ListEntriesResponse>) =>
        this.#list(call),
      ),
      getEntry: unaryHandler(async () => ({
        entry: {
          path: '',
          kind: 2,
          mode: 0o755,
          mtimeNs: 0n,
          size: 0n,
          digest: Buffer.alloc(32, 1),
          target: Buffer.alloc(0),
          owner: undefined,
        },
        revision: this.revision,
      })),
      readContent: streamHandler(async () => unused()),
      watchChanges: streamHandler(async () => unused()),
      verifyFolder: streamHandler(async (call: ServerWritableStream<VerifyFolderRequest, VerifyFolderResponse>) => {
        for (const value of this.script.mismatches ?? [])
          await writeMessage(call, { message: { $case: 'mismatch', value } });
        const value = { entries: 0n, contentBytes: 0n, mismatches: 0n, revision: this.revision };
        await writeMessage(call, { message: { $case: 'summary', value } });
      }),
    };
  }

  #authorize(header: string | Buffer | undefined): void {
    if (this.script.token === undefined || header === `Bearer ${this.script.token}`) return;
    throw new LockstepError('UNAUTHENTICATED', 'the token is missing or unknown');
  }

  #info(): GetServerInfoResponse {
    const folders = (this.script.folders ?? ['default']).map((folder) => ({
      folder,
      epoch: 'epoch-1',
      headRevision: this.revision,
      durableRevision: this.revision,
      digestFunction: DigestFunction.DIGEST_FUNCTION_BLAKE3,
      entries: 0n,
      contentBytes: 0n,
      state: FolderState.FOLDER_STATE_READY,
      stateReason: '',
      keepsOwners: false,
      holder: '',
    }));
    return GetServerInfoResponse.fromPartial({
      serverVersion: '0.0.0-fake',
      protocolVersion: this.script.protocolVersion ?? 1,
      limits: {
        maxMessageBytes: 4n << 20n,
        maxBatchBytes: 3n << 20n,
        maxBatchChanges: 1000,
        maxInlineBytes: 65_536n,
        maxPathBytes: 65_536,
        maxPathDepth: 1024,
        maxContentBytes: 1n << 44n,
        maxEntries: 0n,
        maxInFlightBytes: 8n << 20n,
        maxUploadStreams: 8,
        leaseGraceMs: 10_000,
        stagedContentTtlMs: 3_600_000n,
      },
      digestFunctions: [DigestFunction.DIGEST_FUNCTION_BLAKE3],
      compressors: this.script.zstd ? [Compressor.COMPRESSOR_ZSTD] : [],
      folders,
    });
  }

  #acquire(request: AcquireLeaseRequest): AcquireLeaseResponse {
    this.acquisitions.push(request);
    const error = this.script.onAcquire?.(request, this.acquisitions.length);
    if (error !== undefined) throw error;
    this.lease++;
    return {
      lease: this.lease,
      epoch: 'epoch-1',
      headRevision: this.revision,
      headBatchId: Buffer.alloc(0),
      digestFunction: DigestFunction.DIGEST_FUNCTION_BLAKE3,
      entries: 0n,
      localKeyPath: '',
      rootTreeDigest: Buffer.alloc(32, 1),
    };
  }

  async #compare(call: ServerDuplexStream<CompareTreeRequest, CompareTreeResponse>): Promise<void> {
    for await (const request of readMessages(call)) {
      const parts = this.script.onCompare?.(request) ?? [{ equal: true }];
      if (parts === 'end') return;
      if (parts instanceof LockstepError) throw parts;
      let index = 0;
      for (const part of parts) {
        const last = Array.isArray(parts) && ++index === parts.length;
        await writeMessage(call, { ...CompareTreeResponse.fromPartial({ path: request.path, last }), ...part });
      }
    }
  }

  async #apply(call: ServerDuplexStream<ApplyChangesRequest, ApplyChangesResponse>): Promise<void> {
    this.openChanges++;
    this.#calls.add(call);
    const held: Batch[] = [];
    try {
      for await (const { message } of readMessages(call)) {
        if (message?.$case === 'open') {
          if (message.value.lease !== this.lease) throw new LockstepError('LEASE_STALE', 'a newer lease was given out');
          const opened = { headRevision: this.revision };
          for (const response of this.script.unasked?.before ?? []) await writeMessage(call, response);
          await writeMessage(call, { message: { $case: 'opened', value: opened } });
          for (const response of this.script.unasked?.after ?? []) await writeMessage(call, response);
        } else if (message !== undefined) {
          const batch = message.$case === 'batch' ? message.value : inflated(message.value.data);
          if (this.script.answersAtEnd === true) held.push(batch);
          else await this.#answerBatch(call, batch);
        }
      }
      this.halfCloses++;
      for (const batch of held) await this.#answerBatch(call, batch);
    } finally {
      this.openChanges--;
      this.#calls.delete(call);
    }
  }

  async #answerBatch(call: ServerDuplexStream<ApplyChangesRequest, ApplyChangesResponse>, batch: Batch): Promise<void> {
    this.batches.push(batch);
    const answer = this.script.onBatch?.(batch, this.batches.length);
    if (answer === 'silent') return;
    if (answer instanceof LockstepError) throw answer;
    this.revision++;
    const value = { batchId: batch.batchId, revision: this.revision, durable: true, problems: [], ...answer };
    await writeMessage(call, { message: { $case: 'applied', value } });
  }

  async #upload(call: ServerDuplexStream<UploadContentRequest, UploadContentResponse>): Promise<void> {
    const attempt = ++this.#uploadAttempts;
    let id = '';
    let size = 0n;
    for await (const message of readMessages(call)) {
      this.uploads.push(message);
      if (this.script.onUploadAnswer !== undefined) {
        for (const answer of this.script.onUploadAnswer(message)) {
          const plain = { committedSize: 0n, complete: false, digest: Buffer.alloc(0) };
          await writeMessage(call, { uploadId: message.uploadId, ...plain, ...answer });
        }
        continue;
      }
      if (message.uploadId.length > 0) {
        id = Buffer.from(message.uploadId).toString('hex');
        size = message.size;
      }
      let staged = this.staged.get(id) ?? Buffer.alloc(0);
      const error = this.script.onUpload?.(message, staged.length, attempt);
      if (error !== undefined) throw error;
      if (message.resume) {
        const committedSize = BigInt(staged.length);
        await writeMessage(call, {
          uploadId: message.uploadId,
          committedSize,
          complete: false,
          digest: Buffer.alloc(0),
        });
        continue;
      }
      const isBeginning = message.uploadId.length > 0 && message.data.length === 0;
      if (message.offset !== BigInt(staged.length)) {
        const details = { committed_size: String(staged.length) };
        throw new LockstepError('OFFSET_MISMATCH', 'the offset is not the committed size', { details });
      }
      if (isBeginning) continue;
      const data =
        message.compressor === Compressor.COMPRESSOR_ZSTD
          ? zstdDecompressSync(message.data)
          : Buffer.from(message.data);
      staged = Buffer.concat([staged, data]);
      this.staged.set(id, staged);
      if (message.finish) await this.#complete(call, id, size, message.digest);
    }
  }

  async #complete(
    call: ServerDuplexStream<UploadContentRequest, UploadContentResponse>,
    id: string,
    size: bigint,
    digest: Uint8Array,
  ): Promise<void> {
    const content = this.staged.get(id) ?? Buffer.alloc(0);
    this.staged.delete(id);
    if (BigInt(content.length) !== size || !digestOf('blake3', content).equals(digest)) {
      throw new LockstepError('DIGEST_MISMATCH', 'what arrived is not what was announced');
    }
    this.contents.set(Buffer.from(digest).toString('hex'), content);
    await writeMessage(call, {
      uploadId: Buffer.from(id, 'hex'),
      committedSize: size,
      complete: true,
      digest: Buffer.alloc(0),
    });
  }

  async #list(call: ServerWritableStream<ListEntriesRequest, ListEntriesResponse>): Promise<void> {
    this.#authorize(call.metadata.get('authorization')[0]);
    const entries = this.script.entries ?? [];
    // Two parts, so that their seam is tested.
    const half = Math.ceil(entries.length / 2);
    for (const part of [entries.slice(0, half), entries.slice(half)]) {
      await writeMessage(call, { entries: part, linkIds: [], revision: this.revision });
    }
  }
}

function inflated(data: Uint8Array): Batch {
  return Batch.decode(zstdDecompressSync(data));
}
