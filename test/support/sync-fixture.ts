/**
 * A sync server over real sockets with replicas in memory, and a client for it.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ChannelCredentials, type ClientDuplexStream, credentials, Metadata } from '@grpc/grpc-js';
import { createLogger } from '../../common/ops/logger.ts';
import { type Address, parseAddress } from '../../common/rpc/address.ts';
import { readMessages, writeMessage } from '../../common/rpc/call-stream.ts';
import { createClient } from '../../common/rpc/connect.ts';
import { unary } from '../../common/rpc/unary.ts';
import { Batch, type Change } from '../../gen/lockstep/sync/v1/change.ts';
import { EntryKind } from '../../gen/lockstep/sync/v1/entry.ts';
import {
  type ApplyChangesRequest,
  type ApplyChangesResponse,
  SyncServiceClient,
  type UploadContentRequest,
  type UploadContentResponse,
  UploadContentRequest as UploadContentRequestCodec,
} from '../../gen/lockstep/sync/v1/sync_service.ts';
import { DEFAULT_LIMITS, type Limits } from '../../services/sync-server/rpc/limits.ts';
import {
  type OpenFolder,
  type RunningServer,
  type ServerSetup,
  startServer,
} from '../../services/sync-server/server.ts';
import { MemoryReplica } from './memory-replica.ts';

export interface FixtureOptions {
  readonly folders?: readonly string[];
  readonly limits?: Partial<Limits>;
  readonly setup?: Partial<ServerSetup>;
  /** Default: replicas in memory. With others `replicas` stays empty. */
  readonly openFolder?: OpenFolder;
}

export class SyncFixture {
  readonly server: RunningServer;
  readonly replicas: ReadonlyMap<string, MemoryReplica>;
  readonly directory: string;
  readonly client: SyncServiceClient;
  readonly #clients: SyncServiceClient[] = [];
  #isStopped = false;

  private constructor(server: RunningServer, replicas: ReadonlyMap<string, MemoryReplica>, directory: string) {
    this.server = server;
    this.replicas = replicas;
    this.directory = directory;
    this.client = this.connect();
  }

  static async start(options: FixtureOptions = {}): Promise<SyncFixture> {
    const directory = mkdtempSync(join(tmpdir(), 'lockstep-server-'));
    const replicas = new Map<string, MemoryReplica>();
    const setup: ServerSetup = {
      folders: (options.folders ?? ['default']).map((name) => ({
        name,
        directory: join(directory, name),
        stateDirectory: join(directory, name, '.lockstep'),
      })),
      listen: parseAddress('127.0.0.1:0'),
      http: undefined,
      httpIsOptional: false,
      tls: undefined,
      insecure: false,
      readyFile: undefined,
      version: '0.0.0-test',
      limits: { ...DEFAULT_LIMITS, ...options.limits },
      ...options.setup,
    };
    const open = async ({ name }: { readonly name: string }) => {
      const replica = new MemoryReplica(name);
      replicas.set(name, replica);
      return replica;
    };
    try {
      const server = await startServer(
        setup,
        options.openFolder ?? open,
        createLogger({ name: 'server', level: 'silent' }),
      );
      return new SyncFixture(server, replicas, directory);
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  get replica(): MemoryReplica {
    const [replica] = this.replicas.values();
    if (replica === undefined) throw new Error('no folder');
    return replica;
  }

  get address(): Address {
    return this.server.grpc;
  }

  stateDirectory(folder = 'default'): string {
    return join(this.directory, folder, '.lockstep');
  }

  /** A client with a connection of its own. */
  connect(channel: ChannelCredentials = credentials.createInsecure()): SyncServiceClient {
    const client = createClient(SyncServiceClient, this.address, channel, { role: 'control' });
    this.#clients.push(client);
    return client;
  }

  async acquire(options: { holderId?: Buffer; holder?: string; takeOver?: boolean; metadata?: Metadata } = {}) {
    const request = {
      folder: 'default',
      holderId: options.holderId ?? HOLDER_ID,
      holder: options.holder ?? 'test',
      takeOver: options.takeOver ?? false,
      knownEpoch: '',
      knownRevision: 0n,
    };
    return unary(this.client, this.client.acquireLease, request, { metadata: options.metadata });
  }

  /** An open stream of changes; its first answer is taken. */
  async openChanges(lease: bigint, acknowledgement: 1 | 2 = 1, client = this.client): Promise<ChangesStream> {
    const stream = new ChangesStream(client);
    await stream.send({ message: { $case: 'open', value: { folder: 'default', lease, acknowledgement } } });
    const first = await stream.next();
    if (first.$case !== 'opened') throw new Error(`unexpected ${first.$case}`);
    return stream;
  }

  /** Applies changes under a new lease and gives it back. */
  async apply(...changes: readonly Change[]) {
    const { lease } = await this.acquire({ takeOver: true });
    const stream = await this.openChanges(lease);
    await stream.sendBatch(changes);
    const applied = await stream.nextApplied();
    await stream.close();
    return applied;
  }

  async stop(): Promise<void> {
    if (this.#isStopped) return;
    this.#isStopped = true;
    for (const client of this.#clients) client.close();
    await this.server.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export const HOLDER_ID = Buffer.alloc(16, 1);
export const OTHER_HOLDER_ID = Buffer.alloc(16, 2);

type ChangesAnswer = NonNullable<ApplyChangesResponse['message']>;

export class ChangesStream {
  readonly call: ClientDuplexStream<ApplyChangesRequest, ApplyChangesResponse>;
  readonly #answers: AsyncGenerator<ApplyChangesResponse, void, undefined>;

  constructor(client: SyncServiceClient, metadata = new Metadata()) {
    this.call = client.applyChanges(metadata);
    this.#answers = readMessages(this.call);
  }

  async send(message: ApplyChangesRequest): Promise<void> {
    await writeMessage(this.call, message);
  }

  async sendBatch(changes: readonly Change[], batchId: Buffer = randomBytes(16)): Promise<Buffer> {
    await this.send({ message: { $case: 'batch', value: Batch.fromPartial({ batchId, changes: [...changes] }) } });
    return batchId;
  }

  /** The next answer; throws the stream's error when there is none. */
  async next(): Promise<ChangesAnswer> {
    const { value, done } = await this.#answers.next();
    if (done === true || value.message === undefined) throw new Error('the stream has ended');
    return value.message;
  }

  async nextApplied() {
    const answer = await this.next();
    if (answer.$case !== 'applied') throw new Error(`unexpected ${answer.$case}`);
    return answer.value;
  }

  /** Half-closes, and waits until the server has ended the stream too. */
  async close(): Promise<readonly ChangesAnswer[]> {
    this.call.end();
    const rest: ChangesAnswer[] = [];
    for await (const { message } of this.#answers) if (message !== undefined) rest.push(message);
    return rest;
  }
}

export class UploadStream {
  readonly call: ClientDuplexStream<UploadContentRequest, UploadContentResponse>;
  readonly #answers: AsyncGenerator<UploadContentResponse, void, undefined>;

  constructor(client: SyncServiceClient) {
    this.call = client.uploadContent();
    this.#answers = readMessages(this.call);
  }

  async send(fields: Partial<UploadContentRequest>): Promise<void> {
    await writeMessage(this.call, UploadContentRequestCodec.fromPartial(fields));
  }

  async next(): Promise<UploadContentResponse> {
    const { value, done } = await this.#answers.next();
    if (done === true) throw new Error('the stream has ended');
    return value;
  }

  async close(): Promise<readonly UploadContentResponse[]> {
    this.call.end();
    const rest: UploadContentResponse[] = [];
    for await (const answer of this.#answers) rest.push(answer);
    return rest;
  }
}

export function putFile(path: string, content: string | Buffer, mode = 0o644): Change {
  const data = Buffer.from(content);
  const entry = {
    path,
    kind: EntryKind.ENTRY_KIND_FILE,
    mode,
    mtimeNs: 1_700_000_000_000_000_000n,
    size: BigInt(data.length),
    digest: Buffer.alloc(0),
    target: Buffer.alloc(0),
    owner: undefined,
  };
  return { operation: { $case: 'putFile', value: { entry, content: { $case: 'inline', value: data } } } };
}

export function makeDirectory(path: string): Change {
  const entry = {
    path,
    kind: EntryKind.ENTRY_KIND_DIRECTORY,
    mode: 0o755,
    mtimeNs: 1_700_000_000_000_000_000n,
    size: 0n,
    digest: Buffer.alloc(0),
    target: Buffer.alloc(0),
    owner: undefined,
  };
  return { operation: { $case: 'makeDirectory', value: { entry } } };
}

export function deletePath(path: string): Change {
  return { operation: { $case: 'delete', value: { path } } };
}

/** The metadata of a call with this token. */
export function bearer(text: string): Metadata {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${text}`);
  return metadata;
}

/** The reason that a promise fails with. */
export async function reasonOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return error instanceof Error && 'reason' in error ? String(error.reason) : String(error);
  }
  return 'no error';
}

export async function collect<T>(messages: AsyncIterable<T>): Promise<readonly T[]> {
  const all: T[] = [];
  for await (const message of messages) all.push(message);
  return all;
}

/** Waits until a condition holds; the mocha timeout is the bound. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
