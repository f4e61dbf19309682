/**
 * Each announced limit, at its value and one past it. The limits on what may be under way (in-flight bytes, upload streams,
 * unwritten uploads) are tested with their RPCs.
 */
import { zstdCompressSync } from 'node:zlib';
import { expect } from 'chai';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { Change } from '../../../gen/lockstep/sync/v1/change.ts';
import { Compressor } from '../../../gen/lockstep/sync/v1/entry.ts';
import { decodeBatch } from '../../../services/sync-server/replica/batch-decoder.ts';
import { ChangeFailure } from '../../../services/sync-server/replica/change-failure.ts';
import { openFolder } from '../../../services/sync-server/open-folder.ts';
import { DEFAULT_LIMITS, MAX_UPLOAD_DATA_BYTES } from '../../../services/sync-server/rpc/limits.ts';
import { makeDirectory, reasonOf, SyncFixture, UploadStream } from '../../support/sync-fixture.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { encodeBatch, mkdir, move, put, remove, symlink } from '../replica/support.ts';

const MAX_NAME_BYTES = 255;
const MAX_TARGET_BYTES = 4095;

/** What a batch of this one change comes to: "fine", or the reason of the batch or of the change. */
function outcomeOf(changes: readonly Change[], limits = DEFAULT_LIMITS): string {
  try {
    const batch = decodeBatch(encodeBatch(changes), 'batch', { digestFunction: 'blake3', limits });
    const failure = batch.changes.find((change) => change instanceof ChangeFailure);
    return failure?.reason ?? 'fine';
  } catch (error) {
    if (error instanceof LockstepError) return error.reason;
    throw error;
  }
}

/** A path of exactly so many bytes. */
function pathOfBytes(count: number): string {
  const names = Math.ceil(count / 128) - 1;
  return `${'x'.repeat(127)}/`.repeat(names) + 'y'.repeat(count - names * 128);
}

describe('announced limits, and one past each', () => {
  it('changes of a batch', () => {
    const removals = (count: number) => Array.from({ length: count }, (_, at) => remove(`${at}`));
    expect(outcomeOf(removals(DEFAULT_LIMITS.maxBatchChanges))).to.equal('fine');
    expect(outcomeOf(removals(DEFAULT_LIMITS.maxBatchChanges + 1))).to.equal('LIMIT_EXCEEDED');
  });

  it('bytes of a batch', () => {
    const changes = [put('a', 'content')];
    const maxBatchBytes = encodeBatch(changes).length;
    expect(outcomeOf(changes, { ...DEFAULT_LIMITS, maxBatchBytes })).to.equal('fine');
    const less = { ...DEFAULT_LIMITS, maxBatchBytes: maxBatchBytes - 1 };
    expect(outcomeOf(changes, less)).to.equal('LIMIT_EXCEEDED');
  });

  it('an inline content', () => {
    const { maxInlineBytes } = DEFAULT_LIMITS;
    expect(outcomeOf([put('a', Buffer.alloc(maxInlineBytes))])).to.equal('fine');
    expect(outcomeOf([put('a', Buffer.alloc(maxInlineBytes + 1))])).to.equal('LIMIT_EXCEEDED');
  });

  it('a path, of every operation that has one', () => {
    const { maxPathBytes } = DEFAULT_LIMITS;
    const [longest, longer] = [pathOfBytes(maxPathBytes), pathOfBytes(maxPathBytes + 1)];
    expect(outcomeOf([mkdir(longest), move('a', longest), remove(longest)])).to.equal('fine');
    for (const change of [mkdir(longer), put(longer, ''), move('a', longer), move(longer, 'a'), remove(longer)]) {
      expect(outcomeOf([change])).to.equal('LIMIT_EXCEEDED');
    }
  });

  it('the depth of a path', () => {
    const path = (depth: number) => Array.from({ length: depth }, () => 'd').join('/');
    expect(outcomeOf([mkdir(path(DEFAULT_LIMITS.maxDepth))])).to.equal('fine');
    expect(outcomeOf([mkdir(path(DEFAULT_LIMITS.maxDepth + 1))])).to.equal('LIMIT_EXCEEDED');
  });

  it('a name, counted in bytes', () => {
    expect(outcomeOf([mkdir('n'.repeat(MAX_NAME_BYTES))])).to.equal('fine');
    expect(outcomeOf([mkdir('n'.repeat(MAX_NAME_BYTES + 1))])).to.equal('INVALID_PATH');
    expect(outcomeOf([makeDirectory('ü'.repeat(127))])).to.equal('fine');
    expect(outcomeOf([makeDirectory('ü'.repeat(128))])).to.equal('INVALID_PATH');
  });

  it("a link's target", () => {
    expect(outcomeOf([symlink('l', 't'.repeat(MAX_TARGET_BYTES))])).to.equal('fine');
    expect(outcomeOf([symlink('l', 't'.repeat(MAX_TARGET_BYTES + 1))])).to.equal('INVALID_ARGUMENT');
    expect(outcomeOf([symlink('l', '')])).to.equal('INVALID_ARGUMENT');
  });

  describe('over the wire', () => {
    let fixture: SyncFixture;
    before(async () => {
      fixture = await SyncFixture.start({ openFolder });
    });
    after(() => fixture.stop());

    it('a message', async () => {
      const { client } = fixture;
      const ask = (bytes: number) =>
        reasonOf(unary(client, client.getServerInfo, { clientVersion: 'v'.repeat(bytes) }, { deadlineMs: 10_000 }));
      // The field's tag and length take five bytes.
      expect(await ask(DEFAULT_LIMITS.maxMessageBytes - 5)).to.equal('no error');
      expect(await ask(DEFAULT_LIMITS.maxMessageBytes - 4)).to.equal('LIMIT_EXCEEDED');
    });

    it('a path', async () => {
      const { client } = fixture;
      const ask = (path: string) => reasonOf(unary(client, client.getEntry, { folder: 'default', path }));
      expect(await ask(pathOfBytes(DEFAULT_LIMITS.maxPathBytes))).to.equal('ENTRY_NOT_FOUND');
      expect(await ask(pathOfBytes(DEFAULT_LIMITS.maxPathBytes + 1))).to.equal('LIMIT_EXCEEDED');
    });

    const upload = async (fields: Parameters<UploadStream['send']>[0]) => {
      const { lease } = await fixture.acquire({ takeOver: true });
      const stream = new UploadStream(fixture.client);
      const size = BigInt(MAX_UPLOAD_DATA_BYTES + 1);
      await stream.send({ folder: 'default', lease, uploadId: Buffer.alloc(16, Number(lease)), size, ...fields });
      return reasonOf(stream.close());
    };

    it('data of an upload in one message', async () => {
      expect(await upload({ data: Buffer.alloc(MAX_UPLOAD_DATA_BYTES) })).to.equal('no error');
      expect(await upload({ data: Buffer.alloc(MAX_UPLOAD_DATA_BYTES + 1) })).to.equal('LIMIT_EXCEEDED');
    });

    it('the same after decompression, which stops at the bound (S22)', async () => {
      const compressed = (bytes: number, dataSize = bytes) => ({
        data: zstdCompressSync(Buffer.alloc(bytes)),
        compressor: Compressor.COMPRESSOR_ZSTD,
        dataSize,
      });
      expect(await upload(compressed(MAX_UPLOAD_DATA_BYTES))).to.equal('no error');
      expect(await upload(compressed(MAX_UPLOAD_DATA_BYTES + 1))).to.equal('LIMIT_EXCEEDED');
      expect(await upload(compressed(500_000_000, MAX_UPLOAD_DATA_BYTES))).to.equal('INVALID_ARGUMENT');
    });
  });
});
