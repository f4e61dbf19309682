/**
 * UploadContent over real sockets.
 */
import { randomBytes } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';
import { expect } from 'chai';
import { digestOf } from '../../../common/content/digest.ts';
import { fromStatus, isServiceError } from '../../../common/rpc/errors.ts';
import { Compressor } from '../../../gen/lockstep/sync/v1/entry.ts';
import type { UploadStep } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { OTHER_HOLDER_ID, reasonOf, SyncFixture, UploadStream, until } from '../../support/sync-fixture.ts';

const PART_BYTES = 256 * 1024;

describe('UploadContent', () => {
  let fixture: SyncFixture;
  let lease: bigint;
  beforeEach(async () => {
    fixture = await SyncFixture.start();
    ({ lease } = await fixture.acquire());
  });
  afterEach(() => fixture.stop());

  const begin = (uploadId: Buffer, content: Buffer) => ({
    folder: 'default',
    lease,
    uploadId,
    size: BigInt(content.length),
  });
  const digest = (content: Buffer) => digestOf('blake3', content);

  async function sendParts(stream: UploadStream, content: Buffer, from = 0): Promise<void> {
    for (let at = from; at < content.length; at += PART_BYTES) {
      await stream.send({ offset: BigInt(at), data: content.subarray(at, at + PART_BYTES) });
    }
  }

  it('takes contents one after the other on a stream, and answers each', async () => {
    const contents = [randomBytes(3_000_000), randomBytes(10), randomBytes(500_000)];
    const stream = new UploadStream(fixture.client);
    for (const [index, content] of contents.entries()) {
      await stream.send(begin(Buffer.alloc(16, index), content));
      await sendParts(stream, content);
      await stream.send({ finish: true, digest: digest(content) });
    }
    const complete = (await stream.close()).filter((answer) => answer.complete);
    expect(complete.map(({ uploadId, committedSize }) => [uploadId[0], Number(committedSize)])).to.deep.equal(
      contents.map((content, index) => [index, content.length]),
    );
    for (const content of contents)
      expect(fixture.replica.tree.content(digest(content))?.equals(content)).to.equal(true);
  });

  it('takes data and the end in the message that begins a content', async () => {
    // Large enough that the replica takes the memory of the whole message, digest and all.
    const content = randomBytes(400_000);
    const stream = new UploadStream(fixture.client);
    await stream.send({ ...begin(Buffer.alloc(16, 1), content), data: content, finish: true, digest: digest(content) });
    expect((await stream.close()).at(-1)).to.deep.include({ complete: true, committedSize: 400_000n });
  });

  it('tells how far a long content is', async () => {
    const content = randomBytes(4_000_000);
    const stream = new UploadStream(fixture.client);
    await stream.send(begin(Buffer.alloc(16, 1), content));
    await sendParts(stream, content);
    const sizes = (await stream.close()).map(({ committedSize }) => Number(committedSize));
    expect(sizes.length).to.be.greaterThan(2);
    expect(sizes).to.deep.equal(sizes.toSorted((a, b) => a - b));
  });

  it('resumes a broken upload where it stands', async () => {
    const content = randomBytes(2_000_000);
    const uploadId = Buffer.alloc(16, 7);
    const broken = new UploadStream(fixture.client);
    await broken.send(begin(uploadId, content));
    await broken.send({ data: content.subarray(0, 1_000_000) });
    await until(() => fixture.replica.received.writes === 1);
    broken.call.cancel();
    const stream = new UploadStream(fixture.client);
    await stream.send({ ...begin(uploadId, content), resume: true });
    const { committedSize } = await stream.next();
    expect(committedSize).to.equal(1_000_000n);
    await sendParts(stream, content, Number(committedSize));
    await stream.send({ finish: true, digest: digest(content) });
    expect((await stream.close()).at(-1)).to.deep.include({ complete: true });
  });

  it('answers complete at once when the folder has the content, and ignores what follows of it', async () => {
    const content = randomBytes(1000);
    fixture.replica.tree.addContent(content);
    const stream = new UploadStream(fixture.client);
    await stream.send({ ...begin(Buffer.alloc(16, 1), content), digest: digest(content) });
    await stream.send({ data: content, finish: true, digest: digest(content) });
    expect(await stream.close())
      .to.have.length(1)
      .and.to.have.nested.property('[0].complete', true);
    expect(fixture.replica.received.writes).to.equal(0);
  });

  it('copies ranges of the basis, and takes compressed literals', async () => {
    const basis = randomBytes(10_000);
    fixture.replica.tree.addContent(basis);
    const literal = Buffer.from('literal '.repeat(625));
    const content = Buffer.concat([
      basis.subarray(2000, 8000),
      literal.subarray(0, 1000),
      basis.subarray(0, 500),
      literal.subarray(1000),
    ]);
    const stream = new UploadStream(fixture.client);
    await stream.send({
      ...begin(Buffer.alloc(16, 1), content),
      basisDigest: digest(basis),
      basisPath: 'old',
      steps: [
        { copyOffset: 2000n, copyLength: 6000n, zeroLength: 0n, dataLength: 1000 },
        { copyOffset: 0n, copyLength: 500n, zeroLength: 0n, dataLength: 4000 },
      ],
      data: zstdCompressSync(literal),
      compressor: Compressor.COMPRESSOR_ZSTD,
      dataSize: literal.length,
      finish: true,
      digest: digest(content),
    });
    expect((await stream.close()).at(-1)).to.deep.include({ complete: true });
  });

  it('takes zeros as a number, up to a bound in each message (E20)', async () => {
    const [head, tail] = [randomBytes(10), randomBytes(20)];
    const content = Buffer.concat([head, Buffer.alloc(5_000_000), tail, Buffer.alloc(7)]);
    const step = { copyOffset: 0n, copyLength: 0n, zeroLength: 0n, dataLength: 0 };
    const stream = new UploadStream(fixture.client);
    await stream.send({
      ...begin(Buffer.alloc(16, 1), content),
      steps: [
        { ...step, dataLength: 10 },
        { ...step, zeroLength: 5_000_000n, dataLength: 20 },
        { ...step, zeroLength: 7n },
      ],
      data: Buffer.concat([head, tail]),
      finish: true,
      digest: digest(content),
    });
    expect((await stream.close()).at(-1)).to.deep.include({ complete: true });
    expect(fixture.replica.tree.content(digest(content))?.equals(content)).to.equal(true);

    const refused = async (size: bigint, zeros: readonly bigint[]) => {
      const other = new UploadStream(fixture.client);
      const steps = zeros.map((zeroLength) => ({ ...step, zeroLength }));
      await other.send({ ...begin(randomBytes(16), content), size, steps });
      return reasonOf(other.close());
    };
    expect(await refused(10n, [6n, 5n])).to.equal('INVALID_ARGUMENT');
    expect(await refused(2n ** 40n, [2n ** 25n, 2n ** 25n])).to.equal('no error');
    expect(await refused(2n ** 40n, [2n ** 25n, 2n ** 25n, 1n])).to.equal('LIMIT_EXCEEDED');
    expect(await refused(2n ** 40n, [2n ** 63n])).to.equal('INVALID_ARGUMENT');
  });

  it('refuses steps that do not take the data there are, and one step more than a message may have', async () => {
    const content = randomBytes(1000);
    const upload = async (steps: readonly UploadStep[]) => {
      const stream = new UploadStream(fixture.client);
      await stream.send({ ...begin(randomBytes(16), content), data: content, steps: [...steps] });
      return reasonOf(stream.close());
    };
    const step = { copyOffset: 0n, copyLength: 0n, zeroLength: 0n, dataLength: 0 };
    expect(await upload([{ ...step, dataLength: 999 }])).to.equal('INVALID_ARGUMENT');
    expect(await upload([{ ...step, dataLength: 1001 }])).to.equal('INVALID_ARGUMENT');
    const most = [...Array<typeof step>(65_535).fill(step), { ...step, dataLength: 1000 }];
    expect(await upload(most)).to.equal('no error');
    expect(await upload([step, ...most])).to.equal('LIMIT_EXCEEDED');
  });

  it('refuses a wrong digest, a wrong offset, an unknown basis, each with its reason', async () => {
    const content = randomBytes(1000);
    const upload = async (fields: object) => {
      const stream = new UploadStream(fixture.client);
      await stream.send({ ...begin(randomBytes(16), content), data: content, ...fields });
      return reasonOf(stream.close());
    };
    expect(await upload({ finish: true, digest: Buffer.alloc(32, 1) })).to.equal('DIGEST_MISMATCH');
    expect(await upload({ finish: true })).to.equal('INVALID_ARGUMENT');
    expect(await upload({ size: 2000n, offset: 500n })).to.equal('OFFSET_MISMATCH');
    expect(await upload({ basisDigest: Buffer.alloc(32, 1) })).to.equal('BASIS_MISMATCH');
    expect(await upload({ size: 10n })).to.equal('INVALID_ARGUMENT');
    expect(await upload({ basisDigest: Buffer.alloc(32, 1), basisPath: '../x' })).to.equal('INVALID_PATH');
    expect(await upload({ data: Buffer.alloc(2 ** 20 + 1), size: 2n ** 21n })).to.equal('LIMIT_EXCEEDED');
    expect(await upload({ uploadId: Buffer.alloc(3) })).to.equal('INVALID_ARGUMENT');
    expect(await upload({ compressor: 9, dataSize: 10 })).to.equal('INVALID_ARGUMENT');
  });

  it('names the committed size with OFFSET_MISMATCH', async () => {
    const stream = new UploadStream(fixture.client);
    await stream.send({ ...begin(randomBytes(16), Buffer.alloc(1000)), offset: 500n, data: Buffer.alloc(10) });
    try {
      await stream.close();
      expect.fail('no error');
    } catch (error) {
      const known = isServiceError(error) ? fromStatus(error) : error;
      expect(known).to.have.nested.property('details.committed_size', '0');
    }
  });

  it('refuses a message that continues nothing', async () => {
    const stream = new UploadStream(fixture.client);
    await stream.send({ data: Buffer.alloc(10) });
    expect(await reasonOf(stream.close())).to.equal('INVALID_ARGUMENT');
  });

  it('ends streams of a lease that was taken over', async () => {
    const stream = new UploadStream(fixture.client);
    await stream.send(begin(randomBytes(16), Buffer.alloc(1000)));
    await stream.next();
    await fixture.acquire({ holderId: OTHER_HOLDER_ID, takeOver: true });
    expect(await reasonOf(stream.next())).to.equal('LEASE_STALE');
    const late = new UploadStream(fixture.client);
    await late.send(begin(randomBytes(16), Buffer.alloc(1000)));
    expect(await reasonOf(late.next())).to.equal('LEASE_STALE');
  });

  it('bounds the number of streams under one lease', async () => {
    const streams = Array.from({ length: 17 }, () => new UploadStream(fixture.client));
    const answers = streams.map(async (stream) => {
      await stream.send(begin(randomBytes(16), Buffer.alloc(10)));
      return reasonOf(stream.next());
    });
    const reasons = await Promise.all(answers);
    expect(reasons.filter((reason) => reason === 'LIMIT_EXCEEDED')).to.have.length(1);
  });

  it('gives the place of a stream free when it is cancelled, whatever that still waits for', async () => {
    const release = fixture.replica.holdUploads();
    const open = async (): Promise<UploadStream> => {
      const before = fixture.replica.received.uploads;
      const stream = new UploadStream(fixture.client);
      await stream.send(begin(randomBytes(16), Buffer.alloc(10)));
      await until(() => fixture.replica.received.uploads > before);
      return stream;
    };
    const streams: UploadStream[] = [];
    while (streams.length < 16) streams.push(await open());
    for (const { call } of streams) {
      call.cancel();
      call.on('error', () => {});
    }
    await Promise.all(streams.map(async (stream) => expect(await reasonOf(stream.next())).not.to.equal('no error')));
    const next = await open();
    release();
    expect((await next.next()).committedSize).to.equal(0n);
    await next.close();
  });

  it('stops reading copies of ranges while the replica is behind, though they have no bytes', async () => {
    const basis = randomBytes(100);
    fixture.replica.tree.addContent(basis);
    const release = fixture.replica.holdBatches();
    const uploadId = randomBytes(16);
    const stream = new UploadStream(fixture.client);
    const size = 20_000;
    await stream.send({ ...begin(uploadId, Buffer.alloc(size)), basisDigest: digest(basis), basisPath: 'basis' });
    const sending = (async () => {
      for (let at = 0; at < size; at++)
        await stream.send({
          offset: BigInt(at),
          steps: [{ copyOffset: 0n, copyLength: 1n, zeroLength: 0n, dataLength: 0 }],
        });
    })();
    await until(() => fixture.replica.received.writes > 0);
    let before = -1;
    while (before !== fixture.replica.received.writes) {
      before = fixture.replica.received.writes;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // 4 MiB of what they cost, and some in the streams.
    expect(fixture.replica.received.writes).to.be.within(1, 5000);
    release();
    await sending;
    stream.call.cancel();
  });

  it('stops reading while the replica is behind', async () => {
    const release = fixture.replica.holdBatches();
    const content = Buffer.alloc(12 * 2 ** 20);
    const stream = new UploadStream(fixture.client);
    await stream.send(begin(randomBytes(16), content));
    const sending = sendParts(stream, content);
    await until(() => fixture.replica.received.writes > 10);
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(fixture.replica.received.writes).to.be.lessThan(20);
    release();
    await sending;
    await stream.send({ finish: true, digest: digest(content) });
    expect((await stream.close()).at(-1)).to.deep.include({ complete: true });
  });

  it('reads no file of this machine for who has not shown that he may (S41)', async () => {
    const content = randomBytes(10);
    const upload = async (path: string, more: object = {}, knownDigest = Buffer.alloc(0)) => {
      const stream = new UploadStream(fixture.client);
      const localFile = { path: Buffer.from(path), device: 1n, inode: 1n, proof: Buffer.alloc(32), knownDigest };
      await stream.send({ ...begin(randomBytes(16), content), localFile, ...more });
      return reasonOf(stream.close());
    };
    expect(await upload('/etc/hostname')).to.equal('PERMISSION_DENIED');
    expect(await upload('etc/hostname')).to.equal('INVALID_ARGUMENT');
    expect(await upload('')).to.equal('INVALID_ARGUMENT');
    expect(await upload('/etc\0/hostname')).to.equal('INVALID_ARGUMENT');
    expect(await upload('/etc/hostname', {}, Buffer.alloc(31))).to.equal('INVALID_ARGUMENT');
    const basis = { basisDigest: digest(content), basisPath: 'basis' };
    expect(await upload('/etc/hostname', basis)).to.equal('INVALID_ARGUMENT');
    expect(fixture.replica.received.uploads).to.equal(0);
  });
});
