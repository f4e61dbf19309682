/**
 * Failed attempts: how many an address may have, and what counts as one address.
 */
import type { Metadata } from '@grpc/grpc-js';
import { expect } from 'chai';
import fc from 'fast-check';
import { addressGroup, hostOfPeer, isLoopbackHost } from '../../../common/rpc/peer-address.ts';
import { readMessages } from '../../../common/rpc/call-stream.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { AttemptLimiter } from '../../../services/sync-server/auth/attempt-limiter.ts';
import { TokenStore } from '../../../services/sync-server/auth/token-store.ts';
import { verifyAuditLog } from '../../../services/sync-server/auth/audit-log.ts';
import { bearer, reasonOf, SyncFixture } from '../../support/sync-fixture.ts';

describe('the limit of failed attempts (S19)', () => {
  const limits = { burst: 3, refillMs: 100, maxAddresses: 5 };

  it('allows a burst, then one for each refill, to each address for itself', () => {
    let nowMs = 0;
    const limiter = new AttemptLimiter(limits, () => nowMs);
    const attempts = (address: string, count: number) =>
      Array.from({ length: count }, () => limiter.tryTake(address)).filter(Boolean).length;
    expect(attempts('a', 10)).to.equal(3);
    expect(attempts('b', 10)).to.equal(3);
    nowMs = 250;
    expect(attempts('a', 10)).to.equal(2);
    nowMs = 1_000_000;
    expect(attempts('a', 10)).to.equal(3);
  });

  it('never allows more than burst and refill, and never remembers more than its bound', () => {
    const step = fc.tuple(fc.nat({ max: 300 }), fc.nat({ max: 3 }).map(String));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        let nowMs = 0;
        const limiter = new AttemptLimiter(limits, () => nowMs);
        const allowed = new Map<string, number>();
        for (const [passedMs, address] of steps) {
          nowMs += passedMs;
          if (limiter.tryTake(address)) allowed.set(address, (allowed.get(address) ?? 0) + 1);
        }
        for (const count of allowed.values()) expect(count).to.be.at.most(limits.burst + nowMs / limits.refillMs);
        for (let count = 0; count < 100; count++) limiter.tryTake(`other ${count}`);
        expect(limiter.size).to.equal(limits.maxAddresses);
      }),
      { numRuns: 50 },
    );
  });

  it('counts an IPv4 address in either form as one, and of IPv6 the first 64 bits', () => {
    const group = (peer: string) => addressGroup(hostOfPeer(peer));
    expect(group('10.0.0.1:4711')).to.equal('10.0.0.1');
    expect(group('::ffff:10.0.0.1:4711')).to.equal('10.0.0.1');
    expect(group('2001:db8:0:1::5:4711')).to.equal('2001:db8:0:1::/64');
    expect(group('2001:0db8::1:ffff:0:0:9:80')).to.equal('2001:db8:0:1::/64');
    expect(group('::1:80')).to.equal('0:0:0:0::/64');
    expect(group('fe80::1%eth0:80')).to.equal('fe80:0:0:0::/64');
    expect(group('unknown')).to.equal('unknown');
    const local = ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1'];
    expect([...local, '10.0.0.1', '::ffff:10.0.0.1', '::2', 'unknown', ''].filter(isLoopbackHost)).to.deep.equal(local);
  });

  it('tells an address that it has tried too often, and still lets a right token in', async () => {
    const fixture = await SyncFixture.start();
    const store = new TokenStore(fixture.stateDirectory());
    const { text } = store.create({ folder: 'default', scope: 'read', label: '', expiresInMs: undefined });
    const wrong = bearer(`${text.slice(0, -9)}${text.at(-9) === '0' ? '1' : '0'}${text.slice(-8)}`);
    const { client } = fixture;
    const info = (metadata = wrong) =>
      reasonOf(unary(client, client.getServerInfo, { clientVersion: '' }, { metadata }));
    // The server looks for tokens once a second.
    while ((await info()) === 'no error');
    const reasons = new Set<string>();
    for (let count = 0; count < 120; count++) reasons.add(await info());
    expect([...reasons]).to.deep.equal(['UNAUTHENTICATED', 'LIMIT_EXCEEDED']);
    expect(await info(bearer(text))).to.equal('no error');
    expect(verifyAuditLog(fixture.stateDirectory())).to.have.property('lines').that.is.at.most(103);
    await fixture.stop();
  });
});

describe('what one token may do at a time (S33)', () => {
  const token = (fixture: SyncFixture) =>
    bearer(
      new TokenStore(fixture.stateDirectory()).create({
        folder: 'default',
        scope: 'read',
        label: '',
        expiresInMs: undefined,
      }).text,
    );

  it('is so many calls, and its neighbour is none the worse', async () => {
    const fixture = await SyncFixture.start({ setup: { callers: { calls: { burst: 20, refillMs: 3_600_000 } } } });
    const [greedy, modest] = [token(fixture), token(fixture)];
    const { client } = fixture;
    const ask = (metadata: Metadata) =>
      reasonOf(unary(client, client.getServerInfo, { clientVersion: '' }, { metadata }));
    const reasons: string[] = [];
    for (let count = 0; count < 30; count++) reasons.push(await ask(greedy));
    expect(reasons.filter((reason) => reason === 'no error')).to.have.length(20);
    expect(reasons.at(-1)).to.equal('LIMIT_EXCEEDED');
    expect(await ask(modest)).to.equal('no error');
    await fixture.stop();
  });

  it('is so many open streams, over all its connections, and each that ends makes room', async () => {
    const fixture = await SyncFixture.start({ setup: { callers: { maxOpenStreams: 3 } } });
    const metadata = token(fixture);
    const open = async () => {
      const call = fixture.connect().watchChanges({ folder: 'default', epoch: '', afterRevision: 0n }, metadata);
      const messages = readMessages(call);
      return { call, reason: await reasonOf(messages.next()) };
    };
    const first = await open();
    expect([first.reason, (await open()).reason, (await open()).reason]).to.deep.equal(Array(3).fill('no error'));
    expect((await open()).reason).to.equal('LIMIT_EXCEEDED');
    first.call.cancel();
    let reason = '';
    while (reason !== 'no error') ({ reason } = await open());
    await fixture.stop();
  });

  it('has no limit where no credentials are needed, on this machine', async () => {
    const callers = { calls: { burst: 1, refillMs: 3_600_000 }, maxOpenStreams: 1 };
    const fixture = await SyncFixture.start({ setup: { callers } });
    const { client } = fixture;
    for (let count = 0; count < 5; count++) await unary(client, client.getServerInfo, { clientVersion: '' });
    await fixture.stop();
  });
});
