/**
 * Hostile bytes against a listening server: connections that are not quite HTTP/2, and messages that are not quite ours,
 * to every RPC. After each round a good client is served; nothing outside of the replica is touched.
 */
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { Client, credentials, Metadata, status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { createLogger } from '../../common/ops/logger.ts';
import { parseAddress } from '../../common/rpc/address.ts';
import { createClient } from '../../common/rpc/connect.ts';
import { unary } from '../../common/rpc/unary.ts';
import { Batch, type Change } from '../../gen/lockstep/sync/v1/change.ts';
import { Compressor, EntryKind } from '../../gen/lockstep/sync/v1/entry.ts';
import { CompareTreeRequest } from '../../gen/lockstep/sync/v1/compare.ts';
import {
  AcquireLeaseRequest,
  ApplyChangesRequest,
  GetEntryRequest,
  GetServerInfoRequest,
  GetSignatureRequest,
  ListEntriesRequest,
  ReadContentRequest,
  SyncServiceClient,
  UploadContentRequest,
  VerifyFolderRequest,
  WatchChangesRequest,
} from '../../gen/lockstep/sync/v1/sync_service.ts';
import { openFolder } from '../../services/sync-server/open-folder.ts';
import { type OpenFolder, type RunningServer, startServer } from '../../services/sync-server/server.ts';
import { MemoryReplica } from '../support/memory-replica.ts';
import { deletePath, makeDirectory, putFile } from '../support/sync-fixture.ts';
import { BUDGET_MS, fuzz, PATIENCE_MS, type Random } from './fuzzing.ts';

const CALLS_AT_ONCE = 8;
/** A call that has not ended by then hangs. WatchChanges goes on by design, and is asked for less. */
const CALL_DEADLINE_MS = 15_000;
const WATCH_DEADLINE_MS = 100;
const MAX_GROWTH_BYTES = 400 * 2 ** 20;
const HOLDER_ID = Buffer.alloc(16, 7);
const SERVICE_PATH = '/lockstep.sync.v1.SyncService/';

describe('hostile bytes', function () {
  this.timeout(BUDGET_MS + PATIENCE_MS);
  const memory: OpenFolder = async ({ name }) => new MemoryReplica(name);

  for (const [kind, open] of [
    ['in memory', memory],
    ['on disk', openFolder],
  ] as const) {
    describe(`against a server with its replica ${kind}`, () => {
      let target: Target;
      before(async () => {
        target = await Target.start(open);
      });
      after(() => target.stop());

      if (open !== memory) {
        it('messages to every RPC, mutated or random, end in a status of their own', async () => {
          await fuzz((random) => target.callRound(random));
        });
        return;
      }

      it('connections that speak almost HTTP/2 are closed or ignored', async () => {
        const recorded = await recordCall(target.port);
        await fuzz((random) => target.connectionRound(random, recorded));
      });
    });
  }
});

class Target {
  readonly #server: RunningServer;
  readonly #base: string;
  readonly #client: SyncServiceClient;
  readonly #raw: Client;
  readonly #sentinel: string;
  readonly #memoryBefore = process.memoryUsage().rss;
  readonly port: number;
  #lease = 0n;

  private constructor(server: RunningServer, base: string) {
    this.#server = server;
    this.#base = base;
    const address = server.grpc;
    this.port = address.kind === 'tcp' ? address.port : 0;
    this.#client = createClient(SyncServiceClient, address, credentials.createInsecure(), { role: 'control' });
    this.#raw = new Client(address.target, credentials.createInsecure());
    this.#sentinel = describeTree(join(base, 'sentinel'));
  }

  static async start(open: OpenFolder): Promise<Target> {
    const base = mkdtempSync(join(tmpdir(), 'lockstep-fuzz-'));
    mkdirSync(join(base, 'sentinel/d'), { recursive: true });
    writeFileSync(join(base, 'sentinel/file'), 'sentinel');
    const directory = join(base, 'replica');
    mkdirSync(directory);
    const setup = {
      folders: [{ name: 'default', directory, stateDirectory: join(directory, '.lockstep') }],
      listen: parseAddress('127.0.0.1:0'),
      http: undefined,
      httpIsOptional: false,
      tls: undefined,
      insecure: false,
      readyFile: undefined,
      version: '0.0.0-test',
    };
    return new Target(await startServer(setup, open, createLogger({ name: 'server', level: 'silent' })), base);
  }

  async stop(): Promise<void> {
    this.#client.close();
    this.#raw.close();
    await this.#server.stop();
    const { sentinel, names } = {
      sentinel: describeTree(join(this.#base, 'sentinel')),
      names: readdirSync(this.#base),
    };
    rmSync(this.#base, { recursive: true, force: true });
    expect(sentinel).to.equal(this.#sentinel);
    expect(names.sort()).to.deep.equal(['replica', 'sentinel']);
    expect(process.memoryUsage().rss - this.#memoryBefore).to.be.lessThan(MAX_GROWTH_BYTES);
  }

  async callRound(random: Random): Promise<void> {
    await this.#beServed();
    const questions = questionsOf(this.#lease);
    const calls = Array.from({ length: CALLS_AT_ONCE }, () => {
      const [rpc, sequences] = random.pick(questions);
      const messages = random.pick(sequences).map((message) => {
        // Most messages of a sequence stay valid, so that the later ones are reached.
        const fate = random.below(6);
        if (fate < 3) return message;
        return fate === 5 ? random.bytes(random.below(200)) : random.mutated(message);
      });
      return this.#call(rpc, messages);
    });
    await Promise.all(calls);
  }

  async connectionRound(random: Random, recorded: Buffer): Promise<void> {
    await Promise.all(Array.from({ length: CALLS_AT_ONCE }, () => send(this.port, random.mutated(recorded))));
    await this.#beServed();
  }

  /** A good client gets what it asks for, now. */
  async #beServed(): Promise<void> {
    const request = AcquireLeaseRequest.fromPartial({ folder: 'default', holderId: HOLDER_ID, takeOver: true });
    const client = this.#client;
    this.#lease = (await unary(client, client.acquireLease, request, { deadlineMs: CALL_DEADLINE_MS })).lease;
  }

  #call(rpc: string, messages: readonly Buffer[]): Promise<void> {
    const same = (bytes: Buffer) => bytes;
    const deadline = Date.now() + (rpc === 'WatchChanges' ? WATCH_DEADLINE_MS : CALL_DEADLINE_MS);
    const call = this.#raw.makeBidiStreamRequest(SERVICE_PATH + rpc, same, same, new Metadata(), { deadline });
    for (const message of messages) call.write(message);
    call.end();
    call.resume();
    return new Promise((resolve, reject) => {
      call.on('error', () => {
        // The status says the same.
      });
      call.on('status', ({ code, details }) => {
        const isOpenByDesign = rpc === 'WatchChanges' && code === status.DEADLINE_EXCEEDED;
        if (isOpenByDesign || isOwnAnswer(code, details)) return resolve();
        const sent = messages.map((message) => message.toString('hex').slice(0, 400)).join(' ');
        reject(new Error(`${rpc} ended with ${code} ${details} after ${sent}`));
      });
    });
  }
}

/** Unknown, internal and data loss are defects; grpc-js itself says "internal" of bytes that are no message. */
function isOwnAnswer(code: status, details: string): boolean {
  if (code === status.INTERNAL) return /deserializ|Multiple messages|RST_STREAM|parsing/i.test(details);
  return code !== status.UNKNOWN && code !== status.DATA_LOSS && code !== status.DEADLINE_EXCEEDED;
}

type Questions = readonly (readonly [rpc: string, sequences: readonly (readonly Buffer[])[]])[];

/** To each RPC, sequences of valid messages. */
function questionsOf(lease: bigint): Questions {
  const folder = 'default';
  const bytes = (encoded: { finish(): Uint8Array }) => Buffer.from(encoded.finish());
  const open = bytes(
    ApplyChangesRequest.encode({ message: { $case: 'open', value: { folder, lease, acknowledgement: 1 } } }),
  );
  const batch = (...changes: readonly Change[]) => {
    const value = Batch.fromPartial({ batchId: Buffer.alloc(16, Number(lease % 251n)), changes: [...changes] });
    return bytes(ApplyChangesRequest.encode({ message: { $case: 'batch', value } }));
  };
  const compressed = (...changes: readonly Change[]) => {
    const plain = Batch.encode(Batch.fromPartial({ batchId: Buffer.alloc(16, 1), changes: [...changes] })).finish();
    const value = { compressor: Compressor.COMPRESSOR_ZSTD, size: BigInt(plain.length), data: zstdCompressSync(plain) };
    return bytes(ApplyChangesRequest.encode({ message: { $case: 'compressedBatch', value } }));
  };
  const upload = (fields: Partial<UploadContentRequest>) =>
    bytes(UploadContentRequest.encode(UploadContentRequest.fromPartial(fields)));
  const escapes = [
    '../sentinel/file',
    'out/file',
    'd/../../sentinel/file',
    '.lockstep/index.db',
    '%2E%2E/sentinel/file',
  ];
  const begin = { folder, lease, uploadId: Buffer.alloc(16, 3), size: 5n };
  const path = 'd/a';
  return [
    ['GetServerInfo', [[bytes(GetServerInfoRequest.encode({ clientVersion: 'x' }))]]],
    [
      'AcquireLease',
      [
        [
          bytes(
            AcquireLeaseRequest.encode(
              AcquireLeaseRequest.fromPartial({ folder, holderId: HOLDER_ID, takeOver: true }),
            ),
          ),
        ],
      ],
    ],
    [
      'CompareTree',
      [
        ['', 'd', 'out'].map((at) =>
          bytes(CompareTreeRequest.encode({ folder, path: at, treeDigest: Buffer.alloc(32, 1) })),
        ),
      ],
    ],
    [
      'UploadContent',
      [
        [upload({ ...begin, data: Buffer.from('he') }), upload({ offset: 2n, data: Buffer.from('llo') })],
        [upload({ ...begin, data: Buffer.from('hello'), finish: true, digest: Buffer.alloc(32, 1) })],
      ],
    ],
    [
      'ApplyChanges',
      [
        [open, batch(makeDirectory('d'), putFile(path, 'content')), batch(move(path, 'd/b'), deletePath('d/b'))],
        [
          open,
          batch(link('out', '../sentinel'), putFile('out/x', 'through'), move('out/d', 'e'), deletePath('out/file')),
        ],
        [open, ...escapes.map((escape) => batch(putFile(escape, 'escaped'), deletePath(escape), move(escape, 'x')))],
        [open, compressed(makeDirectory('d'), putFile(path, 'content'))],
        [open, batch(deletePath('out'), deletePath('d'))],
      ],
    ],
    ['GetSignature', [[bytes(GetSignatureRequest.encode({ folder, digest: Buffer.alloc(32) }))]]],
    [
      'ListEntries',
      [[bytes(ListEntriesRequest.encode({ folder, path: '', recursive: true, after: 'a', limit: 10n, links: false }))]],
    ],
    ['GetEntry', [...escapes, path].map((at) => [bytes(GetEntryRequest.encode({ folder, path: at }))])],
    [
      'ReadContent',
      [...escapes, path].map((at) => [bytes(ReadContentRequest.encode({ folder, path: at, offset: 1n, length: 3n }))]),
    ],
    ['WatchChanges', [[bytes(WatchChangesRequest.encode({ folder, epoch: '', afterRevision: 0n }))]]],
    ['VerifyFolder', [[bytes(VerifyFolderRequest.encode({ folder, path: 'd', repair: false }))]]],
  ];
}

function move(from: string, to: string): Change {
  return { operation: { $case: 'move', value: { from, to } } };
}

function link(path: string, target: string): Change {
  const entry = {
    path,
    kind: EntryKind.ENTRY_KIND_SYMLINK,
    mode: 0o777,
    mtimeNs: 1n,
    size: 0n,
    digest: Buffer.alloc(0),
    target: Buffer.from(target),
    owner: undefined,
  };
  return { operation: { $case: 'makeSymlink', value: { entry } } };
}

/** Names, modes, times and contents of everything below a directory. */
function describeTree(directory: string): string {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .sort()
    .map((name) => {
      const path = join(directory, name);
      const { mode, mtimeMs, ino } = lstatSync(path);
      return `${name} ${mode} ${mtimeMs} ${ino} ${lstatSync(path).isFile() ? readFileSync(path, 'utf8') : ''}`;
    })
    .join('\n');
}

/** The bytes that a client sends for one call, as they are on the wire. */
async function recordCall(port: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  const recorder = createServer((socket) => {
    const server = connect(port, '127.0.0.1');
    socket.on('data', (part: Buffer) => {
      parts.push(part);
      server.write(part);
    });
    server.pipe(socket);
    for (const end of [socket, server]) {
      end.on('error', () => {
        socket.destroy();
        server.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => recorder.listen(0, '127.0.0.1', resolve));
  const session = connectHttp2(`http://127.0.0.1:${(recorder.address() as AddressInfo).port}`);
  const headers = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };
  const stream = session.request({ ...headers, ':path': `${SERVICE_PATH}GetServerInfo` });
  stream.end(Buffer.alloc(5));
  stream.resume();
  await new Promise((resolve) => stream.once('close', resolve));
  session.destroy();
  recorder.close();
  return Buffer.concat(parts);
}

/** Sends the bytes, and goes when the server has nothing more to say. */
function send(port: number, bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.end(bytes));
    socket.resume();
    socket.on('error', () => socket.destroy());
    // What the server does not close for itself, within its own time, is closed from here: that it lives is asked after.
    socket.setTimeout(100, () => socket.destroy());
    socket.once('close', () => resolve());
  });
}
