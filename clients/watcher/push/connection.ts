/**
 * The channels to one server and the calls that go over them: one for changes, comparisons and small calls, a few
 * others for contents, so that bulk never delays an acknowledgement. A connection that broke is thrown away; the next
 * attempt makes a new one (platform-facts 2.8).
 */
import { type ClientDuplexStream, type ClientReadableStream, Metadata } from '@grpc/grpc-js';
import type { Address } from '../../../common/rpc/address.ts';
import { superviseCall } from '../../../common/rpc/call-supervision.ts';
import { createClient } from '../../../common/rpc/connect.ts';
import { type ChangesFrame, serializeChanges, serializeUploadContent } from '../../../common/rpc/hot-codec.ts';
import { unary } from '../../../common/rpc/unary.ts';
import {
  type AcquireLeaseRequest,
  type AcquireLeaseResponse,
  type ApplyChangesResponse,
  type CompareTreeRequest,
  type GetEntryRequest,
  type GetEntryResponse,
  type GetServerInfoRequest,
  type GetServerInfoResponse,
  type ListEntriesRequest,
  type ListEntriesResponse,
  SyncServiceClient,
  SyncServiceService,
  type UploadContentRequest,
  type UploadContentResponse,
} from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { decodeCompareAnswer, type DecodedAnswer } from './compare-answer.ts';
import { channelCredentials, readToken, type SecurityOptions } from './credentials.ts';

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
export type UploadCall = ClientDuplexStream<UploadContentRequest, UploadContentResponse>;

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

  /** @throws LockstepError USAGE when certificates or token cannot be used. */
  constructor(options: ConnectionOptions) {
    const { address, security } = options;
    this.address = address;
    this.watched = options.watched;
    const credentials = channelCredentials(address, security);
    const token = readToken(security);
    // Not call credentials: those are refused on plaintext channels, also on this machine's own.
    if (token !== undefined) this.#metadata.set('authorization', `Bearer ${token}`);
    this.#control = createClient(SyncServiceClient, address, credentials, { role: 'control' });
    this.#makeBulk = () => createClient(SyncServiceClient, address, credentials, { role: 'bulk' });
    this.#bulkChannels = options.bulkChannels ?? 4;
  }

  getServerInfo(request: GetServerInfoRequest, signal: AbortSignal): Promise<GetServerInfoResponse> {
    return unary(this.#control, this.#control.getServerInfo, request, this.#unaryOptions(CALL_DEADLINE_MS, signal));
  }

  acquireLease(request: AcquireLeaseRequest, signal: AbortSignal): Promise<AcquireLeaseResponse> {
    return unary(this.#control, this.#control.acquireLease, request, this.#unaryOptions(RECOVERY_DEADLINE_MS, signal));
  }

  getEntry(request: GetEntryRequest, signal: AbortSignal): Promise<GetEntryResponse> {
    return unary(this.#control, this.#control.getEntry, request, this.#unaryOptions(RECOVERY_DEADLINE_MS, signal));
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
      channel.client.makeBidiStreamRequest<UploadContentRequest, UploadContentResponse>(
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

  listEntries(request: ListEntriesRequest): ClientReadableStream<ListEntriesResponse> {
    return supervised(this.#control.listEntries(request, this.#metadata));
  }

  /** No new calls; those that are open are their owners' to cancel, and keep their sockets until then. */
  close(): void {
    this.#control.close();
    for (const { client } of this.#bulk) client.close();
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
