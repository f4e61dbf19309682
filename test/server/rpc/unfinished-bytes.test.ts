/**
 * What one caller's unfinished messages may take together (S33): by calls as grpc-js has them, and over real sockets.
 */
import { connect, type ClientHttp2Session } from 'node:http2';
import { expect } from 'chai';
import { unary } from '../../../common/rpc/unary.ts';
import type { LockstepError } from '../../../common/ops/errors.ts';
import { DEFAULT_LIMITS } from '../../../services/sync-server/rpc/limits.ts';
import { UnfinishedMessages } from '../../../services/sync-server/rpc/unfinished-messages.ts';
import { beginCall, newToken, untilTokensAreAskedFor } from '../../support/begun-call.ts';
import { eventually } from '../../support/eventually.ts';
import { bearer, SyncFixture } from '../../support/sync-fixture.ts';

const MIB = 2 ** 20;
const READING_MESSAGE = 2;
const RESOURCE_EXHAUSTED = '8';

describe("one caller's unfinished messages (S33)", () => {
  let messages: UnfinishedMessages;
  beforeEach(() => {
    messages = new UnfinishedMessages(MIB);
  });
  afterEach(() => messages.close());

  /** A call as grpc-js has it below its interceptors. */
  function watched(caller: string, pieces: readonly Uint8Array[], readState: number = READING_MESSAGE) {
    const list = [...pieces];
    const errors: LockstepError[] = [];
    const resets: number[] = [];
    const stream = { close: (code: number) => resets.push(code) };
    const call = { nextCall: { stream, decoder: { readState, readPartialMessage: list } } };
    return { list, errors, resets, forget: messages.watch(caller, call, (error) => errors.push(error)) };
  }
  const bytes = (count: number) => [Buffer.from(new ArrayBuffer(count))];
  /** One round of looking comes behind this. */
  const looked = async (): Promise<void> => {
    const { errors, forget } = watched('who is always too heavy', bytes(2 * MIB));
    await eventually('a look', () => errors.length > 0);
    forget();
  };

  it('end where they are the most, and only so many, of this caller alone', async () => {
    const light = watched('a', bytes(0.3 * MIB));
    const heavy = watched('a', bytes(0.6 * MIB));
    const middle = watched('a', bytes(0.4 * MIB));
    const other = watched('b', bytes(0.9 * MIB));
    await looked();
    expect([light, middle, other].map(({ errors }) => errors)).to.deep.equal([[], [], []]);
    expect(heavy.errors.map(({ reason }) => reason)).to.deep.equal(['LIMIT_EXCEEDED']);
    heavy.forget();
    expect(heavy.list).to.be.empty;
    await looked();
    expect([light, middle, other].map(({ errors }) => errors)).to.deep.equal([[], [], []]);
  });

  it('weigh what they hold: an object each, and all that was read along, once', async () => {
    const whole = Buffer.from(new ArrayBuffer(0.7 * MIB));
    const many = watched(
      'pieces',
      Array.from({ length: 10_000 }, (_, at) => Buffer.from(whole.buffer, at, 1)),
    );
    const along = watched('read along', [Buffer.from(new ArrayBuffer(2 * MIB), 0, 1)]);
    const shared = [0, 1].map((at) => watched('shared', [Buffer.from(whole.buffer, at, 1)]));
    await looked();
    expect([many, along, ...shared].map(({ errors }) => errors.length)).to.deep.equal([1, 1, 0, 0]);
  });

  it('are let go where grpc-js keeps those of a message that is whole', async () => {
    const idle = watched('a', bytes(2 * MIB), 0);
    await looked();
    expect(idle.errors).to.be.empty;
    expect(idle.list).to.be.empty;
  });

  it('are cut off where the refusal waits behind answers that nobody reads', async () => {
    const { errors, resets } = watched('a', bytes(2 * MIB));
    await eventually('it is reset', () => resets.length > 0);
    expect(errors).to.have.lengthOf(1);
  });
});

describe("one caller's unfinished messages over a socket (S33)", () => {
  let fixture: SyncFixture;
  let session: ClientHttp2Session;
  let token: string;

  before(async () => {
    fixture = await SyncFixture.start({ limits: { maxUnfinishedBytes: 2 * MIB } });
    token = newToken(fixture);
    session = connect(`http://${fixture.server.grpc.text}`);
    await untilTokensAreAskedFor(fixture);
  });
  after(async () => {
    session.destroy();
    await fixture.stop();
  });

  /** Begins a message of 1 MiB and sends all of it but its last byte. */
  const begin = (method: string) => beginCall(session, `lockstep.sync.v1.SyncService/${method}`, token, MIB - 1);

  it('end beyond the bound, while the others of this caller go on, and new calls, too', async () => {
    const calls = ['ApplyChanges', 'UploadContent', 'CompareTree', 'GetEntry', 'WatchChanges'].map(begin);
    const refused = () => calls.filter(({ status }) => status === RESOURCE_EXHAUSTED);
    // Of five, one has room beside what the socket's buffers hold around it; at most two have.
    await eventually('three are refused', () => refused().length >= 3);
    const left = calls.filter(({ status }) => status === undefined);
    expect(left).to.not.be.empty;
    const { client } = fixture;
    const metadata = bearer(token);
    const { limits } = await unary(client, client.getServerInfo, { clientVersion: '' }, { metadata });
    expect(limits?.maxUnfinishedBytes).to.equal(BigInt(2 * MIB));
    // What was left is read to its end: it is nonsense, and that is said.
    for (const { stream } of left) stream.end(Buffer.alloc(1));
    await eventually('the others are answered', () => left.every(({ status }) => status !== undefined));
    expect(left.map(({ status }) => status)).to.not.include(RESOURCE_EXHAUSTED);
  });

  it('have room for what a good client has under way', () => {
    const { maxUnfinishedBytes, maxUploadStreams, maxBatchBytes } = DEFAULT_LIMITS;
    expect(maxUnfinishedBytes).to.be.greaterThan(8 * (maxUploadStreams * 256 * 1024 + maxBatchBytes));
  });
});
