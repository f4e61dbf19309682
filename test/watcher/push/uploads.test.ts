/**
 * What becomes of a content when the server, the lease or the session fails it.
 */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { UploadRequest, UploadResult } from '../../../clients/watcher/engine/messages.ts';
import { Connection } from '../../../clients/watcher/push/connection.ts';
import { ContentReader } from '../../../clients/watcher/push/content-reader.ts';
import { TokenBucket } from '../../../clients/watcher/push/token-bucket.ts';
import type { UploadContext } from '../../../clients/watcher/push/upload-stream.ts';
import { Uploads, type UploadsOptions } from '../../../clients/watcher/push/uploads.ts';
import { LocalFiles } from '../../../clients/watcher/push/local-files.ts';
import { chunkingParameters } from '../../../common/content/chunker.ts';
import { digestOf } from '../../../common/content/digest.ts';
import { SignatureBuilder } from '../../../common/content/signature-builder.ts';
import { encodeSignature } from '../../../common/content/signature-codec.ts';
import { LockstepError, type Reason } from '../../../common/ops/errors.ts';
import { createLogger } from '../../../common/ops/logger.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeServer, type FakeServerScript } from '../../support/fake-server.ts';
import { NO_SECURITY } from '../../support/no-security.ts';

describe('Uploads', () => {
  let root: string;
  let server: FakeServer;
  let connection: Connection;
  let content: ContentReader;
  let uploads: Uploads;
  let results: UploadResult[];
  let stale: LockstepError[];

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'lockstep-uploads-'));
    content = new ContentReader(root);
    results = [];
    stale = [];
  });

  afterEach(async () => {
    await uploads.close();
    connection.close();
    await content.close();
    await server.stop();
    rmSync(root, { recursive: true, force: true });
  });

  async function start(
    script: FakeServerScript = {},
    options: Partial<Omit<UploadsOptions, 'context'>> & Pick<UploadContext, 'bandwidth' | 'localFiles'> = {},
  ): Promise<void> {
    server = new FakeServer(script);
    connection = new Connection({ address: await server.start(), security: NO_SECURITY });
    uploads = new Uploads({
      context: {
        content,
        folder: 'default',
        lease: 1n,
        transfer: { digestFunction: 'blake3', zstd: false, maxZeroBytes: 0 },
        compressWhole: false,
        bandwidth: options.bandwidth,
        localFiles: options.localFiles,
      },
      open: () => connection.uploadContent(),
      fetchSignature: undefined,
      maxStreams: 4,
      onResult: (result) => results.push(result),
      onStale: (error) => stale.push(error),
      logger: createLogger({ name: 'test', level: 'silent' }),
      ...options,
    });
  }

  function requestOf(path: string, bytes: Buffer): UploadRequest {
    writeFileSync(join(root, path), bytes);
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(join(root, path), { bigint: true });
    const uploadId = digestOf('blake3', Buffer.from(path)).toString('hex').slice(0, 32);
    return { uploadId, path: path as TreePath, sizeBytes: Number(size), dev, ino, mtimeNs, ctimeNs };
  }

  function withBasis(request: UploadRequest, bytes: Buffer): UploadRequest {
    const builder = new SignatureBuilder('blake3', chunkingParameters(8192));
    builder.push(bytes);
    const { signature } = builder.finish();
    if (signature === undefined) throw new Error('a content without a signature');
    const basis = { digest: digestOf('blake3', bytes), path: request.path, signature: encodeSignature(signature) };
    return { ...request, basis };
  }

  const resultOf = ({ uploadId }: UploadRequest) => results.find((result) => result.uploadId === uploadId)?.outcome;

  async function outcomeOf(request: UploadRequest) {
    uploads.request(request);
    return eventually('the upload', () => resultOf(request));
  }

  const hasArrived = (bytes: Buffer) =>
    server.contents.get(digestOf('blake3', bytes).toString('hex'))?.equals(bytes) === true;
  const error = (reason: Reason) => new LockstepError(reason, `made to say ${reason}`);

  it('answers as interrupted what comes when the session is over', async () => {
    await start();
    await uploads.close();
    const request = requestOf('f', randomBytes(10));
    uploads.request(request);
    expect(resultOf(request)).to.deep.equal({ type: 'interrupted' });
    uploads.cancel('of nobody');
    expect(results).to.have.length(1);
  });

  it('cancels what only waits for its turn, and says nothing of it', async () => {
    await start({ onUploadAnswer: () => [] }, { maxStreams: 1 });
    const [first, second] = [requestOf('f', randomBytes(10)), requestOf('g', randomBytes(10))];
    uploads.request(first);
    uploads.request(second);
    uploads.cancel(second.uploadId);
    await uploads.close();
    expect(results.map(({ path, outcome }) => [path, outcome.type])).to.deep.equal([['f', 'interrupted']]);
  });

  it('ends the session when its lease is gone', async () => {
    await start({ onUpload: () => error('LEASE_STALE') });
    expect(await outcomeOf(requestOf('f', randomBytes(10)))).to.deep.equal({ type: 'interrupted' });
    expect(stale.map(({ reason }) => reason)).to.deep.equal(['LEASE_STALE']);
  });

  it('asks a server once where it stands, not for ever', async () => {
    await start({ onUpload: ({ resume }) => (resume ? undefined : error('OFFSET_MISMATCH')) });
    expect(await outcomeOf(requestOf('f', randomBytes(10)))).to.include({ type: 'failed', reason: 'OFFSET_MISMATCH' });
    expect(server.uploads.filter(({ resume }) => resume)).to.have.length(1);
  });

  it('starts the thread of contents while it waits for where the server stands', async () => {
    let isPrepared = false;
    content.prepare = () => {
      isPrepared = true;
    };
    await start({ onUploadAnswer: () => [] });
    uploads.request(requestOf('large', Buffer.alloc(5 * 2 ** 20)));
    await eventually('the question', () => server.uploads.length === 1);
    expect(isPrepared).to.equal(true);
  });

  it('sends the whole to a server that has another basis, and only then', async () => {
    const bytes = randomBytes(100_000);
    await start({ onUpload: ({ basisDigest }) => (basisDigest.length > 0 ? error('BASIS_MISMATCH') : undefined) });
    expect(await outcomeOf(withBasis(requestOf('f', bytes), randomBytes(50_000)))).to.include({ type: 'done' });
    expect(hasArrived(bytes)).to.equal(true);
    connection.close();
    await server.stop();
    await start({ onUpload: () => error('BASIS_MISMATCH') });
    expect(await outcomeOf(requestOf('g', bytes))).to.include({ type: 'failed', reason: 'BASIS_MISMATCH' });
  });

  for (const reason of ['DRAINING', 'SERVER_UNREACHABLE', 'CANCELLED'] as const) {
    it(`stops waiting for the channel of contents when the session is over (${reason})`, async () => {
      const logger = createLogger({ name: 'test', level: 'silent' });
      let failures = 0;
      logger.debug = () => {
        failures++;
      };
      await start({ onUpload: () => error(reason) }, { logger });
      uploads.request(requestOf('f', randomBytes(10)));
      // It waits from the moment at which it says so.
      await eventually('the first failure', () => failures > 0);
      await uploads.close();
      expect(results.map(({ outcome }) => outcome)).to.deep.equal([{ type: 'interrupted' }]);
    });
  }

  it('says what cannot be read', async () => {
    await start();
    const request = requestOf('f', randomBytes(10));
    rmSync(root, { recursive: true });
    expect(await outcomeOf(request)).to.include({ type: 'failed', reason: 'ROOT_MISSING' });
  });

  it('asks for no signature of what is too short for one', async () => {
    let asked = 0;
    await start(
      {},
      {
        fetchSignature: async () => {
          asked++;
          throw error('CONTENT_NOT_FOUND');
        },
      },
    );
    const bytes = randomBytes(300_000);
    const before = { digest: digestOf('blake3', bytes), sizeBytes: 1000 };
    expect(await outcomeOf({ ...requestOf('f', bytes), before })).to.include({ type: 'done' });
    expect(asked).to.equal(0);
    expect(await outcomeOf({ ...requestOf('g', bytes), before: { ...before, sizeBytes: 300_000 } })).to.include({
      type: 'done',
      sentBytes: bytes.length,
    });
    expect(asked).to.equal(1);
  });

  it('goes on a call that is open already, while others run', async () => {
    let opened = 0;
    let asked = false;
    const open = () => {
      opened++;
      return connection.uploadContent();
    };
    const fetchSignature = (_digest: Uint8Array, _sizeBytes: number, signal: AbortSignal) =>
      new Promise<never>((_resolve, reject) => {
        asked = true;
        signal.addEventListener('abort', () => reject(signal.reason));
      });
    await start({}, { open, fetchSignature });
    const bytes = randomBytes(300_000);
    const before = { digest: digestOf('blake3', bytes), sizeBytes: bytes.length };
    uploads.request({ ...requestOf('waits', bytes), before });
    await eventually('the question', () => asked);
    for (const name of ['one', 'another']) {
      expect(await outcomeOf(requestOf(name, randomBytes(1000)))).to.include({ type: 'done' });
    }
    expect(opened).to.equal(1);
  });

  it('is interrupted while it waits for a signature', async () => {
    let asked = false;
    const fetchSignature = (_digest: Uint8Array, _sizeBytes: number, signal: AbortSignal) =>
      new Promise<never>((_resolve, reject) => {
        asked = true;
        signal.addEventListener('abort', () => reject(signal.reason));
      });
    await start({}, { fetchSignature });
    const bytes = randomBytes(300_000);
    uploads.request({
      ...requestOf('f', bytes),
      before: { digest: digestOf('blake3', bytes), sizeBytes: bytes.length },
    });
    await eventually('the question', () => asked);
    await uploads.close();
    expect(results.map(({ outcome }) => outcome)).to.deep.equal([{ type: 'interrupted' }]);
    expect(server.uploads).to.have.length(0);
  });

  it('waits for its part of the bandwidth, chunk by chunk', async () => {
    let rate: number | undefined = 1000;
    let asked = 0;
    const bandwidth = new TokenBucket(() => {
      asked++;
      return rate;
    });
    await start({}, { bandwidth });
    // An hour's worth.
    expect(bandwidth.admit(3_600_000, 'changes')).to.equal(undefined);
    const bytes = randomBytes(600_000);
    const request = requestOf('f', bytes);
    uploads.request(request);
    await eventually('the beginning', () => server.uploads.length > 0);
    await eventually('the first chunk, which has to wait', () => asked > 1);
    expect(server.uploads.every(({ data }) => data.length === 0)).to.equal(true);
    rate = undefined;
    bandwidth.refresh();
    expect(await eventually('the upload', () => resultOf(request))).to.include({ type: 'done' });
    expect(hasArrived(bytes)).to.equal(true);
  });

  it('sends nothing of what turns out to be complete', async () => {
    await start({ onUploadAnswer: ({ size }) => (size > 0n ? [{ committedSize: size, complete: true }] : []) });
    const bytes = randomBytes(5_000_000);
    expect(await outcomeOf(requestOf('f', bytes))).to.deep.include({
      type: 'done',
      digest: new Uint8Array(digestOf('blake3', bytes)),
      sentBytes: 0,
    });
    expect(server.uploads).to.have.length(1);
  });

  it('passes over answers about another content', async () => {
    const bytes = randomBytes(4_500_000);
    const request = requestOf('f', bytes);
    const own = Buffer.from(request.uploadId, 'hex');
    await start({
      onUploadAnswer: ({ size, finish }) => {
        if (finish) return [{ uploadId: own, complete: true }];
        const foreign = { uploadId: Buffer.alloc(16, 9), committedSize: 1n << 60n, complete: true };
        return size > 0n ? [foreign, { committedSize: 0n }] : [];
      },
    });
    expect(await outcomeOf(request)).to.include({ type: 'done', sentBytes: bytes.length });
  });

  it('does not believe a server that holds more of a content than there is', async () => {
    await start({ onUploadAnswer: ({ size }) => [{ committedSize: size + 1n }] });
    expect(await outcomeOf(requestOf('f', randomBytes(5_000_000)))).to.include({
      type: 'failed',
      reason: 'INVALID_ARGUMENT',
    });
  });

  describe('of files that the server may read itself', () => {
    let localFiles: LocalFiles;
    beforeEach(() => {
      writeFileSync(join(root, 'local-key'), Buffer.alloc(32, 7));
      const opened = LocalFiles.open(root, join(root, 'local-key'));
      if (opened === undefined) throw new Error('the key was not read');
      localFiles = opened;
    });

    /** Answers as a server that has read what it was told to. */
    function having(bytes: Buffer, digest: Buffer = digestOf('blake3', bytes), before = () => {}): FakeServerScript {
      let own = Buffer.alloc(0);
      return {
        onUploadAnswer: ({ uploadId, finish, steps }) => {
          if (uploadId.length > 0) own = Buffer.from(uploadId);
          const committedSize = steps.reduce((sum, { copyLength }) => sum + copyLength, 0n);
          if (!finish) return committedSize > 0n ? [{ uploadId: own, committedSize }] : [];
          before();
          return [{ uploadId: own, committedSize: BigInt(bytes.length), complete: true, digest }];
        },
      };
    }

    it('names the file and sends nothing of it', async () => {
      const bytes = randomBytes(1_000_000);
      await start(having(bytes), { localFiles });
      const request = requestOf('f', bytes);
      const digest = new Uint8Array(digestOf('blake3', bytes));
      expect(await outcomeOf(request)).to.deep.equal({ type: 'done', digest, sentBytes: 0 });
      expect(server.uploads.map(({ data }) => data.length)).to.deep.equal([0, 0, 0]);
      expect(server.uploads[0]?.localFile).to.deep.include({ inode: request.ino });
      expect(server.uploads[0]?.localFile?.path.toString()).to.equal(join(root, 'f'));
    });

    it('looks again at a file that changed while the server read it (E37)', async () => {
      const bytes = randomBytes(1000);
      const change = () => writeFileSync(join(root, 'f'), randomBytes(1000));
      await start(having(bytes, undefined, change), { localFiles });
      expect(await outcomeOf(requestOf('f', bytes))).to.deep.equal({ type: 'changed' });
    });

    describe('where only the time may be new (E75)', () => {
      const bytes = randomBytes(100_000);
      const digest = new Uint8Array(digestOf('blake3', bytes));
      const other = new Uint8Array(32).fill(1);
      /** Of a file whose path the server has with this digest. */
      const known = (before: Uint8Array): UploadRequest => ({
        ...requestOf('f', bytes),
        knownDigest: before,
        before: { digest: before, sizeBytes: bytes.length },
      });
      const knownDigests = () =>
        server.uploads.flatMap(({ localFile }) => (localFile === undefined ? [] : [localFile.knownDigest.length]));
      /** A disk with no room for what may not be needed, and with room for nothing. */
      const full = (isFull: (knownLength: number) => boolean): FakeServerScript => {
        const { onUploadAnswer } = having(bytes);
        return {
          onUploadAnswer: (message) => {
            const { localFile } = message;
            if (localFile !== undefined && isFull(localFile.knownDigest.length)) throw error('NO_SPACE');
            return onUploadAnswer?.(message) ?? [];
          },
        };
      };

      it('has the server find that out, and reads nothing itself', async () => {
        await start(having(bytes), { localFiles });
        content.read = () => expect.fail('it was read');
        for (const before of [digest, other]) {
          expect(await outcomeOf(known(before))).to.deep.equal({ type: 'done', digest, sentBytes: 0 });
          expect(server.uploads[0]?.localFile?.knownDigest).to.deep.equal(Buffer.from(before));
          server.uploads.length = 0;
          results.length = 0;
        }
      });

      it('reads it itself where the server has no room for a copy that may not be needed', async () => {
        await start(
          full((knownLength) => knownLength > 0),
          { localFiles },
        );
        expect(await outcomeOf(known(digest))).to.deep.equal({ type: 'done', digest, sentBytes: 0 });
        expect(knownDigests()).to.deep.equal([32]);
        results.length = 0;
        expect(await outcomeOf(known(other))).to.deep.equal({ type: 'done', digest, sentBytes: 0 });
        expect(knownDigests()).to.deep.equal([32, 32, 0]);
      });

      it('says that there is no room for what is needed', async () => {
        await start(
          full(() => true),
          { localFiles },
        );
        expect(await outcomeOf(known(other))).to.include({ type: 'failed', reason: 'NO_SPACE' });
        expect(knownDigests()).to.deep.equal([32, 0]);
      });

      it('reads it first where it may be a copy of another file, or is so large that a copy would reach the disk', async () => {
        await start(having(bytes), { localFiles });
        const copy = { ...requestOf('copy', bytes), knownDigest: digest };
        expect(await outcomeOf(copy)).to.deep.equal({ type: 'done', digest, sentBytes: 0 });
        expect(server.uploads).to.deep.equal([]);
        const large = requestOf('large', bytes);
        truncateSync(join(root, 'large'), 2 ** 30 + 1);
        const { size, mtimeNs, ctimeNs } = statSync(join(root, 'large'), { bigint: true });
        const before = { digest: other, sizeBytes: Number(size) };
        uploads.request({ ...large, sizeBytes: Number(size), mtimeNs, ctimeNs, knownDigest: other, before });
        await eventually('the server reads it', () => knownDigests().length > 0);
        expect(knownDigests()).to.deep.equal([0]);
      });
    });

    it('sends what the server cannot read, and after several such files does not ask it again', async () => {
      await start(
        { onUpload: ({ localFile }) => (localFile === undefined ? undefined : error('BASIS_MISMATCH')) },
        { localFiles },
      );
      for (let n = 0; n < 6; n++) {
        const bytes = randomBytes(100_000);
        expect(await outcomeOf(requestOf(`f${n}`, bytes))).to.have.property('type', 'done');
        expect(hasArrived(bytes)).to.equal(true);
      }
      expect(server.uploads.filter(({ localFile }) => localFile !== undefined)).to.have.length(4);
    });

    it('tells a delta where the server has the basis and cannot read the file', async () => {
      const bytes = randomBytes(200_000);
      const script: FakeServerScript = {
        onUpload: ({ localFile, basisDigest }) =>
          localFile !== undefined || basisDigest.length > 0 ? error('BASIS_MISMATCH') : undefined,
      };
      await start(script, { localFiles });
      expect(await outcomeOf(withBasis(requestOf('f', bytes), randomBytes(200_000)))).to.have.property('type', 'done');
      expect(server.uploads.filter(({ basisDigest }) => basisDigest.length > 0)).to.have.length(1);
    });

    it('sends it where less may be sent than would go', async () => {
      await start({}, { localFiles, bandwidth: new TokenBucket(() => 1e9) });
      const bytes = randomBytes(100_000);
      expect(await outcomeOf(requestOf('f', bytes))).to.have.property('type', 'done');
      expect(server.uploads.some(({ localFile }) => localFile !== undefined)).to.equal(false);
    });

    it('believes no server that does not say what it has read', async () => {
      const bytes = randomBytes(1000);
      await start(having(bytes, Buffer.alloc(0)), { localFiles });
      expect(await outcomeOf(requestOf('f', bytes))).to.have.property('type', 'done');
      // Once by itself, and once as all others.
      expect(server.uploads.filter(({ finish }) => finish).map(({ data }) => data.length)).to.deep.equal([0, 1000]);
    });

    it('goes on by itself when the connection breaks', async () => {
      const bytes = randomBytes(100_000);
      let attempts = 0;
      await start(
        { onUpload: ({ localFile }) => (localFile && attempts++ === 0 ? error('DRAINING') : undefined) },
        { localFiles },
      );
      expect(await outcomeOf(requestOf('f', bytes))).to.have.property('type', 'done');
      expect(hasArrived(bytes)).to.equal(true);
    });
  });
});
