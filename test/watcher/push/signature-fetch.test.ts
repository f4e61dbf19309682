import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { UploadRequest } from '../../../clients/watcher/engine/messages.ts';
import { Connection } from '../../../clients/watcher/push/connection.ts';
import { ContentReader } from '../../../clients/watcher/push/content-reader.ts';
import { Session } from '../../../clients/watcher/push/session.ts';
import { chunkingParameters } from '../../../common/content/chunker.ts';
import { digestOf } from '../../../common/content/digest.ts';
import { SignatureBuilder } from '../../../common/content/signature-builder.ts';
import { decodeSignature, encodeSignature } from '../../../common/content/signature-codec.ts';
import { createLogger } from '../../../common/ops/logger.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { EngineDouble } from '../../support/engine-double.ts';
import { eventually } from '../../support/eventually.ts';
import { NO_SECURITY } from '../../support/no-security.ts';
import { putFile, SyncFixture } from '../../support/sync-fixture.ts';

describe('a large file whose signature is not at hand', () => {
  let root: string;
  let fixture: SyncFixture;
  let connection: Connection;
  let content: ContentReader;
  let engine: EngineDouble;
  let session: Session;
  const old = randomBytes(2_000_000);

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'lockstep-fetch-'));
    fixture = await SyncFixture.start();
    fixture.replica.tree.apply(putFile('f', old));
    engine = new EngineDouble();
    content = new ContentReader(root);
    connection = new Connection({ address: fixture.address, security: NO_SECURITY });
  });

  afterEach(async () => {
    await session.abort();
    connection.close();
    await content.close();
    await fixture.stop();
    rmSync(root, { recursive: true, force: true });
  });

  const contentOf = (bytes: Buffer) => ({ digest: digestOf('blake3', bytes), sizeBytes: bytes.length });

  async function upload(
    bytes: Buffer,
    compress: boolean,
    known: Pick<UploadRequest, 'before' | 'basis' | 'knownDigest'> = { before: contentOf(old) },
  ) {
    session = await Session.open(
      {
        connection,
        folder: 'default',
        holderId: Buffer.alloc(16, 7),
        holder: 'host:/dir:1',
        takeOver: false,
        acknowledgement: 'durable',
        compress,
        content,
        engine,
        logger: createLogger({ name: 'test', level: 'silent' }),
      },
      new AbortController().signal,
    );
    writeFileSync(join(root, 'f'), bytes);
    utimesSync(join(root, 'f'), 1, 1);
    const { dev, ino, mtimeNs, ctimeNs } = statSync(join(root, 'f'), { bigint: true });
    const request: UploadRequest = {
      uploadId: '00112233445566778899aabbccddeeff',
      path: 'f' as TreePath,
      sizeBytes: bytes.length,
      dev,
      ino,
      mtimeNs,
      ctimeNs,
      ...known,
    };
    session.handle({ type: 'upload', request });
    const { outcome } = (await eventually('the upload', () => engine.all('uploaded').at(0))).result;
    if (outcome.type !== 'done') throw new Error(`the upload ended as ${JSON.stringify(outcome)}`);
    return outcome;
  }

  const edited = Buffer.concat([old.subarray(0, 700_000), Buffer.from('edit'), old.subarray(700_000)]);

  it('is told in terms of what the server has, after asking it for its signature', async () => {
    const { sentBytes, signature, digest } = await upload(edited, true);
    expect(sentBytes).to.be.lessThan(20_000);
    expect(fixture.replica.tree.content(digestOf('blake3', edited))?.equals(edited)).to.equal(true);
    expect(signature && decodeSignature(signature).digest).to.deep.equal(Buffer.from(digest));
  });

  const others: readonly (readonly [string, number, (long: Buffer) => Buffer])[] = [
    // More than the chunks that are held back until something is new.
    ['ends otherwise, far behind its beginning', 9_000_000, (long) => Buffer.concat([long, Buffer.from('edit')])],
    ['is only the beginning of it', 2_000_000, (long) => long.subarray(0, 1_200_000)],
    ['is what comes behind its beginning', 2_000_000, (long) => long.subarray(700_000)],
  ];
  for (const [what, sizeBytes, change] of others) {
    it(`is told so, too, when it ${what}`, async () => {
      const long = randomBytes(sizeBytes);
      const bytes = change(long);
      fixture.replica.tree.apply(putFile('f', long));
      expect((await upload(bytes, true, { before: contentOf(long) })).sentBytes).to.be.lessThan(100_000);
      expect(fixture.replica.tree.content(digestOf('blake3', bytes))?.equals(bytes)).to.equal(true);
    });
  }

  for (const part of ['beginning', 'end'] as const) {
    it(`is told without a byte of it where it is the ${part} of what the server has, cut between two blocks`, async () => {
      const builder = new SignatureBuilder('blake3', chunkingParameters(8192));
      builder.push(old);
      const signature = encodeSignature(builder.finish().signature!);
      const cut = decodeSignature(signature).offsets[5] ?? 0;
      const bytes = part === 'beginning' ? old.subarray(0, cut) : old.subarray(cut);
      const basis = { digest: contentOf(old).digest, path: 'f' as TreePath, signature };
      expect(await upload(bytes, true, { basis })).to.include({ type: 'done', sentBytes: 0 });
      expect(fixture.replica.tree.content(digestOf('blake3', bytes))?.equals(bytes)).to.equal(true);
    });
  }

  it('is not sent at all when it is what the server has', async () => {
    expect(await upload(old, true)).to.include({ sentBytes: 0 });
    expect(fixture.replica.received.writes).to.equal(0);
  });

  it("is sent whole on this machine's own network", async () => {
    expect(await upload(edited, false)).to.include({ sentBytes: edited.length });
  });

  it('is sent whole where the server has no such content', async () => {
    const before = contentOf(randomBytes(1_000_000));
    expect(await upload(edited, true, { before })).to.include({ sentBytes: edited.length });
  });

  it('is not sent as a delta when it is what the server has elsewhere', async () => {
    const { digest } = contentOf(edited);
    const builder = new SignatureBuilder('blake3', chunkingParameters(8192));
    builder.push(old);
    const signature = encodeSignature(builder.finish().signature!);
    const basis = { digest: contentOf(old).digest, path: 'f' as TreePath, signature };
    expect(await upload(edited, true, { basis, knownDigest: digest })).to.include({ sentBytes: 0 });
    expect(fixture.replica.received.writes).to.equal(0);
  });
});
