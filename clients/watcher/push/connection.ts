/**
 * The channels to one server and the calls that go over them: one for changes, comparisons and small calls, a few
 * others for contents, so that bulk never delays an acknowledgement. A connection that broke is thrown away; the next
 * attempt makes a new one (grpc-node#2785).
 */
import { type ClientDuplexStream, type ClientReadableStream, Metadata } from '@grpc/grpc-js';
import type { Address } from '../../../common/rpc/address.ts';
import { superviseCall } from '../../../common/rpc/call-supervision.ts';
import { createClient } from '../../../common/rpc/connect.ts';
import {
  type ChangesFrame,
  type EncodedUpload,
  serializeChanges,
  serializeUploadContent,
} from '../../../common/rpc/hot-codec.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { formatFingerprint } from '../../../common/rpc/key-fingerprint.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { type CompareTreeRequest } from '../../../gen/lockstep/sync/v1/compare.ts';
import {
  type AcquireLeaseRequest,
  type AcquireLeaseResponse,
  type ApplyChangesResponse,
  type GetEntryRequest,
  type GetEntryResponse,
  type GetServerInfoRequest,
  type GetServerInfoResponse,
  type GetSignatureRequest,
  type GetSignatureResponse,
  type ListEntriesRequest,
  type ListEntriesResponse,
  SyncServiceClient,
  SyncServiceService,
  type UploadContentRequest,
  type UploadContentResponse,
  type VerifyFolderRequest,
  type VerifyFolderResponse,
} from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { decodeCompareAnswer, type DecodedAnswer } from './compare-answer.ts';
import { certificateTrouble, mismatchTrouble } from './certificate-trouble.ts';
import { channelCredentials, readToken, type SecurityOptions, usesTls } from './credentials.ts';

export interface ConnectionOptions {
  readonly address: Address;
  readonly security: SecurityOptions;
  /** Channels for contents, 1..4; they connect when they are needed. Default 4. */
  readonly bulkChannels?: number | undefined;
  /** The directory that is kept in step over this connection, if one is. */
  readonly watched?: string | undefined;
}

export type ChangesCall = ClientDuplexStream<ChangesFrame, ApplyChangesResponse>;
export type CompareCall = ClientDuplexStream<CompareTreeRequest, DecodedAnswer>;
export type UploadCall = ClientDuplexStream<UploadContentRequest | EncodedUpload, UploadContentResponse>;

/** How long a small call may take, connecting included, in milliseconds. */
const CALL_DEADLINE_MS = 10_000;
/** A server that has just started may still be replaying its log: reads and writes wait for that. */
const RECOVERY_DEADLINE_MS = 120_000;

export class Connection {
  readonly address: Address;
  readonly watched: string | undefined;
  readonly #control: SyncServiceClient;
  readonly #makeBulk: () => SyncServiceClient;
  readonly #bulk: { readonly client: SyncServiceClient; openCalls: number }[] = [];
  readonly #bulkChannels: number;
  readonly #metadata = new Metadata();
  readonly #usesTls: boolean;
  /** File of the authorities that are trusted instead of the system's. */
  readonly #ca: string | undefined;
  /** Digest of the key of a server that is not the pinned one. */
  #foreignKey: Uint8Array | undefined;

  /** @throws LockstepError USAGE when certificates or token cannot be used. */
  constructor(options: ConnectionOptions) {
    const { address, security } = options;
    this.address = address;
    this.#ca = security.ca;
    this.#usesTls = usesTls(address, security);
    this.watched = options.watched;
    const credentials = channelCredentials(address, security, (presented) => {
      this.#foreignKey = presented;
    });
    const token = readToken(security);
    // Not call credentials: those are refused on plaintext channels, also on this machine's own.
    if (token !== undefined) this.#metadata.set('authorization', `Bearer ${token}`);
    const make = (role: 'control' | 'bulk') => createClient(SyncServiceClient, address, credentials, { role });
    this.#control = make('control');
    this.#makeBulk = () => make('bulk');
    this.#bulkChannels = options.bulkChannels ?? 4;
  }

  getServerInfo(request: GetServerInfoRequest, signal: AbortSignal): Promise<GetServerInfoResponse> {
    return this.#recognised(
      unary(this.#control, this.#control.getServerInfo, request, this.#unaryOptions(CALL_DEADLINE_MS, signal)),
    );
  }

  acquireLease(request: AcquireLeaseRequest, signal: AbortSignal): Promise<AcquireLeaseResponse> {
    return unary(this.#control, this.#control.acquireLease, request, this.#unaryOptions(RECOVERY_DEADLINE_MS, signal));
  }

  getEntry(request: GetEntryRequest, signal: AbortSignal): Promise<GetEntryResponse> {
    return this.#recognised(
      unary(this.#control, this.#control.getEntry, request, this.#unaryOptions(RECOVERY_DEADLINE_MS, signal)),
    );
  }

  /** Batches travel as they were serialized by the engine; they are not decoded on the way. */
  applyChanges(): ChangesCall {
    const { path, responseDeserialize } = SyncServiceService.applyChanges;
    return supervised(
      this.#control.makeBidiStreamRequest<ChangesFrame, ApplyChangesResponse>(
        path,
        serializeChanges,
        responseDeserialize,
        this.#metadata,
      ),
    );
  }

  compareTree(): CompareCall {
    const { path, requestSerialize } = SyncServiceService.compareTree;
    return supervised(
      this.#control.makeBidiStreamRequest<CompareTreeRequest, DecodedAnswer>(
        path,
        requestSerialize,
        decodeCompareAnswer,
        this.#metadata,
      ),
    );
  }

  /** On the bulk channel with the fewest calls. */
  uploadContent(): UploadCall {
    const channel = this.#leastBusyBulk();
    const { path, responseDeserialize } = SyncServiceService.uploadContent;
    const call = supervised(
      channel.client.makeBidiStreamRequest<UploadContentRequest | EncodedUpload, UploadContentResponse>(
        path,
        serializeUploadContent,
        responseDeserialize,
        this.#metadata,
      ),
    );
    channel.openCalls++;
    call.once('status', () => channel.openCalls--);
    return call;
  }

  /** On a channel for contents: it may be long, and must not delay what is small. */
  getSignature(request: GetSignatureRequest): ClientReadableStream<GetSignatureResponse> {
    return supervised(this.#leastBusyBulk().client.getSignature(request, this.#metadata));
  }

  listEntries(request: ListEntriesRequest): ClientReadableStream<ListEntriesResponse> {
    return supervised(this.#control.listEntries(request, this.#metadata));
  }

  verifyFolder(request: VerifyFolderRequest): ClientReadableStream<VerifyFolderResponse> {
    return supervised(this.#control.verifyFolder(request, this.#metadata));
  }

  /** No new calls; those that are open are their owners' to cancel, and keep their sockets until then. */
  close(): void {
    this.#control.close();
    for (const { client } of this.#bulk) client.close();
  }

  /** Says that another server stands there, or one that is not trusted, where gRPC only says that it has no connection. */
  async #recognised<T>(call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      if (this.#foreignKey === undefined) {
        if (!(error instanceof LockstepError)) throw error;
        const server = this.address.text;
        const mismatch = mismatchTrouble(error, server, this.#usesTls);
        throw mismatch ?? (this.#usesTls ? certificateTrouble(error, server, this.#ca) : undefined) ?? error;
      }
      const presented = formatFingerprint(this.#foreignKey);
      throw new LockstepError(
        'UNAUTHENTICATED',
        `the server at ${this.address.text} is not the expected one: its key is ${presented}; if it was replaced, ask for a new invitation`,
        { cause: error },
      );
    }
  }

  #unaryOptions(deadlineMs: number, signal: AbortSignal) {
    return { deadlineMs, signal, metadata: this.#metadata };
  }

  #leastBusyBulk(): { readonly client: SyncServiceClient; openCalls: number } {
    let best = this.#bulk[0];
    for (const channel of this.#bulk) {
      if (best === undefined || channel.openCalls < best.openCalls) best = channel;
    }
    if (best !== undefined && (best.openCalls === 0 || this.#bulk.length >= this.#bulkChannels)) return best;
    const channel = { client: this.#makeBulk(), openCalls: 0 };
    this.#bulk.push(channel);
    return channel;
  }
}

/** From its first turn on, so that no early error of the call goes unheard. */
function supervised<C extends Parameters<typeof superviseCall>[0]>(call: C): C {
  superviseCall(call);
  return call;
}
