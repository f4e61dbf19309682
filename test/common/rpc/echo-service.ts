/**
 * A service with a unary and three streaming methods, and a started server and client for it on a free port.
 */
import {
  type Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  type handleBidiStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  makeGenericClientConstructor,
  type Metadata,
  type Server,
  ServerCredentials,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { parseAddress, type TcpAddress, tcpAddress } from '../../../common/rpc/address.ts';
import { type ClientConstructor, createClient } from '../../../common/rpc/connect.ts';
import { bindServer, createServer } from '../../../common/rpc/server-options.ts';
import { TrackedCalls } from '../../../common/rpc/tracked-calls.ts';
import type { UnaryMethod } from '../../../common/rpc/unary.ts';

export interface Note {
  readonly text: string;
}

const encode = (note: Note) => Buffer.from(JSON.stringify(note));
const decode = (bytes: Buffer): Note => JSON.parse(bytes.toString());
const codec = {
  requestSerialize: encode,
  requestDeserialize: decode,
  responseSerialize: encode,
  responseDeserialize: decode,
};

export const EchoService = {
  say: { path: '/test.Echo/Say', requestStream: false, responseStream: false, ...codec },
  list: { path: '/test.Echo/List', requestStream: false, responseStream: true, ...codec },
  chat: { path: '/test.Echo/Chat', requestStream: true, responseStream: true, ...codec },
} as const;

export interface EchoClient extends Client {
  say: UnaryMethod<Note, Note>;
  list(request: Note, metadata?: Metadata): ClientReadableStream<Note>;
  chat(metadata?: Metadata): ClientDuplexStream<Note, Note>;
}

export const EchoClient = makeGenericClientConstructor(EchoService, 'Echo') as unknown as ClientConstructor<EchoClient>;

export interface EchoHandlers {
  say?: handleUnaryCall<Note, Note>;
  list?: handleServerStreamingCall<Note, Note>;
  chat?: handleBidiStreamingCall<Note, Note>;
}

export interface EchoPair {
  readonly server: Server;
  readonly calls: TrackedCalls;
  readonly client: EchoClient;
  readonly address: TcpAddress;
  stop(): void;
}

export async function startEcho(
  handlers: EchoHandlers,
  prepare: (server: Server) => void = () => {},
): Promise<EchoPair> {
  const server = createServer();
  const calls = new TrackedCalls();
  const implementation: UntypedServiceImplementation = { ...handlers };
  server.addService(EchoService, calls.tracking(EchoService, implementation));
  prepare(server);
  const port = await bindServer(server, parseAddress('127.0.0.1:0'), ServerCredentials.createInsecure());
  const address = tcpAddress('127.0.0.1', port);
  const client = createClient(EchoClient, address, credentials.createInsecure(), { role: 'control' });
  const stop = () => {
    client.close();
    server.forceShutdown();
  };
  return { server, calls, client, address, stop };
}

/** What a promise rejects with. */
export async function errorOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('expected a rejection');
}
