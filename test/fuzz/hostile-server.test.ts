/**
 * A server that says anything (S34), against the watcher as a process. Whatever it answers: nothing is ever written into what is
 * watched, the watcher ends or goes on with one sentence of its own, no byte steers the terminal, and its memory stays bounded.
 */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { createServer as createTcpServer, type Server as NetServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { type ChangeProblem, ChangeProblemKind } from '../../gen/lockstep/sync/v1/change.ts';
import type { DigestFunction } from '../../gen/lockstep/sync/v1/entry.ts';
import { type Entry, EntryKind } from '../../gen/lockstep/sync/v1/entry.ts';
import type { CompareTreeResponse } from '../../gen/lockstep/sync/v1/compare.ts';
import type { ApplyChangesResponse } from '../../gen/lockstep/sync/v1/sync_service.ts';
import { eventually } from '../support/eventually.ts';
import { FakeServer, type FakeServerScript } from '../support/fake-server.ts';
import { type Finished, WatcherProcess } from '../watcher/cli/run-watcher.ts';

/** What Node, its threads and an index need; 200 MB lie between this and what an unbounded list would take. */
const MAX_MEMORY_BYTES = 400 * 2 ** 20;
const ESCAPES = '../../../tmp/x\u001b]0;owned\u0007\u202e';
/** What a server keeps busy for ever is told to stop then. */
const ENDED_BY_SIGTERM = 143;
const LONGEST_MS = 3000;
const HUGE = 2n ** 63n - 1n;

function child(path: string, fields: Partial<Entry> = {}): Entry {
  const digest = Buffer.alloc(32, 3);
  const empty = { mode: 0o755, mtimeNs: 1n, size: 0n, digest, target: Buffer.alloc(0), owner: undefined };
  return { path, kind: EntryKind.ENTRY_KIND_DIRECTORY, ...empty, ...fields };
}

function problem(fields: Partial<ChangeProblem>): ChangeProblem {
  const kind = ChangeProblemKind.CHANGE_PROBLEM_KIND_FAILED;
  return { index: 0, path: 'a', kind, reason: 'IO', message: 'no', ...fields };
}

const applied = (batchId: Uint8Array, revision: bigint): ApplyChangesResponse => ({
  message: { $case: 'applied', value: { batchId, revision, durable: true, problems: [] } },
});
const drifted = (...paths: readonly string[]): ApplyChangesResponse => ({
  message: { $case: 'drifted', value: { paths: [...paths], headRevision: 50n } },
});
const durable = (revision: bigint): ApplyChangesResponse => ({ message: { $case: 'durable', value: { revision } } });

function* repeated<T>(count: number, make: (at: number) => T): Generator<T> {
  for (let at = 0; at < count; at++) yield make(at);
}

/** Files that nobody has, a thousand a message, in order, and never the last. */
function* endlessChildren(): Generator<{ readonly children: Entry[] }> {
  const file = { kind: EntryKind.ENTRY_KIND_FILE, mode: 0o644 };
  for (let part = 0; ; part++) {
    const name = (at: number) => `x${String(part).padStart(12, '0')}${String(at).padStart(4, '0')}`;
    yield { children: Array.from({ length: 1000 }, (_, at) => child(name(at), file)) };
  }
}

/** One answer about the root. */
const aboutRoot = (...children: readonly Entry[]): FakeServerScript => ({
  onCompare: ({ path }) => (path === '' ? [{ children: [...children] }] : [{ equal: true }]),
});

const SCRIPTS: Readonly<Record<string, FakeServerScript>> = {
  'limits that are nothing': { onInfo: (info) => ({ ...info, limits: undefined }) },
  'limits of zero': {
    onInfo: (info) => ({
      ...info,
      limits: { ...info.limits!, maxBatchBytes: 0n, maxBatchChanges: 0, maxInFlightBytes: 0n },
    }),
  },
  'limits without end': {
    onInfo: (info) => ({
      ...info,
      limits: {
        ...info.limits!,
        maxMessageBytes: HUGE,
        maxBatchBytes: HUGE,
        maxBatchChanges: 2 ** 32 - 1,
        maxInlineBytes: HUGE,
        maxInFlightBytes: HUGE,
        maxUploadStreams: 2 ** 32 - 1,
      },
    }),
  },
  'fifty thousand folders with names that steer a terminal': {
    onInfo: (info) => ({
      ...info,
      serverVersion: ESCAPES,
      folders: Array.from({ length: 50_000 }, (_, at) => ({
        ...info.folders[0]!,
        folder: `${ESCAPES}${at}`,
        epoch: '',
      })),
    }),
  },
  'a function for digests that nobody knows': {
    onLease: (answer) => ({ ...answer, digestFunction: 99 as DigestFunction }),
  },
  'an epoch of a megabyte, a revision without end, a digest of the wrong length': {
    onLease: (answer) => ({
      ...answer,
      epoch: ESCAPES.repeat(40_000),
      headRevision: 2n ** 64n - 1n,
      headBatchId: Buffer.alloc(1_000_000),
      rootTreeDigest: Buffer.alloc(3),
    }),
  },
  'the same lease again and again, and none': { onLease: (answer) => ({ ...answer, lease: 0n }) },
  'answers to batches that nobody sent': {
    unasked: {
      before: [applied(Buffer.alloc(16, 1), 1n)],
      after: repeated(1000, (at) => applied(Buffer.alloc(at % 33, at), HUGE)),
    },
    onBatch: () => ({ batchId: Buffer.from('somebody else’s') }),
  },
  'revisions that go backwards, and what is durable before it is applied': {
    unasked: { after: [durable(HUGE), durable(0n), durable(2n ** 64n - 1n)] },
    onBatch: (_batch, number) => ({ revision: BigInt(number % 2), durable: false }),
  },
  'problems of changes that are not in the batch, with paths that lead out': {
    onBatch: () => ({
      problems: [
        problem({ index: 2 ** 32 - 1, path: 'nowhere' }),
        problem({ index: 7, kind: ChangeProblemKind.CHANGE_PROBLEM_KIND_CONTENT_NEEDED, path: 'b' }),
        problem({ index: 0, kind: 99 as ChangeProblemKind, reason: ESCAPES, message: ESCAPES }),
      ],
    }),
  },
  'a problem whose path is none': { onBatch: () => ({ problems: [problem({ path: '../../etc/passwd' })] }) },
  'contents needed again and again': {
    onBatch: () => ({
      problems: [problem({ kind: ChangeProblemKind.CHANGE_PROBLEM_KIND_CONTENT_NEEDED, path: 'a' })],
    }),
  },
  'drift at paths that lead out': { unasked: { after: [drifted('../outside', '/etc', 'a/../../b')] } },
  'drift everywhere, without end': {
    unasked: {
      after: repeated(Number.POSITIVE_INFINITY, (at) => drifted(...repeated(1000, (path) => `d/${at}/${path}`))),
    },
  },
  'children that lead out of the tree': aboutRoot(child('../outside')),
  'children of another directory': aboutRoot(child('d/e')),
  'a child without a name': aboutRoot(child('')),
  'children twice, and out of order': aboutRoot(child('x'), child('x'), child('b')),
  'children of no kind, with impossible fields': aboutRoot(
    child('x', { kind: 9 as EntryKind, mode: 0xffff, size: HUGE * 2n, mtimeNs: HUGE }),
  ),
  'children of owners that there cannot be': aboutRoot(
    child('x', { owner: { uid: 2 ** 32 - 1, gid: 0, user: ESCAPES, group: 'x'.repeat(100_000) } }),
  ),
  'a link where the directory was': aboutRoot(
    child('d', { kind: EntryKind.ENTRY_KIND_SYMLINK, target: Buffer.from('/etc') }),
  ),
  'comparisons that were not asked for': { onCompare: () => [{ path: 'elsewhere', equal: true }] },
  'a directory in a directory, without end': {
    onCompare: ({ path }) => [{ children: [child(path === '' ? 'deep' : `${path}/deep`)] }],
  },
  'children without end': {
    onCompare: ({ path }) => (path === '' ? endlessChildren() : [{ equal: true }]),
  },
  'more of a content than there is, and that it is complete': {
    onUploadAnswer: () => [{ committedSize: HUGE, complete: true }],
  },
  'that every content is complete before it came': { onUploadAnswer: () => [{ committedSize: 0n, complete: true }] },
  'answers about contents that nobody uploads': {
    onUploadAnswer: () => Array.from({ length: 1000 }, (_, at) => ({ uploadId: Buffer.alloc(at), complete: true })),
  },
};

const message = (content: Uint8Array, flags = 0) => {
  const head = Buffer.alloc(5, 0);
  head.writeUInt8(flags, 0);
  head.writeUInt32BE(content.length, 1);
  return Buffer.concat([head, content]);
};

const GRPC = { ':status': 200, 'content-type': 'application/grpc' } as const;

/** Answers below gRPC: what arrives on a stream of HTTP/2. */
const RAW_ANSWERS: Readonly<Record<string, (stream: ServerHttp2Stream) => void>> = {
  'bytes that are no message': (stream) => {
    stream.respond(GRPC);
    stream.end(message(Buffer.from('ff'.repeat(500), 'hex')));
  },
  'a gibibyte in a megabyte (S22)': (stream) => {
    stream.respond({ ...GRPC, 'grpc-encoding': 'gzip' });
    stream.end(message(BOMB(), 1));
  },
  'a message of four gibibytes': (stream) => {
    stream.respond(GRPC);
    const zeros = Buffer.alloc(65_536);
    stream.write(Buffer.from('00ffffffff', 'hex'));
    const more = () => {
      while (!stream.destroyed && stream.write(zeros));
    };
    stream.on('drain', more);
    more();
  },
  'a status that steers the terminal, and details that are none': (stream) => {
    const text = encodeURIComponent(ESCAPES);
    stream.respond(
      { ...GRPC, 'grpc-status': '9', 'grpc-message': text, 'grpc-status-details-bin': '////' },
      { endStream: true },
    );
  },
  'a page of HTML': (stream) => {
    stream.respond({ ':status': 500, 'content-type': 'text/html' });
    stream.end('<h1>no</h1>'.repeat(10_000));
  },
  'nothing at all': () => {
    // The stream stays open.
  },
};

let bomb: Buffer | undefined;
const BOMB = () => (bomb ??= gzipSync(Buffer.alloc(2 ** 30), { level: 1 }));

/** A server below gRPC. */
class RawServer {
  readonly #server: NetServer;
  readonly #sockets: Set<Socket>;
  readonly address: string;

  private constructor(server: NetServer, sockets: Set<Socket>) {
    this.#server = server;
    this.#sockets = sockets;
    const address = server.address();
    this.address = `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
  }

  static http2(answer: (stream: ServerHttp2Stream) => void): Promise<RawServer> {
    const server = createHttp2Server();
    server.on('stream', (stream) => {
      stream.on('error', () => {
        // The watcher hangs up.
      });
      answer(stream);
    });
    server.on('sessionError', () => {
      // The same.
    });
    return RawServer.#listening(server);
  }

  /** Sends these bytes again and again, or nothing. */
  static tcp(bytes: Buffer): Promise<RawServer> {
    const server = createTcpServer((socket) => {
      const more = () => {
        while (bytes.length > 0 && socket.writable && socket.write(bytes));
      };
      socket.on('drain', more);
      more();
    });
    return RawServer.#listening(server);
  }

  static async #listening(server: NetServer): Promise<RawServer> {
    const sockets = new Set<Socket>();
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => {
        // Of the watcher's end.
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return new RawServer(server, sockets);
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }
}

describe('a hostile server (S34)', function () {
  this.timeout(60_000);
  let base: string;
  let watched: string;
  let before: string;
  let server: FakeServer | undefined;
  let raw: RawServer | undefined;
  let process_: WatcherProcess | undefined;

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-hostile-'));
    watched = join(base, 'watched');
    mkdirSync(join(watched, 'd'), { recursive: true });
    for (const name of ['a', 'b', 'd/c']) writeFileSync(join(watched, name), `content of ${name}`);
    writeFileSync(join(watched, 'large'), Buffer.alloc(3 * 2 ** 20, 5));
    symlinkSync('/etc/hostname', join(watched, 'link'));
    chmodSync(join(watched, 'a'), 0o640);
    before = stateOf(base);
  });
  afterEach(async function () {
    if (this.currentTest?.state === 'failed')
      process.stderr.write(`${process_?.stdout}${process_?.stderr.slice(-4000)}\n`);
    await process_?.kill('SIGKILL');
    await server?.stop();
    await raw?.stop();
    [server, raw] = [undefined, undefined];
    rmSync(base, { recursive: true, force: true });
  });

  function start(address: string, ...flags: readonly string[]): WatcherProcess {
    const own = ['--dir', watched, '--state', join(base, 'state'), '--server', address, '--log-format', 'pretty'];
    process_ = new WatcherProcess([...own, ...flags], {});
    return process_;
  }

  /** What `sync-watcher status` says. */
  async function statusOf(): Promise<string> {
    const { stdout } = await new WatcherProcess(['status', '--dir', watched, '--state', join(base, 'state')], {})
      .finished;
    return stdout;
  }

  /** Runs to the end, or for so long, and looks at its memory meanwhile. */
  async function run(address: string, longestMs: number): Promise<Finished & { readonly peakBytes: number }> {
    const program = start(address, '--once', '--timeout', '2s');
    let peakBytes = 0;
    const looking = setInterval(() => {
      peakBytes = Math.max(peakBytes, peakMemoryOf(program.child.pid ?? 0));
    }, 50);
    const stopping = setTimeout(() => program.child.kill('SIGTERM'), longestMs);
    try {
      return { ...(await program.finished), peakBytes };
    } finally {
      clearInterval(looking);
      clearTimeout(stopping);
    }
  }

  function expectHarmless({ code, stdout, stderr, peakBytes }: Finished & { readonly peakBytes: number }): void {
    expect(stateOf(base), 'what is watched, and what lies beside it').to.equal(before);
    // 143: it was told to end, which it does, with what it was to do left undone.
    expect(code, 'a status that the contract knows').to.be.oneOf([0, 1, 3, 4, 5, ENDED_BY_SIGTERM]);
    expect(stderr, 'no stack').not.to.match(/\n\s+at .*[:(]\d+/);
    expect(stdout + stderr, 'no control characters').not.to.match(
      /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/,
    );
    if (code !== 0 && code !== ENDED_BY_SIGTERM)
      expect(stderr.trimEnd().split('\n').at(-1)).to.match(/^sync-watcher: .{10,}/);
    expect(peakBytes).to.be.lessThan(MAX_MEMORY_BYTES);
  }

  for (const [what, script] of Object.entries(SCRIPTS)) {
    it(`that answers with ${what} gets nothing`, async () => {
      server = new FakeServer(script);
      const { text } = await server.start();
      expectHarmless(await run(text, LONGEST_MS));
    });
  }

  for (const [what, answer] of Object.entries(RAW_ANSWERS)) {
    it(`that answers with ${what} gets nothing`, async () => {
      raw = await RawServer.http2(answer);
      expectHarmless(await run(raw.address, LONGEST_MS));
    });
  }

  it('that compares nonsense again and again does not end the watcher, which says so and asks ever less often', async () => {
    server = new FakeServer(aboutRoot(child('../outside')));
    const { text } = await server.start();
    const program = start(text);
    // Pauses of 0.25 s, 0.4 s, 0.64 s, …
    await eventually('three attempts', () => (server?.acquisitions.length ?? 0) >= 3 || undefined, 15_000);
    // Between two attempts; the pauses grow beyond what the question takes.
    while (!/offline.*comparison makes no sense/.test(await statusOf()));
    expect(server.acquisitions.length).to.be.lessThan(10);
    expect(server.batches).to.have.length(0);
    expect(program.child.exitCode).to.equal(null);
    expect((await program.kill('SIGTERM')).code).to.equal(0);
    expect(stateOf(base)).to.equal(before);
  });

  for (const [what, nonsense] of Object.entries({
    'a child that leads out': [{ children: [child('../outside')] }],
    'children out of order': [{ children: [child('x'), child('b')] }],
    'another directory': [{ path: 'elsewhere', equal: true }],
    'a field of no kind': [{ children: [child('x', { kind: 9 as EntryKind })] }],
    'a file whose digest is too short': [
      { children: [child('x', { kind: EntryKind.ENTRY_KIND_FILE, mode: 0o644, digest: Buffer.alloc(3) })] },
    ],
  } satisfies Record<string, readonly Partial<CompareTreeResponse>[]>)) {
    it(`whose answer names ${what} once is asked again, and kept in step`, async () => {
      let answers = 0;
      server = new FakeServer({ onCompare: () => (answers++ === 0 ? nonsense : [{ equal: true }]) });
      const { text } = await server.start();
      const program = start(text, '--ready-file', join(base, 'ready'));
      await eventually('the first sync', () => existsSync(join(base, 'ready')), 15_000);
      expect(await statusOf()).to.match(/in step/);
      expect(program.stderr).to.include('makes no sense');
      expect(server.acquisitions).to.have.length(2);
      expect(server.batches.length).to.be.greaterThan(0);
      expect((await program.kill('SIGTERM')).code).to.equal(0);
      expect(stateOf(base)).to.equal(before);
    });
  }

  it('that is none, and sends bytes without end or none at all, gets nothing', async () => {
    for (const bytes of [Buffer.alloc(65_536, 0x0a), Buffer.alloc(0)]) {
      raw = await RawServer.tcp(bytes);
      expectHarmless(await run(raw.address, LONGEST_MS));
      await raw.stop();
    }
  });
});

/** Every name, kind, mode, time and content below a directory, the watcher's own files excepted. */
function stateOf(directory: string, path = ''): string {
  return readdirSync(join(directory, path), { withFileTypes: true })
    .filter(({ name }) => path !== '' || (name !== 'state' && name !== 'ready'))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map((entry) => {
      const at = join(path, entry.name);
      const { mode, mtimeNs, ino, uid } = lstatSync(join(directory, at), { bigint: true });
      const whole = join(directory, at);
      const content = entry.isDirectory()
        ? stateOf(directory, at)
        : entry.isFile()
          ? readFileSync(whole, 'base64')
          : readlinkSync(whole);
      return `${at} ${mode} ${mtimeNs} ${ino} ${uid} ${content}\n`;
    })
    .join('');
}

/** The most memory that a process ever had, in bytes; 0 when it is gone. */
function peakMemoryOf(pid: number): number {
  try {
    const kibibytes = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return Number(kibibytes ?? 0) * 1024;
  } catch {
    // It has ended meanwhile.
    return 0;
  }
}
