/**
 * Failed attempts: how many an address may have, and what counts as one address.
 */
import { expect } from 'chai';
import fc from 'fast-check';
import { addressGroup, hostOfPeer } from '../../../common/rpc/peer-address.ts';
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
  });

  it('tells an address that it has tried too often, and still lets a right token in', async () => {
    const fixture = await SyncFixture.start();
    const store = new TokenStore(fixture.stateDirectory());
    const { text } = store.create({ folder: 'default', scope: 'read', label: '', expiresInMs: undefined });
    const wrong = bearer(`${text.slice(0, -9)}${text.endsWith('0') ? '1' : '0'}${text.slice(-8)}`);
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
