/**
 * Whether a content exists is told within the caller's folder only: a digest is no key to what lies elsewhere.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Digest, digestOf } from '../../../common/content/digest.ts';
import { unary } from '../../../common/rpc/unary.ts';
import type { Change } from '../../../gen/lockstep/sync/v1/change.ts';
import { openFolder } from '../../../services/sync-server/open-folder.ts';
import { ChangesStream, HOLDER_ID, putFile, SyncFixture, UploadStream } from '../../support/sync-fixture.ts';

describe('a digest', () => {
  const content = randomBytes(300_000);
  const digest = digestOf('blake3', content);
  const outside = randomBytes(1000);
  let fixture: SyncFixture;
  before(async () => {
    fixture = await SyncFixture.start({ folders: ['default', 'other'], openFolder });
    const lease = await acquire('default');
    await upload('default', lease, true);
    expect(await putStored('default', digest, content.length)).to.deep.equal([]);
    mkdirSync(join(fixture.directory, 'beside'));
    writeFileSync(join(fixture.directory, 'beside/file'), outside);
  });
  after(() => fixture.stop());

  async function acquire(folder: string): Promise<bigint> {
    const { client } = fixture;
    const request = { folder, holderId: HOLDER_ID, holder: '', takeOver: true, knownEpoch: '', knownRevision: 0n };
    return (await unary(client, client.acquireLease, request)).lease;
  }

  /** Whether the server says that it has the content before it was sent. */
  async function upload(folder: string, lease: bigint, sends: boolean): Promise<boolean> {
    const stream = new UploadStream(fixture.client);
    const begin = { folder, lease, uploadId: randomBytes(16), size: BigInt(content.length), digest };
    await stream.send(sends ? { ...begin, data: content, finish: true } : begin);
    return (await stream.close()).some(({ complete }) => complete);
  }

  /** The kinds of the problems with a file whose content is named by digest only. */
  async function putStored(folder: string, named: Digest, sizeBytes: number): Promise<readonly string[]> {
    const stream = new ChangesStream(fixture.client);
    const lease = await acquire(folder);
    await stream.send({ message: { $case: 'open', value: { folder, lease, acknowledgement: 1 } } });
    expect((await stream.next()).$case).to.equal('opened');
    await stream.sendBatch([stored(named, sizeBytes)]);
    const { problems } = await stream.nextApplied();
    await stream.close();
    return problems.map(({ reason }) => reason);
  }

  it('stands for a content in its own folder', async () => {
    expect(await upload('default', await acquire('default'), false)).to.equal(true);
    expect(await putStored('default', digest, content.length)).to.deep.equal([]);
  });

  it('stands for nothing in another folder that does not hold it (S10)', async () => {
    expect(await upload('other', await acquire('other'), false)).to.equal(false);
    expect(await putStored('other', digest, content.length)).to.deep.equal(['CONTENT_NOT_FOUND']);
  });

  it('stands for nothing that lies on the host outside of the folders (S09)', async () => {
    const named = digestOf('blake3', outside);
    expect(await putStored('default', named, outside.length)).to.deep.equal(['CONTENT_NOT_FOUND']);
  });
});

function stored(digest: Digest, sizeBytes: number): Change {
  const { operation } = putFile('named', '');
  if (operation?.$case !== 'putFile' || operation.value.entry === undefined) throw new Error('not a put');
  const entry = { ...operation.value.entry, digest, size: BigInt(sizeBytes) };
  return { operation: { $case: 'putFile', value: { entry, content: { $case: 'stored', value: {} } } } };
}
