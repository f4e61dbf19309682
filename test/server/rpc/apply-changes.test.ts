/**
 * ApplyChanges and AcquireLease over real sockets.
 */
import { zstdCompressSync } from 'node:zlib';
import { expect } from 'chai';
import { fromStatus, isServiceError } from '../../../common/rpc/errors.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { treePathFromLocal } from '../../../common/tree/tree-path.ts';
import { Batch, ChangeProblemKind } from '../../../gen/lockstep/sync/v1/change.ts';
import { Compressor } from '../../../gen/lockstep/sync/v1/entry.ts';
import {
  ChangesStream,
  HOLDER_ID,
  makeDirectory,
  OTHER_HOLDER_ID,
  putFile,
  reasonOf,
  SyncFixture,
  until,
} from '../../support/sync-fixture.ts';

describe('ApplyChanges', () => {
  let fixture: SyncFixture;
  beforeEach(async () => {
    fixture = await SyncFixture.start();
  });
  afterEach(() => fixture.stop());

  it('applies batches and answers their revisions in the order of the batches', async () => {
    const { lease } = await fixture.acquire();
    const stream = await fixture.openChanges(lease);
    const ids: Buffer[] = [];
    for (let index = 0; index < 50; index++) ids.push(await stream.sendBatch([putFile(`file-${index}`, `${index}`)]));
    for (const [index, id] of ids.entries()) {
      const applied = await stream.nextApplied();
      expect(Buffer.from(applied.batchId).equals(id)).to.equal(true);
      expect(applied).to.deep.include({ revision: BigInt(index + 1), durable: true, problems: [] });
    }
    expect(fixture.replica.tree.entryCount).to.equal(50);
  });

  it('answers a batch that was applied before with the same revision', async () => {
    const { lease } = await fixture.acquire();
    const stream = await fixture.openChanges(lease);
    const id = await stream.sendBatch([putFile('a', '1')]);
    await stream.sendBatch([putFile('b', '2')]);
    await stream.sendBatch([putFile('a', '1')], id);
    const revisions = [await stream.nextApplied(), await stream.nextApplied(), await stream.nextApplied()];
    expect(revisions.map(({ revision }) => revision)).to.deep.equal([1n, 2n, 1n]);
  });

  it('hands a repeated batch over only when the one before is answered, whoever does not read answers (S33)', async () => {
    const { lease } = await fixture.acquire();
    const stream = await fixture.openChanges(lease);
    const release = fixture.replica.holdBatches();
    const id = Buffer.alloc(16, 7);
    for (let n = 0; n < 50; n++) await stream.sendBatch([putFile('a', '1')], id);
    await until(() => fixture.replica.received.batches > 0);
    // Answered behind all of them, on the same connection.
    await unary(fixture.client, fixture.client.getServerInfo, { clientVersion: '' });
    expect(fixture.replica.received.batches).to.equal(1);
    release();
    for (let n = 0; n < 50; n++) expect((await stream.nextApplied()).revision).to.equal(1n);
    expect(fixture.replica.received.batches).to.equal(50);
  });

  it('takes compressed batches', async () => {
    const { lease } = await fixture.acquire();
    const stream = await fixture.openChanges(lease);
    const batch = Batch.encode({ batchId: Buffer.alloc(16, 9), changes: [putFile('a', 'x'.repeat(5000))] }).finish();
    const value = {
      compressor: Compressor.COMPRESSOR_ZSTD,
      size: BigInt(batch.length),
      data: zstdCompressSync(batch),
    };
    await stream.send({ message: { $case: 'compressedBatch', value } });
    expect(await stream.nextApplied()).to.deep.include({ revision: 1n, problems: [] });
  });

  it('reports a bad entry as a problem of that entry, and applies the others (E110)', async () => {
    const { lease } = await fixture.acquire();
    const stream = await fixture.openChanges(lease);
    await stream.sendBatch([putFile('a', '1'), putFile('missing/b', '2'), putFile('../c', '3'), putFile('d', '4')]);
    const { revision, problems } = await stream.nextApplied();
    expect(revision).to.equal(1n);
    expect(problems.map(({ index, reason, kind }) => ({ index, reason, kind }))).to.deep.equal([
      { index: 1, reason: 'PARENT_MISSING', kind: ChangeProblemKind.CHANGE_PROBLEM_KIND_INVALID },
      { index: 2, reason: 'INVALID_PATH', kind: ChangeProblemKind.CHANGE_PROBLEM_KIND_INVALID },
    ]);
    expect(fixture.replica.tree.entryCount).to.equal(2);
  });

  it('with ACKNOWLEDGEMENT_APPLIED answers before durability, and tells when it caught up', async () => {
    const { lease } = await fixture.acquire();
    const sync = fixture.replica.holdSync();
    const stream = await fixture.openChanges(lease, 2);
    for (const name of ['a', 'b', 'c']) await stream.sendBatch([putFile(name, name)]);
    for (let count = 0; count < 3; count++) expect(await stream.nextApplied()).to.deep.include({ durable: false });
    sync();
    let revision = 0n;
    while (revision < 3n) {
      const answer = await stream.next();
      if (answer.$case !== 'durable') throw new Error(answer.$case);
      expect(answer.value.revision > revision).to.equal(true);
      ({ revision } = answer.value);
    }
  });

  it('answers everything after a half-close, durability included, and then gives the lease back', async () => {
    const { lease } = await fixture.acquire();
    const sync = fixture.replica.holdSync();
    const stream = await fixture.openChanges(lease, 2);
    await stream.sendBatch([putFile('a', '1')]);
    const closing = stream.close();
    await until(() => fixture.replica.received.batches === 1);
    sync();
    expect((await closing).map(({ $case }) => $case)).to.deep.equal(['applied', 'durable']);
    const other = await fixture.acquire({ holderId: OTHER_HOLDER_ID });
    expect(other.lease > lease).to.equal(true);
  });

  it('stops reading while more than max_in_flight_bytes are unanswered', async () => {
    await fixture.stop();
    fixture = await SyncFixture.start({ limits: { maxInFlightBytes: 1_000_000 } });
    const release = fixture.replica.holdBatches();
    const { lease } = await fixture.acquire();
    const stream = await fixture.openChanges(lease);
    const total = 40;
    const sending = (async () => {
      for (let index = 0; index < total; index++) await stream.sendBatch([putFile(`${index}`, Buffer.alloc(200_000))]);
    })();
    await until(() => fixture.replica.received.batchBytes > 1_000_000);
    // Time for a server that would not stop.
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(fixture.replica.received.batches).to.be.lessThan(7);
    release();
    for (let index = 0; index < total; index++) await stream.nextApplied();
    await sending;
    expect(fixture.replica.received.batches).to.equal(total);
  });

  it('refuses a stream that does not begin with `open`, and one that is opened twice', async () => {
    const unopened = new ChangesStream(fixture.client);
    await unopened.sendBatch([putFile('a', '1')]);
    expect(await reasonOf(unopened.next())).to.equal('INVALID_ARGUMENT');
    const { lease } = await fixture.acquire();
    const stream = await fixture.openChanges(lease);
    await stream.send({ message: { $case: 'open', value: { folder: 'default', lease, acknowledgement: 1 } } });
    expect(await reasonOf(stream.next())).to.equal('INVALID_ARGUMENT');
  });

  it('refuses messages that set nothing', async () => {
    const { lease } = await fixture.acquire();
    const stream = await fixture.openChanges(lease);
    await stream.send({ message: undefined });
    expect(await reasonOf(stream.next())).to.equal('INVALID_ARGUMENT');
  });

  it('refuses a batch beyond the limit', async () => {
    const { lease } = await fixture.acquire();
    const stream = await fixture.openChanges(lease);
    const content = Buffer.alloc(256 * 1024);
    await stream.sendBatch(Array.from({ length: 9 }, (_, index) => putFile(`${index}`, content)));
    expect(await reasonOf(stream.next())).to.equal('LIMIT_EXCEEDED');
  });

  it('tells the writer which directories drifted', async () => {
    const { lease } = await fixture.acquire();
    const stream = await fixture.openChanges(lease);
    fixture.replica.announceDrift([treePathFromLocal(Buffer.from('docs')), treePathFromLocal(Buffer.from([0xff]))]);
    expect(await stream.next()).to.deep.equal({
      $case: 'drifted',
      value: { paths: ['docs', '%FF'], headRevision: 1n },
    });
  });
});

describe('leases', () => {
  let fixture: SyncFixture;
  beforeEach(async () => {
    fixture = await SyncFixture.start();
  });
  afterEach(() => fixture.stop());

  it('tells where the folder stands, and the root digest only to who does not know it', async () => {
    await fixture.apply(makeDirectory('d'), putFile('d/a', '1'));
    const first = await fixture.acquire();
    expect(first).to.deep.include({ headRevision: 1n, entries: 2n });
    expect(Buffer.from(first.rootTreeDigest).equals(await fixture.replica.rootTreeDigest())).to.equal(true);
    const request = { folder: 'default', holderId: HOLDER_ID, knownEpoch: first.epoch, knownRevision: 1n };
    const second = await new Promise<{ rootTreeDigest: Uint8Array }>((resolve, reject) => {
      fixture.client.acquireLease({ ...request, holder: '', takeOver: false }, (error, response) => {
        if (error === null) resolve(response);
        else reject(error);
      });
    });
    expect(second.rootTreeDigest).to.have.length(0);
  });

  it('tells a state only once it is durable: what the client builds on must not be lost', async () => {
    const { lease } = await fixture.acquire();
    const stream = await fixture.openChanges(lease, 2);
    const sync = fixture.replica.holdSync();
    await stream.sendBatch([putFile('a', '1')]);
    await stream.nextApplied();
    let isAnswered = false;
    const acquiring = fixture.acquire().then((answer) => {
      isAnswered = true;
      return answer;
    });
    expect(await reasonOf(stream.next())).to.equal('LEASE_STALE');
    expect(isAnswered).to.equal(false);
    sync();
    expect(await acquiring).to.deep.include({ headRevision: 1n });
  });

  it('refuses a second writer while the first is connected, and names the holder (E106)', async () => {
    const { lease } = await fixture.acquire({ holder: 'laptop:/home/a' });
    await fixture.openChanges(lease);
    try {
      await fixture.acquire({ holderId: OTHER_HOLDER_ID });
      expect.fail('a second writer was let in');
    } catch (error) {
      const known = isServiceError(error) ? fromStatus(error) : error;
      expect(known).to.deep.include({ reason: 'LEASE_HELD' });
      expect((known as { details: object }).details)
        .to.include({ holder: 'laptop:/home/a' })
        .and.to.have.property('since');
    }
  });

  it('protects a lease for the grace time, until its stream is opened', async () => {
    await fixture.acquire();
    expect(await reasonOf(fixture.acquire({ holderId: OTHER_HOLDER_ID }))).to.equal('LEASE_HELD');
  });

  it('lets anyone in when the holder is gone', async () => {
    await fixture.stop();
    fixture = await SyncFixture.start({ limits: { leaseGraceMs: 0 } });
    const { lease } = await fixture.acquire();
    const stream = await fixture.openChanges(lease);
    stream.call.cancel();
    let reason = '';
    while (reason !== 'no error') reason = await reasonOf(fixture.acquire({ holderId: OTHER_HOLDER_ID }));
  });

  it('ends the streams of the old lease when it is taken over, and refuses what comes with it (E108)', async () => {
    const old = await fixture.acquire();
    const stream = await fixture.openChanges(old.lease);
    const taken = await fixture.acquire({ holderId: OTHER_HOLDER_ID, takeOver: true });
    expect(taken.lease > old.lease).to.equal(true);
    expect(await reasonOf(stream.next())).to.equal('LEASE_STALE');
    expect(await reasonOf(fixture.openChanges(old.lease))).to.equal('LEASE_STALE');
    await fixture.openChanges(taken.lease);
  });

  it('lets the same holder acquire again at any time', async () => {
    const first = await fixture.acquire();
    const stream = await fixture.openChanges(first.lease);
    const second = await fixture.acquire();
    expect(second.lease > first.lease).to.equal(true);
    expect(await reasonOf(stream.next())).to.equal('LEASE_STALE');
  });

  it('replaces a half-open stream of the same lease (E105)', async () => {
    const { lease } = await fixture.acquire();
    const lost = await fixture.openChanges(lease);
    const again = await fixture.openChanges(lease, 1, fixture.connect());
    expect(await reasonOf(lost.next())).to.equal('LEASE_STALE');
    await again.sendBatch([putFile('a', '1')]);
    expect(await again.nextApplied()).to.deep.include({ revision: 1n });
  });

  it('refuses holder ids of another length, and texts that are too long', async () => {
    expect(await reasonOf(fixture.acquire({ holderId: Buffer.alloc(3) }))).to.equal('INVALID_ARGUMENT');
    expect(await reasonOf(fixture.acquire({ holder: 'x'.repeat(1000) }))).to.equal('LIMIT_EXCEEDED');
  });
});
