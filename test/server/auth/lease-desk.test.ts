/**
 * Who gets a lease, and which streams end because of it. The clock is the test's.
 */
import { expect } from 'chai';
import type { LockstepError } from '../../../common/ops/errors.ts';
import { LeaseDesk } from '../../../services/sync-server/auth/lease-desk.ts';
import { reasonOf } from '../../support/sync-fixture.ts';

const alice = { holderId: Buffer.alloc(16, 1), holder: 'alice', takeOver: false };
const bob = { holderId: Buffer.alloc(16, 2), holder: 'bob', takeOver: false };

describe('lease desk', () => {
  let nowMs: number;
  let newest: bigint;
  let desk: LeaseDesk;
  const next = async () => ++newest;
  beforeEach(() => {
    nowMs = 1_000_000;
    newest = 0n;
    desk = new LeaseDesk({ graceMs: 10_000, maxUploadStreams: 2, now: () => nowMs });
  });

  const stream = () => {
    const ended: string[] = [];
    return { ended, end: (error: LockstepError) => void ended.push(error.reason) };
  };

  it('protects a lease without a stream for the grace time and no longer', async () => {
    await desk.acquire(alice, next);
    nowMs += 9_999;
    expect(await reasonOf(desk.acquire(bob, next))).to.equal('LEASE_HELD');
    nowMs += 1;
    expect(await desk.acquire(bob, next)).to.equal(2n);
    expect(desk.holder).to.deep.include({ holder: 'bob', isConnected: false });
  });

  it('protects a connected holder for as long as the stream is open', async () => {
    const connection = desk.connectChanges(await desk.acquire(alice, next), stream());
    nowMs += 1_000_000;
    expect(await reasonOf(desk.acquire(bob, next))).to.equal('LEASE_HELD');
    connection.disconnect();
    expect(await desk.acquire(bob, next)).to.equal(2n);
  });

  it('a holder whose stream broke may open another with the same lease', async () => {
    const lease = await desk.acquire(alice, next);
    desk.connectChanges(lease, stream()).disconnect();
    desk.connectChanges(lease, stream());
    expect(desk.holder).to.have.property('isConnected', true);
  });

  it('a lease that was given back is nobody’s, and opens no stream', async () => {
    const lease = await desk.acquire(alice, next);
    const upload = stream();
    const connection = desk.connectChanges(lease, stream());
    desk.connectUpload(lease, upload);
    connection.giveBack();
    expect(desk.holder).to.equal(undefined);
    expect(upload.ended).to.deep.equal(['LEASE_STALE']);
    expect(() => desk.connectChanges(lease, stream()))
      .to.throw()
      .with.property('reason', 'LEASE_STALE');
    expect(await desk.acquire(bob, next)).to.equal(2n);
  });

  it('an acquisition ends the streams of the lease before', async () => {
    const changes = stream();
    const upload = stream();
    const lease = await desk.acquire(alice, next);
    desk.connectChanges(lease, changes);
    desk.connectUpload(lease, upload);
    await desk.acquire({ ...bob, takeOver: true }, next);
    expect([changes.ended, upload.ended]).to.deep.equal([['LEASE_STALE'], ['LEASE_STALE']]);
    expect(() => desk.connectUpload(lease, upload))
      .to.throw()
      .with.property('reason', 'LEASE_STALE');
  });

  it('the end of a replaced stream does not disconnect the one that replaced it', async () => {
    const lease = await desk.acquire(alice, next);
    const lost = desk.connectChanges(lease, stream());
    desk.connectChanges(lease, stream());
    lost.disconnect();
    lost.giveBack();
    expect(desk.holder).to.have.property('isConnected', true);
  });

  it('grants one after the other: of two at once, the second sees the first', async () => {
    const both = await Promise.allSettled([desk.acquire(alice, next), desk.acquire(bob, next)]);
    expect(both.map(({ status }) => status)).to.deep.equal(['fulfilled', 'rejected']);
  });

  it('goes on after a number could not be had', async () => {
    const failing = desk.acquire(alice, async () => {
      throw new Error('disk');
    });
    expect(await reasonOf(failing)).to.match(/disk/);
    expect(await desk.acquire(bob, next)).to.equal(1n);
  });

  it('bounds the upload streams of a lease', async () => {
    const lease = await desk.acquire(alice, next);
    const leave = desk.connectUpload(lease, stream());
    desk.connectUpload(lease, stream());
    expect(() => desk.connectUpload(lease, stream()))
      .to.throw()
      .with.property('reason', 'LIMIT_EXCEEDED');
    leave();
    desk.connectUpload(lease, stream());
  });
});
