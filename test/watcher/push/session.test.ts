import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { SessionEvent, UploadRequest } from '../../../clients/watcher/engine/messages.ts';
import type { AnsweredBatch } from '../../../clients/watcher/push/change-stream.ts';
import { Connection } from '../../../clients/watcher/push/connection.ts';
import { ContentReader } from '../../../clients/watcher/push/content-reader.ts';
import { Session, type SessionOptions } from '../../../clients/watcher/push/session.ts';
import { TokenBucket } from '../../../clients/watcher/push/token-bucket.ts';
import { digestOf } from '../../../common/content/digest.ts';
import { sleep } from '../../../common/ops/async.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { createLogger } from '../../../common/ops/logger.ts';
import { ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { Batch, ChangeProblemKind, CompressedBatch } from '../../../gen/lockstep/sync/v1/change.ts';
import { DigestFunction } from '../../../gen/lockstep/sync/v1/entry.ts';
import { CompareTreeResponse } from '../../../gen/lockstep/sync/v1/compare.ts';
import type { GetServerInfoResponse } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { EngineDouble } from '../../support/engine-double.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeServer, type FakeServerScript } from '../../support/fake-server.ts';
import { NO_SECURITY } from '../../support/no-security.ts';

type OutgoingBatch = Extract<SessionEvent, { readonly type: 'batch' }>;

describe('Session', () => {
  let root: string;
  let server: FakeServer;
  let connection: Connection;
  let content: ContentReader;
  let engine: EngineDouble;
  const sessions: Session[] = [];
  const never = new AbortController().signal;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'lockstep-session-'));
    engine = new EngineDouble();
    content = new ContentReader(root);
  });

  afterEach(async () => {
    for (const session of sessions.splice(0)) await session.abort();
    connection.close();
    await content.close();
    await server.stop();
    rmSync(root, { recursive: true, force: true });
  });

  async function start(script: FakeServerScript = {}, options: Partial<SessionOptions> = {}, token?: string) {
    server = new FakeServer(script);
    connection = new Connection({ address: await server.start(), security: { ...NO_SECURITY, token } });
    const session = await Session.open(
      {
        connection,
        folder: 'default',
        holderId: Buffer.alloc(16, 7),
        holder: 'host:/dir:1',
        takeOver: false,
        acknowledgement: 'durable',
        compress: true,
        content,
        engine,
        logger: createLogger({ name: 'test', level: 'silent' }),
        ...options,
      },
      never,
    );
    sessions.push(session);
    await session.opened;
    return session;
  }

  async function reasonOf(action: Promise<unknown>): Promise<string> {
    try {
      await action;
    } catch (error) {
      if (error instanceof LockstepError) return error.reason;
      throw error;
    }
    return 'none';
  }

  function uploadOf(path: string, bytes: Buffer): UploadRequest {
    writeFileSync(join(root, path), bytes);
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(join(root, path), { bigint: true });
    const uploadId = digestOf('blake3', Buffer.from(path)).toString('hex').slice(0, 32);
    return { uploadId, path: path as TreePath, sizeBytes: Number(size), dev, ino, mtimeNs, ctimeNs };
  }

  async function outcomeOf(session: Session, request: UploadRequest) {
    session.handle({ type: 'upload', request });
    const find = () => engine.all('uploaded').find(({ result }) => result.uploadId === request.uploadId);
    return (await eventually('the upload', find)).result.outcome;
  }

  const batch = (text: string) =>
    Buffer.from(Batch.encode({ batchId: Buffer.from(text.padEnd(16)), changes: [] }).finish());

  /** What of a batch these tests do not look at is the same in all. */
  const send = (session: Session, encoded: Uint8Array, different: Partial<OutgoingBatch> = {}) =>
    session.handle({
      type: 'batch',
      batchId: Buffer.alloc(16),
      form: 'batch',
      encoded,
      rawBytes: 1,
      changes: 0,
      ...different,
    });

  /** The texts of the batches that the server has seen. */
  const received = () => server.batches.map(({ batchId }) => Buffer.from(batchId).toString().trim());

  it('takes the lease under its name and tells the engine where the folder stands', async () => {
    const session = await start();
    expect(server.acquisitions[0]?.holder).to.equal('host:/dir:1');
    expect(server.acquisitions[0]?.holderId.length).to.equal(16);
    expect(session.facts).to.include({ lease: 1n, epoch: 'epoch-1', headRevision: 41n, digestFunction: 'blake3' });
    expect(session.facts.maxInFlightBytes).to.equal(8 << 20);
  });

  it('sends its token with every call', async () => {
    const session = await start({ token: 'secret' }, {}, 'secret');
    send(session, batch('a'));
    await engine.received('applied');
  });

  it('says what refuses it: token, folder, protocol, holder', async () => {
    const refusals: [FakeServerScript, string][] = [
      [{ token: 'secret' }, 'UNAUTHENTICATED'],
      [{ folders: ['photos', 'music'] }, 'FOLDER_NOT_FOUND'],
      [{ protocolVersion: 9 }, 'PROTOCOL_UNSUPPORTED'],
      [{ onAcquire: () => new LockstepError('LEASE_HELD', 'held by host2') }, 'LEASE_HELD'],
    ];
    for (const [script, reason] of refusals) {
      expect(await reasonOf(start(script))).to.equal(reason);
      connection.close();
      await server.stop();
    }
    await start({ folders: ['photos', 'music'] }).catch((error: unknown) => {
      expect(String(error)).to.contain('"photos", "music"');
    });
  });

  it('carries owners only to a server that keeps them (E79)', async () => {
    expect(await reasonOf(start({}, { carriesOwners: true }))).to.equal('USAGE');
    connection.close();
    await server.stop();
    const onInfo = (info: GetServerInfoResponse) => ({
      ...info,
      folders: info.folders.map((folder) => ({ ...folder, keepsOwners: true })),
    });
    expect((await start({ onInfo }, { carriesOwners: true })).facts).to.include({ epoch: 'epoch-1' });
  });

  it('gives a lease back that it was granted while the greeting refused it', async () => {
    expect(await reasonOf(start({}, { carriesOwners: true }))).to.equal('USAGE');
    expect([server.acquisitions.length, server.halfCloses, server.openChanges]).to.deep.equal([1, 1, 0]);
  });

  it('takes a lease over only when nothing speaks against it', async () => {
    expect(await reasonOf(start({}, { carriesOwners: true, takeOver: true }))).to.equal('USAGE');
    expect(server.acquisitions).to.have.length(0);
    connection.close();
    await server.stop();
    await start({}, { takeOver: true });
    expect(server.acquisitions.map(({ takeOver }) => takeOver)).to.deep.equal([true]);
  });

  it('says what of a server makes no sense, before anything is sent to it', async () => {
    const epoch = 'e'.repeat(300);
    const scripts: readonly [FakeServerScript, string, RegExp][] = [
      [{ onInfo: (info) => ({ ...info, limits: undefined }) }, 'INVALID_ARGUMENT', /announces no limits/],
      [
        { onInfo: (info) => ({ ...info, limits: { ...info.limits!, maxBatchBytes: 5n } }) },
        'INVALID_ARGUMENT',
        /max_batch_bytes 5, which is too little/,
      ],
      [{ onLease: (lease) => ({ ...lease, epoch }) }, 'INVALID_ARGUMENT', /describes its state/],
      [{ onLease: (lease) => ({ ...lease, rootTreeDigest: Buffer.alloc(3) }) }, 'INVALID_ARGUMENT', /has 3 bytes/],
      [
        { onLease: (lease) => ({ ...lease, digestFunction: 77 as DigestFunction }) },
        'PROTOCOL_UNSUPPORTED',
        /update sync-watcher/,
      ],
      [{ protocolVersion: 0 }, 'PROTOCOL_UNSUPPORTED', /update sync-server/],
      [{ folders: [] }, 'FOLDER_NOT_FOUND', /none that you may see/],
      [{ folders: Array.from({ length: 30 }, (_, at) => `f${at}`) }, 'FOLDER_NOT_FOUND', /"f19", 10 more/],
    ];
    for (const [script, reason, words] of scripts) {
      const error = await start(script).catch((failure: unknown) => failure);
      expect(error).to.be.instanceOf(LockstepError).with.property('reason', reason);
      expect(String(error)).to.match(words);
      expect(server.batches).to.have.length(0);
      connection.close();
      await server.stop();
    }
    // SHA-256, limits beyond what can be counted, and none for uploads are fine.
    const session = await start({
      onInfo: (info) => ({
        ...info,
        limits: { ...info.limits!, maxInFlightBytes: 2n ** 63n, maxUploadStreams: 0, maxZeroBytes: 1000n },
      }),
      onLease: (lease) => ({ ...lease, digestFunction: DigestFunction.DIGEST_FUNCTION_SHA256 }),
    });
    expect(session.facts).to.include({ digestFunction: 'sha256', maxInFlightBytes: Number.MAX_SAFE_INTEGER });
    expect(session.server.limits).to.include({ maxUploadStreams: 4, maxZeroBytes: 0 });
  });

  it('tells problems by their kind, and those of no kind as failures', async () => {
    const kinds = [
      ChangeProblemKind.CHANGE_PROBLEM_KIND_CONTENT_NEEDED,
      ChangeProblemKind.CHANGE_PROBLEM_KIND_DRIFTED,
      ChangeProblemKind.CHANGE_PROBLEM_KIND_BASIS_MISMATCH,
      ChangeProblemKind.CHANGE_PROBLEM_KIND_INVALID,
      ChangeProblemKind.CHANGE_PROBLEM_KIND_FAILED,
      99 as ChangeProblemKind,
    ];
    const problems = kinds.map((kind, index) => ({ index, kind, path: 'a', reason: 'IO', message: 'no' }));
    const session = await start({ onBatch: () => ({ problems }) });
    send(session, batch('a'), { changes: 6 });
    const { result } = await engine.received('applied');
    const told = ['content-needed', 'drifted', 'basis-mismatch', 'invalid', 'failed', 'failed'];
    expect(result.problems.map(({ kind }) => kind)).to.deep.equal(told);
  });

  it('takes so many names of drifted directories, and then means everywhere', async () => {
    await start();
    const drift = async (count: number, of: string) => {
      const paths = Array.from({ length: count }, (_, at) => `${of}${at}`);
      await server.push({ message: { $case: 'drifted', value: { paths, headRevision: 50n } } });
    };
    await drift(10_000, 'a');
    expect((await engine.received('drifted')).paths).to.have.length(10_000);
    await drift(2, 'b');
    expect((await engine.received('drifted', 2)).paths).to.deep.equal([ROOT]);
  });

  it('passes over messages of a kind that it does not know', async () => {
    await start();
    await server.push({ message: undefined });
    await server.push({ message: { $case: 'durable', value: { revision: 7n } } });
    expect((await engine.received('durable')).revision).to.equal(7n);
  });

  it('breaks off with the reason that its engine gives', async () => {
    const session = await start();
    session.handle({ type: 'break-session', lease: session.facts.lease + 1n, reason: 'IO', message: 'of another one' });
    session.handle({ type: 'break-session', lease: session.facts.lease, reason: 'INVALID_PATH', message: 'nonsense' });
    expect(await reasonOf(session.ended)).to.equal('INVALID_PATH');
  });

  it('carries batches in order, plain and compressed, and brings their answers back', async () => {
    const problem = {
      index: 3,
      kind: ChangeProblemKind.CHANGE_PROBLEM_KIND_DRIFTED,
      path: 'a%FF',
      reason: 'DRIFTED',
      message: 'changed by hand',
    };
    const session = await start({ onBatch: (_batch, number) => (number === 2 ? { problems: [problem] } : undefined) });
    const { zstdCompressSync } = await import('node:zlib');
    const second = batch('second');
    const compressed = CompressedBatch.encode({
      compressor: 1,
      size: BigInt(second.length),
      data: zstdCompressSync(second),
    });
    send(session, batch('first'));
    send(session, compressed.finish(), { form: 'compressed' });
    const { result } = await engine.received('applied', 2);
    expect(received()).to.deep.equal(['first', 'second']);
    expect(result.revision).to.equal(43n);
    expect(result.problems[0]).to.include({ index: 3, kind: 'drifted', path: 'a\xff' });
  });

  it('loses no batch when the server reads slowly', async () => {
    const session = await start();
    const payload = Batch.encode({
      batchId: Buffer.alloc(16),
      changes: [{ operation: { $case: 'delete', value: { path: 'x'.repeat(200_000) } } }],
    }).finish();
    for (let count = 0; count < 60; count++) send(session, payload.slice(), { changes: 1 });
    await engine.received('applied', 60);
  });

  it('sends batches no faster than the bandwidth lets it, in order, and stops without those that wait', async () => {
    let rate: number | undefined = 1000;
    const bandwidth = new TokenBucket(() => rate);
    const session = await start({}, { bandwidth });
    // An hour's worth.
    expect(bandwidth.admit(3_600_000, 'contents')).to.equal(undefined);
    for (const text of ['a', 'b', 'c']) send(session, batch(text));
    rate = undefined;
    bandwidth.refresh();
    await eventually('all of them', () => received().length === 3);
    expect(received()).to.deep.equal(['a', 'b', 'c']);

    rate = 1000;
    expect(bandwidth.admit(3_600_000, 'contents')).to.equal(undefined);
    for (const text of ['d', 'e']) send(session, batch(text));
    const startedMs = performance.now();
    await session.finish(20_000);
    expect(performance.now() - startedMs).to.be.lessThan(10_000);
    expect(received()).to.deep.equal(['a', 'b', 'c']);
    expect(server.halfCloses).to.equal(1);
  });

  it('drops what was meant for another session', async () => {
    const session = await start();
    send(session, batch('stale'), { lease: 99n });
    send(session, batch('fresh'), { lease: 1n });
    await engine.received('applied');
    expect(server.batches).to.have.length(1);
  });

  it('passes on durability and drift that it did not ask for', async () => {
    await start();
    await server.push({ message: { $case: 'durable', value: { revision: 44n } } });
    await server.push({ message: { $case: 'drifted', value: { paths: ['', 'a/b'], headRevision: 45n } } });
    expect((await engine.received('durable')).revision).to.equal(44n);
    expect((await engine.received('drifted')).paths).to.deep.equal([ROOT, 'a/b']);
  });

  it('carries comparisons on one stream, with the records still serialized', async () => {
    const session = await start({
      onCompare: ({ path }) => (path === '' ? [{}, { root: undefined }] : [{ missing: true }]),
    });
    session.handle({ type: 'compare', path: ROOT, treeDigest: Buffer.alloc(32) });
    session.handle({ type: 'compare', path: 'a\xff' as TreePath, treeDigest: Buffer.alloc(32) });
    await engine.received('compared', 3);
    const answers = engine.all('compared').map(({ answer }) => answer);
    expect(answers.map(({ path, outcome, last }) => [path, outcome, last])).to.deep.equal([
      ['', 'differs', false],
      ['', 'differs', true],
      ['a\xff', 'missing', true],
    ]);
    expect(CompareTreeResponse.decode(answers[2]?.encoded ?? Buffer.alloc(0)).path).to.equal('a%FF');
  });

  it('ends with the reason when it is fenced off', async () => {
    const session = await start();
    server.endChanges(new LockstepError('LEASE_STALE', 'a newer lease was given out'));
    expect(await reasonOf(session.ended)).to.equal('LEASE_STALE');
  });

  it('ends when the server ends its stream of changes without being asked', async () => {
    const session = await start();
    server.endChanges();
    expect(await reasonOf(session.ended)).to.equal('SERVER_UNREACHABLE');
  });

  it('is not opened with a lease that is older than the folder has', async () => {
    const opening = start({ onLease: (lease) => ({ ...lease, lease: lease.lease + 5n }) });
    expect(await reasonOf(opening)).to.equal('LEASE_STALE');
    expect(await reasonOf(sessions[0]?.ended ?? opening)).to.equal('LEASE_STALE');
    await eventually('the end of the stream', () => server.openChanges === 0);
  });

  it('ends when a comparison ends, fails or makes no sense, and asks no more', async () => {
    const answers: readonly [NonNullable<FakeServerScript['onCompare']>, string][] = [
      [() => 'end', 'SERVER_UNREACHABLE'],
      [() => new LockstepError('INDEX_DAMAGED', 'the index is damaged'), 'INDEX_DAMAGED'],
      [() => [{ path: '../x', equal: true }], 'INVALID_ARGUMENT'],
    ];
    for (const [onCompare, reason] of answers) {
      const asked: string[] = [];
      const session = await start({
        onCompare: (request) => {
          asked.push(request.path);
          return onCompare(request);
        },
      });
      session.handle({ type: 'compare', path: ROOT, treeDigest: Buffer.alloc(32) });
      expect(await reasonOf(session.ended)).to.equal(reason);
      session.handle({ type: 'compare', path: 'a' as TreePath, treeDigest: Buffer.alloc(32) });
      await session.finish(5_000);
      expect(asked).to.deep.equal(['']);
      expect(engine.all('compared')).to.have.length(0);
      connection.close();
      await server.stop();
    }
  });

  it('tells of each batch that was answered, and of none that was not sent', async () => {
    const answered: AnsweredBatch[] = [];
    const kind = ChangeProblemKind.CHANGE_PROBLEM_KIND_FAILED;
    const problems = [{ index: 0, kind, path: 'a', reason: 'IO', message: 'no' }];
    const session = await start(
      { onBatch: (_batch, number) => (number === 2 ? { problems } : undefined) },
      { onAnswered: (told) => answered.push(told), acknowledgement: 'applied' },
    );
    await server.push({
      message: { $case: 'applied', value: { batchId: Buffer.alloc(16), revision: 1n, durable: true, problems: [] } },
    });
    await engine.received('applied');
    expect(answered).to.have.length(0);
    const sent = [batch('first'), batch('second')];
    for (const encoded of sent) send(session, encoded, { rawBytes: encoded.length });
    await engine.received('applied', 3);
    expect(answered.map(({ revision, sizeBytes, problems: count }) => [revision, sizeBytes, count])).to.deep.equal([
      [42n, sent[0]?.length, 0],
      [43n, sent[1]?.length, 1],
    ]);
    for (const { durationMs } of answered) expect(durationMs).to.be.within(0, 60_000);
  });

  it('half-closes at the end, after the last answers', async () => {
    const session = await start();
    for (let count = 0; count < 5; count++) send(session, batch(`${count}`));
    await session.finish(5_000);
    await session.ended;
    expect(engine.all('applied')).to.have.length(5);
    expect(server.halfCloses).to.equal(1);
  });

  describe('when all is sent', () => {
    it('half-closes behind the last batch, and lives until nobody needs it', async () => {
      const session = await start();
      for (const text of ['a', 'b']) send(session, batch(text));
      session.handle({ type: 'all-sent' });
      await engine.received('applied', 2);
      await eventually('the half-close', () => server.halfCloses === 1);
      expect(await Promise.race([session.ended, sleep(50).then(() => 'alive')])).to.equal('alive');
      await session.finish(5_000);
      await session.ended;
    });

    it('waits for its part of the bandwidth before', async () => {
      let rate: number | undefined = 1000;
      const bandwidth = new TokenBucket(() => rate);
      const session = await start({}, { bandwidth });
      expect(bandwidth.admit(3_600_000, 'contents')).to.equal(undefined);
      for (const text of ['a', 'b']) send(session, batch(text));
      session.handle({ type: 'all-sent' });
      expect(server.halfCloses).to.equal(0);
      rate = undefined;
      bandwidth.refresh();
      await engine.received('applied', 2);
      expect(received()).to.deep.equal(['a', 'b']);
    });

    for (const [what, ask] of [
      ['a batch', (session: Session) => send(session, batch('b'))],
      [
        'a comparison',
        (session: Session) => session.handle({ type: 'compare', path: ROOT, treeDigest: Buffer.alloc(32) }),
      ],
      ['a content', (session: Session) => session.handle({ type: 'upload', request: uploadOf('f', Buffer.from('x')) })],
    ] as const)
      it(`ends as soon as there is more after all, ${what}, which it does not send`, async () => {
        const session = await start();
        send(session, batch('a'));
        session.handle({ type: 'all-sent' });
        ask(session);
        await session.ended;
        expect(engine.all('applied')).to.have.length(1);
        expect(received()).to.deep.equal(['a']);
      });

    it('does not take the end of the stream for the answer to a batch', async () => {
      const session = await start({ onBatch: () => 'silent' });
      send(session, batch('a'));
      session.handle({ type: 'all-sent' });
      expect(await reasonOf(session.ended)).to.equal('SERVER_UNREACHABLE');
    });
  });

  describe('uploads', () => {
    it('brings contents of all sizes, several at once, over connections of their own', async () => {
      const session = await start();
      const contents = [0, 1, 256 * 1024, 5_000_000, 700_000, 300_000].map((size) => randomBytes(size));
      const requests = contents.map((bytes, index) => uploadOf(`f${index}`, bytes));
      const outcomes = await Promise.all(requests.map((request) => outcomeOf(session, request)));
      for (const [index, outcome] of outcomes.entries()) {
        const bytes = contents[index] ?? Buffer.alloc(0);
        expect(outcome).to.include({ type: 'done', sentBytes: bytes.length });
        expect(server.contents.get(digestOf('blake3', bytes).toString('hex'))?.equals(bytes)).to.equal(true);
      }
      expect(server.peers.size).to.be.greaterThan(1);
    });

    it('compresses what shrinks when the server knows how', async () => {
      const session = await start({ zstd: true });
      const bytes = Buffer.alloc(2_000_000, 'the quick brown fox ');
      const outcome = await outcomeOf(session, uploadOf('f', bytes));
      expect(outcome.type).to.equal('done');
      if (outcome.type === 'done') expect(outcome.sentBytes).to.be.lessThan(50_000);
      expect(server.contents.get(digestOf('blake3', bytes).toString('hex'))?.equals(bytes)).to.equal(true);
    });

    it('goes on where the server stands after a break (E101, F17)', async () => {
      const session = await start({
        onUpload: (_message, staged, attempt) =>
          attempt === 1 && staged > 3_000_000 ? new LockstepError('DRAINING', 'cut') : undefined,
      });
      const bytes = randomBytes(6_000_000);
      const outcome = await outcomeOf(session, uploadOf('big', bytes));
      expect(outcome.type).to.equal('done');
      if (outcome.type === 'done') expect(outcome.sentBytes).to.be.lessThan(11_000_000);
      const resumed = server.uploads.filter(({ resume }) => resume);
      expect(resumed).to.have.length(2);
      expect(server.contents.get(digestOf('blake3', bytes).toString('hex'))?.equals(bytes)).to.equal(true);
    });

    it('finds out that a small content was begun before', async () => {
      const session = await start();
      const bytes = randomBytes(900_000);
      const request = uploadOf('small', bytes);
      server.staged.set(request.uploadId, Buffer.from(bytes.subarray(0, 500_000)));
      expect((await outcomeOf(session, request)).type).to.equal('done');
      expect(server.contents.get(digestOf('blake3', bytes).toString('hex'))?.equals(bytes)).to.equal(true);
    });

    it('sends again once what arrived damaged, then gives up with a name (E102)', async () => {
      const damaged = () => new LockstepError('DIGEST_MISMATCH', 'not what was announced');
      const once = await start({
        onUpload: ({ finish }, _staged, attempt) => (finish && attempt === 1 ? damaged() : undefined),
      });
      server.staged.clear();
      const first = await outcomeOf(once, uploadOf('once', randomBytes(100)));
      expect(first.type).to.equal('done');
      connection.close();
      await server.stop();
      const always = await start({ onUpload: ({ finish }) => (finish ? damaged() : undefined) });
      expect(await outcomeOf(always, uploadOf('always', randomBytes(100)))).to.include({
        type: 'failed',
        reason: 'DIGEST_MISMATCH',
      });
    });

    it('says that a file changed, and that the server refused', async () => {
      const session = await start({
        onUpload: (_message, _staged, attempt) => (attempt === 1 ? new LockstepError('NO_SPACE', 'full') : undefined),
      });
      const request = uploadOf('f', randomBytes(100));
      expect(await outcomeOf(session, request)).to.include({ type: 'failed', reason: 'NO_SPACE' });
      const other = uploadOf('g', randomBytes(100));
      writeFileSync(join(root, 'g'), 'something else');
      expect(await outcomeOf(session, other)).to.deep.equal({ type: 'changed' });
    });

    it('stops at a cancellation without an answer, and can start the same again', async () => {
      const session = await start();
      const bytes = randomBytes(12_000_000);
      const request = uploadOf('f', bytes);
      session.handle({ type: 'upload', request });
      await eventually('a first chunk', () => server.uploads.length > 2);
      session.handle({ type: 'cancel-upload', uploadId: request.uploadId });
      expect((await outcomeOf(session, request)).type).to.equal('done');
      expect(engine.all('uploaded')).to.have.length(1);
    });

    it('answers as interrupted what the end of the session cut off', async () => {
      const session = await start();
      const requests = Array.from({ length: 12 }, (_, index) => uploadOf(`f${index}`, randomBytes(3_000_000)));
      for (const request of requests) session.handle({ type: 'upload', request });
      await eventually('a first chunk', () => server.uploads.length > 0);
      await session.abort();
      const outcomes = engine.all('uploaded').map(({ result }) => result.outcome.type);
      expect(outcomes).to.have.length(12);
      expect(outcomes).to.include('interrupted');
    });
  });
});
