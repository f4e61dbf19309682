/**
 * Clients that take their time: connections without calls, readers that do not read, writers of a byte now and then. What
 * each costs is bounded, in bytes and in time, and others are served as before.
 */
import { randomBytes } from 'node:crypto';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2, constants } from 'node:http2';
import { connectivityState } from '@grpc/grpc-js';
import { expect } from 'chai';
import { digestOf } from '../../../common/content/digest.ts';
import { readMessages } from '../../../common/rpc/call-stream.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { CompareTreeRequest } from '../../../gen/lockstep/sync/v1/compare.ts';
import {
  ApplyChangesRequest,
  ListEntriesRequest,
  ReadContentRequest,
  UploadContentRequest,
  VerifyFolderRequest,
  WatchChangesRequest,
} from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { Replica } from '../../../services/sync-server/replica/replica.ts';
import { DEFAULT_LIMITS, MAX_ANSWER_AHEAD_BYTES } from '../../../services/sync-server/rpc/limits.ts';
import { collect, putFile, SyncFixture, until, UploadStream } from '../../support/sync-fixture.ts';

const folder = 'default';
/** Nothing that a test sees end must end this late. */
const SOON_MS = 300;

describe('clients that take their time (S33)', function () {
  this.timeout(20_000);
  let fixture: SyncFixture;
  let session: ClientHttp2Session | undefined;
  afterEach(async () => {
    session?.destroy();
    session = undefined;
    await fixture.stop();
  });

  /** A call below grpc-js, with the 64 KiB of window that HTTP/2 begins with, of which nobody reads. */
  function callWithoutReading(method: string, ...messages: readonly Uint8Array[]): ClientHttp2Stream {
    if (session === undefined) {
      session = connectHttp2(`http://${fixture.address.text}`);
      session.on('error', () => {
        // Of the end of the test.
      });
    }
    const path = `/lockstep.sync.v1.SyncService/${method}`;
    const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
    const stream = session.request(headers, { endStream: false });
    stream.on('error', () => {
      // Reset by the server; `rstCode` says so too.
    });
    for (const message of messages) stream.write(framed(message));
    // The request of a stream of answers begins when it is whole.
    if (method !== 'UploadContent' && method !== 'ApplyChanges') stream.end();
    return stream;
  }

  it('announce and enforcement are one: the times are among the limits', async () => {
    fixture = await SyncFixture.start({ limits: { idleConnectionMs: 1, admissionMs: 2, stalledAnswerMs: 3 } });
    const { limits } = await unary(fixture.client, fixture.client.getServerInfo, { clientVersion: '' });
    expect(limits).to.deep.include({ idleConnectionMs: 1, admissionMs: 2, stalledAnswerMs: 3 });
    const { idleConnectionMs, admissionMs, stalledAnswerMs } = DEFAULT_LIMITS;
    expect({ idleConnectionMs, admissionMs, stalledAnswerMs }).to.deep.equal({
      idleConnectionMs: 300_000,
      admissionMs: 10_000,
      stalledAnswerMs: 3_600_000,
    });
  });

  it('a connection without calls is closed after its time, and one with an open stream is not', async () => {
    fixture = await SyncFixture.start({ limits: { idleConnectionMs: SOON_MS } });
    const [idle, busy] = [fixture.connect(), fixture.connect()];
    const stateOf = (client: typeof idle) => client.getChannel().getConnectivityState(false);
    await Promise.all([idle, busy].map((client) => unary(client, client.getServerInfo, { clientVersion: '' })));
    const call = busy.watchChanges({ folder, epoch: '', afterRevision: 0n });
    const messages = readMessages(call);
    await messages.next();
    await until(() => stateOf(idle) !== connectivityState.READY);
    expect(stateOf(idle)).to.equal(connectivityState.IDLE);
    expect(stateOf(busy)).to.equal(connectivityState.READY);
    // Who was closed comes again by itself.
    await unary(idle, idle.getServerInfo, { clientVersion: '' });
    call.cancel();
  });

  describe('a reader that does not read', () => {
    const STREAMS = 20;
    /** Beside what may wait: the window, and the message under way. */
    const SLACK_BYTES = 2 ** 20;

    /** Counts what the replica was asked for beyond what a client took. */
    function counting(): { bytes: number; finished: number } {
      const { replica } = fixture;
      const count = { bytes: 0, finished: 0 };
      const readContent = replica.readContent.bind(replica);
      replica.readContent = async function* (...parameters) {
        try {
          for await (const part of readContent(...parameters)) {
            count.bytes += part.data.length;
            yield part;
          }
        } finally {
          count.finished++;
        }
      };
      return count;
    }

    /** Resolves when the number has not grown for some turns of the clock. */
    async function settled(number: () => number): Promise<number> {
      for (let [before, calm] = [-1, 0]; calm < 10; ) {
        calm = before === number() ? calm + 1 : 0;
        before = number();
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return number();
    }

    it('of contents holds a bound of bytes each, while a good client is served', async () => {
      fixture = await SyncFixture.start();
      const content = randomBytes(16 * 2 ** 20);
      fixture.replica.tree.apply(putFile('large', content));
      const count = counting();
      const ask = ReadContentRequest.encode(ReadContentRequest.fromPartial({ folder, path: 'large' })).finish();
      for (let stream = 0; stream < STREAMS; stream++) callWithoutReading('ReadContent', ask);
      await until(() => count.bytes > STREAMS * MAX_ANSWER_AHEAD_BYTES);
      expect(await settled(() => count.bytes)).to.be.lessThan(STREAMS * (MAX_ANSWER_AHEAD_BYTES + SLACK_BYTES));
      const good = fixture.client.readContent(ReadContentRequest.fromPartial({ folder, path: 'large' }));
      const parts = await collect(readMessages(good));
      expect(Buffer.concat(parts.map(({ data }) => data)).equals(content)).to.equal(true);
    });

    it('of contents loses its stream after its time, and the replica is let go', async () => {
      fixture = await SyncFixture.start({ limits: { stalledAnswerMs: SOON_MS } });
      fixture.replica.tree.apply(putFile('large', Buffer.alloc(16 * 2 ** 20)));
      const count = counting();
      const ask = ReadContentRequest.encode(ReadContentRequest.fromPartial({ folder, path: 'large' })).finish();
      const stream = callWithoutReading('ReadContent', ask);
      await until(() => stream.rstCode !== constants.NGHTTP2_NO_ERROR);
      expect(stream.rstCode).to.equal(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      await until(() => count.finished === 1);
    });

    it('that reads slowly, but reads, keeps its stream beyond that time', async () => {
      fixture = await SyncFixture.start({ limits: { stalledAnswerMs: SOON_MS } });
      fixture.replica.tree.apply(putFile('large', Buffer.alloc(8 * 2 ** 20)));
      const ask = ReadContentRequest.encode(ReadContentRequest.fromPartial({ folder, path: 'large' })).finish();
      const stream = callWithoutReading('ReadContent', ask);
      const startedAtMs = performance.now();
      let bytes = 0;
      for await (const data of stream) {
        bytes += Buffer.byteLength(data);
        const isEarly = performance.now() - startedAtMs < 3 * SOON_MS;
        if (isEarly) await new Promise((resolve) => setTimeout(resolve, SOON_MS / 30));
      }
      expect(bytes).to.be.greaterThan(8 * 2 ** 20);
      expect(performance.now() - startedAtMs).to.be.greaterThan(2 * SOON_MS);
      expect(stream.rstCode).to.equal(constants.NGHTTP2_NO_ERROR);
    });

    it('of lists is not listed for any further, and ends', async () => {
      fixture = await SyncFixture.start({ limits: { stalledAnswerMs: SOON_MS } });
      let pages = 0;
      const { replica } = fixture;
      const endless = endlessEntries();
      replica.listEntries = async (_path, _recursive, _after, limit) => {
        pages++;
        return Array.from({ length: limit }, () => endless.next().value!);
      };
      const request = ListEntriesRequest.fromPartial({ folder, recursive: true });
      const stream = callWithoutReading('ListEntries', ListEntriesRequest.encode(request).finish());
      await until(() => stream.rstCode === constants.NGHTTP2_ENHANCE_YOUR_CALM);
      expect(pages).to.be.lessThan(20);
    });

    it('of the change feed is not fed any further, and ends', async () => {
      fixture = await SyncFixture.start({ limits: { stalledAnswerMs: SOON_MS } });
      let revisions = 0;
      fixture.replica.watchChanges = async function* () {
        for (const entry of endlessEntries()) {
          revisions++;
          const change = { operation: 'put', entry } as const;
          yield { epoch: 'epoch', revision: BigInt(revisions), timeNs: 0n, changes: [change] };
        }
      };
      const request = WatchChangesRequest.fromPartial({ folder });
      const stream = callWithoutReading('WatchChanges', WatchChangesRequest.encode(request).finish());
      await until(() => stream.rstCode === constants.NGHTTP2_ENHANCE_YOUR_CALM);
      // Of about 1.3 kB each.
      expect(revisions).to.be.lessThan(2000);
    });

    it('of answers to its changes is told of so much drift and no more', async () => {
      fixture = await SyncFixture.start();
      const { lease } = await fixture.acquire();
      let state = 'before';
      const onDrift = fixture.replica.onDrift.bind(fixture.replica);
      fixture.replica.onDrift = (listener) => {
        state = 'open';
        const stop = onDrift(listener);
        return () => {
          state = 'over';
          stop();
        };
      };
      const open = { message: { $case: 'open', value: { folder, lease, acknowledgement: 1 } } } as const;
      const request = ApplyChangesRequest.encode(ApplyChangesRequest.fromPartial(open)).finish();
      const stream = callWithoutReading('ApplyChanges', request);
      await until(() => state === 'open');
      const endless = endlessEntries();
      let announced = 0;
      for (; state !== 'over'; announced++) {
        // About one message.
        fixture.replica.announceDrift(Array.from({ length: 1000 }, () => endless.next().value!.path));
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(announced).to.be.within(60, 200);
      stream.close();
    });

    it('of answers to its uploads is not told any further how far they are', async () => {
      fixture = await SyncFixture.start();
      const { lease } = await fixture.acquire();
      let committedSizeBytes = 0;
      fixture.replica.beginUpload = async () => ({
        committedSizeBytes: 0,
        complete: false,
        write: async ({ steps }) => (committedSizeBytes += steps?.[0]?.copyLengthBytes ?? 0),
        finish: async () => undefined,
        suspend: async () => undefined,
      });
      const parts = 20_000;
      const partBytes = 2 ** 20;
      const encode = (fields: Partial<UploadContentRequest>) =>
        UploadContentRequest.encode(UploadContentRequest.fromPartial(fields)).finish();
      const begin = { folder, lease, uploadId: Buffer.alloc(16, 1), size: BigInt(parts * partBytes) };
      const stream = callWithoutReading('UploadContent', encode(begin));
      for (let at = 0; at < parts; at++) {
        const steps = [{ copyOffset: 0n, copyLength: BigInt(partBytes), zeroLength: 0n, dataLength: 0 }];
        stream.write(framed(encode({ offset: BigInt(at * partBytes), steps })));
      }
      await until(() => committedSizeBytes === parts * partBytes);
      stream.end();
      let bytes = 0;
      for await (const data of stream) bytes += Buffer.byteLength(data);
      // The window of 64 KiB, some answers in the streams; all of them would be 600 kB.
      expect(bytes).to.be.within(100, 200_000);
    });

    it('of comparisons and verifications is not worked for any further, and ends', async () => {
      fixture = await SyncFixture.start({ limits: { stalledAnswerMs: SOON_MS } });
      const { replica } = fixture;
      const endless = endlessEntries();
      let compared = 0;
      replica.compareDirectory = async (_path, _believed, _after, limit) => {
        compared++;
        const children = Array.from({ length: limit }, () => {
          const { path, ...entry } = endless.next().value!;
          return { ...entry, name: path, digest: entry.digest };
        });
        return { outcome: 'differs', children, last: false } satisfies Awaited<ReturnType<Replica['compareDirectory']>>;
      };
      let found = 0;
      replica.verify = async function* () {
        for (const { path } of endlessEntries()) {
          found++;
          yield { type: 'mismatch', kind: 'extra', path, message: 'x' };
        }
      };
      const compare = CompareTreeRequest.encode(CompareTreeRequest.fromPartial({ folder })).finish();
      const verify = VerifyFolderRequest.encode(VerifyFolderRequest.fromPartial({ folder })).finish();
      const streams = [callWithoutReading('CompareTree', compare), callWithoutReading('VerifyFolder', verify)];
      await until(() => streams.every(({ rstCode }) => rstCode === constants.NGHTTP2_ENHANCE_YOUR_CALM));
      expect(compared).to.be.lessThan(20);
      expect(found).to.be.lessThan(1000);
    });
  });

  it('writers of a byte now and then take their streams and nothing else, while a good client goes on', async () => {
    fixture = await SyncFixture.start();
    const { lease } = await fixture.acquire();
    const begin = (uploadId: Buffer, size: number) => ({ folder, lease, uploadId, size: BigInt(size) });
    const changes = await fixture.openChanges(lease);
    // All streams that a lease may have but one.
    const slow = Array.from({ length: DEFAULT_LIMITS.maxUploadStreams - 1 }, (_, at) =>
      callWithoutReading(
        'UploadContent',
        UploadContentRequest.encode(UploadContentRequest.fromPartial(begin(Buffer.alloc(16, at), 1000))).finish(),
      ),
    );
    const next = framed(
      UploadContentRequest.encode(UploadContentRequest.fromPartial({ data: Buffer.alloc(1000) })).finish(),
    );
    let sent = 0;
    const trickling = setInterval(() => {
      for (const stream of slow) stream.write(next.subarray(sent, sent + 1));
      sent++;
    }, 20);
    const content = randomBytes(3_000_000);
    const startedAtMs = performance.now();
    for (let round = 0; round < 10; round++) {
      const good = new UploadStream(fixture.client);
      await good.send({ ...begin(randomBytes(16), content.length), data: content.subarray(0, 2 ** 20) });
      for (let at = 2 ** 20; at < content.length; at += 2 ** 20) {
        await good.send({ offset: BigInt(at), data: content.subarray(at, at + 2 ** 20) });
      }
      await good.send({ finish: true, digest: digestOf('blake3', content) });
      expect((await good.close()).at(-1)).to.deep.include({ complete: true });
      await changes.sendBatch([putFile(`${round}`, 'content')]);
      await changes.nextApplied();
    }
    clearInterval(trickling);
    expect(performance.now() - startedAtMs).to.be.lessThan(10_000);
    expect(slow.every(({ destroyed, rstCode }) => !destroyed && rstCode === constants.NGHTTP2_NO_ERROR)).to.equal(true);
    expect(sent).to.be.greaterThan(0);
    await changes.close();
  });
});

/** A message as gRPC frames it. */
function framed(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** Files in order, with names of 200 bytes. */
function* endlessEntries() {
  for (let at = 0; ; at++) {
    const path = `${'n'.repeat(190)}${String(at).padStart(10, '0')}` as Parameters<Replica['getEntry']>[0];
    yield {
      path,
      kind: 'file',
      mode: 0o644,
      mtimeNs: 1n,
      sizeBytes: 0,
      digest: digestOf('blake3', Buffer.alloc(0)),
    } as const;
  }
}
