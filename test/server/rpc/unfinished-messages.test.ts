/**
 * Calls that begin and never finish their first message: they are their caller's from the first header on (S33).
 */
import { connect, type ClientHttp2Session } from 'node:http2';
import { expect } from 'chai';
import { unary } from '../../../common/rpc/unary.ts';
import { beginCall, type BegunCall, newToken, untilTokensAreAskedFor } from '../../support/begun-call.ts';
import { eventually } from '../../support/eventually.ts';
import { bearer, reasonOf, SyncFixture } from '../../support/sync-fixture.ts';

const MAX_OPEN_STREAMS = 3;
const RESOURCE_EXHAUSTED = '8';
const SYNC = 'lockstep.sync.v1.SyncService';

describe('calls whose first message is not whole (S33)', () => {
  let fixture: SyncFixture;
  let token: string;
  let sessions: ClientHttp2Session[];

  beforeEach(async () => {
    sessions = [];
    fixture = await SyncFixture.start({ setup: { callers: { maxOpenStreams: MAX_OPEN_STREAMS } } });
    token = newToken(fixture);
    await untilTokensAreAskedFor(fixture);
  });
  afterEach(async () => {
    for (const session of sessions) session.destroy();
    await fixture.stop();
  });

  const newSession = (): ClientHttp2Session => {
    const session = connect(`http://${fixture.server.grpc.text}`);
    sessions.push(session);
    return session;
  };

  /** Sends headers and the beginning of a message. */
  const begin = (method: string, { session = newSession(), as = token as string | null } = {}): BegunCall =>
    beginCall(session, method, as, 1000);

  /** The calls that the server has seen by then have no answer, because nobody has asked anything. */
  const refusedIs = async (call: BegunCall): Promise<void> => {
    await eventually('it is refused', () => call.status !== undefined);
    expect(call.status).to.equal(RESOURCE_EXHAUSTED);
  };

  it('are so many of one caller and no more, of whatever shape, over all connections; each that ends makes room', async () => {
    const taken = ['ApplyChanges', 'WatchChanges', 'GetEntry'].map((name) => begin(`${SYNC}/${name}`));
    // In the order of one connection, so that it comes behind those; one more each time.
    const session = newSession();
    let last = begin(`${SYNC}/UploadContent`, { session });
    await eventually('one is refused', () => {
      if (last.status === undefined && taken.length < 10) last = begin(`${SYNC}/UploadContent`, { session });
      return last.status === RESOURCE_EXHAUSTED;
    });
    for (const name of ['ApplyChanges', 'GetEntry', 'WatchChanges']) await refusedIs(begin(`${SYNC}/${name}`));
    await refusedIs(begin('grpc.health.v1.Health/Check'));
    expect(taken.map(({ status }) => status)).to.deep.equal([undefined, undefined, undefined]);

    // Another caller is none the worse.
    const { client } = fixture;
    const other = bearer(newToken(fixture));
    const asOther = () => reasonOf(unary(client, client.getServerInfo, { clientVersion: '' }, { metadata: other }));
    let reason = 'UNAUTHENTICATED';
    // Until it is known, too.
    while (reason === 'UNAUTHENTICATED') reason = await asOther();
    expect(reason).to.equal('no error');

    taken[0]?.stream.close();
    const mine = bearer(token);
    const asMe = () => reasonOf(unary(client, client.getServerInfo, { clientVersion: '' }, { metadata: mine }));
    reason = 'LIMIT_EXCEEDED';
    while (reason === 'LIMIT_EXCEEDED') reason = await asMe();
    expect(reason).to.equal('no error');
  });

  it('are counted by address of who has not said who he is, beside somebody who has', async () => {
    const session = newSession();
    const known = begin(`${SYNC}/GetEntry`, { session });
    const unknown = [null, 'lockstep_wrong', null].map((as) => begin(`${SYNC}/ApplyChanges`, { session, as }));
    const others = { session, as: null };
    await refusedIs(begin(`${SYNC}/ApplyChanges`, others));
    expect([known, ...unknown].map(({ status }) => status)).to.deep.equal(Array(4).fill(undefined));
    unknown[0]?.stream.close();
    // What is whole is answered as ever: nobody is let in.
    const { client } = fixture;
    const info = () => reasonOf(unary(client, client.getServerInfo, { clientVersion: '' }));
    let reason = 'LIMIT_EXCEEDED';
    while (reason === 'LIMIT_EXCEEDED') reason = await info();
    expect(reason).to.equal('UNAUTHENTICATED');
  });

  it('leave room to what is whole, and to what has ended', async () => {
    const { client } = fixture;
    const metadata = bearer(token);
    for (let count = 0; count < 5 * MAX_OPEN_STREAMS; count++)
      await unary(client, client.getServerInfo, { clientVersion: '' }, { metadata });
  });
});
