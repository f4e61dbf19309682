/**
 * The RPCs that look into a folder, over real sockets.
 */
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { digestOf } from '../../../common/content/digest.ts';
import { readMessages } from '../../../common/rpc/call-stream.ts';
import { unary } from '../../../common/rpc/unary.ts';
import { ROOT, treePathFromLocal } from '../../../common/tree/tree-path.ts';
import { CompareTreeRequest, type CompareTreeResponse } from '../../../gen/lockstep/sync/v1/compare.ts';
import {
  ChangeOperation,
  FolderState,
  ListEntriesRequest,
  ReadContentRequest,
} from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { collect, deletePath, makeDirectory, putFile, reasonOf, SyncFixture } from '../../support/sync-fixture.ts';

const folder = 'default';

describe('looking into a folder', () => {
  let fixture: SyncFixture;
  before(async () => {
    fixture = await SyncFixture.start();
    await fixture.apply(makeDirectory('d'), makeDirectory('d/e'), putFile('d/e/f', 'content'), putFile('d-', '1'));
    await fixture.apply(putFile('gone', '2'), putFile('%FF', '3'));
    await fixture.apply(deletePath('gone'));
  });
  after(() => fixture.stop());

  describe('GetServerInfo', () => {
    it('tells versions, limits and folders', async () => {
      const info = await unary(fixture.client, fixture.client.getServerInfo, { clientVersion: 'test' });
      expect(info).to.deep.include({ serverVersion: '0.0.0-test', protocolVersion: 1 });
      expect(info.limits).to.deep.include({
        maxMessageBytes: 4_194_304n,
        maxBatchBytes: 2_097_152n,
        leaseGraceMs: 10_000,
      });
      expect(info.folders).to.have.length(1);
      expect(info.folders[0]).to.deep.include({
        folder,
        headRevision: 3n,
        entries: 5n,
        state: FolderState.FOLDER_STATE_READY,
        holder: '',
      });
    });
  });

  describe('GetEntry', () => {
    it('tells what is at a path; of a directory with its tree digest', async () => {
      const file = await unary(fixture.client, fixture.client.getEntry, { folder, path: 'd/e/f' });
      expect(file).to.have.nested.property('entry.size', 7n);
      const root = await unary(fixture.client, fixture.client.getEntry, { folder, path: '' });
      expect(Buffer.from(root.entry?.digest ?? []).equals(fixture.replica.tree.treeDigest(ROOT))).to.equal(true);
    });

    it('refuses what is not there, what is no path, and the server’s own directory (E03)', async () => {
      const reason = (path: string) => reasonOf(unary(fixture.client, fixture.client.getEntry, { folder, path }));
      expect(await reason('nothing')).to.equal('ENTRY_NOT_FOUND');
      expect(await reason('d/../d-')).to.equal('INVALID_PATH');
      expect(await reason('.lockstep/tokens')).to.equal('INVALID_PATH');
      expect(await reason('a/'.repeat(2000) + 'b')).to.equal('LIMIT_EXCEEDED');
    });

    it('refuses unknown folders', async () => {
      const call = unary(fixture.client, fixture.client.getEntry, { folder: 'other', path: '' });
      expect(await reasonOf(call)).to.equal('FOLDER_NOT_FOUND');
    });
  });

  describe('ListEntries', () => {
    const list = async (fields: Partial<ListEntriesRequest>) => {
      const call = fixture.client.listEntries(ListEntriesRequest.fromPartial({ folder, ...fields }));
      return (await collect(readMessages(call))).flatMap(({ entries }) => entries.map(({ path }) => path));
    };

    it('lists in tree order', async () => {
      expect(await list({ recursive: true })).to.deep.equal(['d', 'd/e', 'd/e/f', 'd-', '%FF']);
      expect(await list({})).to.deep.equal(['d', 'd-', '%FF']);
      expect(await list({ path: 'd', recursive: true })).to.deep.equal(['d/e', 'd/e/f']);
    });

    it('goes on after a path, and stops at a limit', async () => {
      expect(await list({ recursive: true, after: 'd/e' })).to.deep.equal(['d/e/f', 'd-', '%FF']);
      expect(await list({ recursive: true, limit: 2n })).to.deep.equal(['d', 'd/e']);
    });

    it('refuses a path where nothing is', async () => {
      expect(await reasonOf(list({ path: 'nothing' }))).to.equal('ENTRY_NOT_FOUND');
    });

    it('answers an empty directory with its revision', async () => {
      const call = fixture.client.listEntries(ListEntriesRequest.fromPartial({ folder, path: 'd/e/f' }));
      expect(await collect(readMessages(call))).to.deep.equal([{ entries: [], linkIds: [], revision: 3n }]);
    });
  });

  describe('ReadContent', () => {
    const read = async (fields: Partial<ReadContentRequest>) => {
      const call = fixture.client.readContent(ReadContentRequest.fromPartial({ folder, ...fields }));
      const messages = await collect(readMessages(call));
      return { entry: messages[0]?.entry, content: Buffer.concat(messages.map(({ data }) => data)).toString() };
    };

    it('sends the entry, then the content or the part that was asked for', async () => {
      const whole = await read({ path: 'd/e/f' });
      expect(whole.content).to.equal('content');
      expect(whole.entry).to.deep.include({ path: 'd/e/f', size: 7n });
      expect((await read({ path: 'd/e/f', offset: 2n, length: 3n })).content).to.equal('nte');
      expect((await read({ path: 'd/e/f', offset: 7n })).content).to.equal('');
    });

    it('refuses directories and offsets beyond the end', async () => {
      expect(await reasonOf(read({ path: 'd' }))).to.equal('ENTRY_NOT_FOUND');
      expect(await reasonOf(read({ path: 'd/e/f', offset: 8n }))).to.equal('OFFSET_MISMATCH');
      expect(await reasonOf(read({ path: 'd/e/f', offset: 2n ** 60n }))).to.equal('INVALID_ARGUMENT');
    });

    it('sends large contents in order', async () => {
      const content = randomBytes(3_000_000);
      fixture.replica.tree.apply(putFile('large', content));
      const call = fixture.client.readContent(ReadContentRequest.fromPartial({ folder, path: 'large' }));
      const parts = await collect(readMessages(call));
      expect(Buffer.concat(parts.map(({ data }) => data)).equals(content)).to.equal(true);
      expect(parts.every(({ data }) => data.length <= 256 * 1024)).to.equal(true);
      fixture.replica.tree.apply(deletePath('large'));
    });
  });

  describe('CompareTree', () => {
    const compare = async (...questions: readonly Partial<CompareTreeRequest>[]) => {
      const call = fixture.client.compareTree();
      const answers = collect<CompareTreeResponse>(readMessages(call));
      for (const question of questions) call.write(CompareTreeRequest.fromPartial(question));
      call.end();
      return answers;
    };

    it('answers in the order of the questions: equal, missing, or the children', async () => {
      const digest = fixture.replica.tree.treeDigest(treePathFromLocal(Buffer.from('d')));
      const answers = await compare(
        { folder },
        { path: 'd', treeDigest: digest },
        { path: 'x' },
        { path: 'd' },
        { path: 'd-' },
      );
      expect(answers.map(({ path, equal, missing, last }) => ({ path, equal, missing, last }))).to.deep.equal([
        { path: '', equal: false, missing: false, last: true },
        { path: 'd', equal: true, missing: false, last: true },
        { path: 'x', equal: false, missing: true, last: true },
        { path: 'd', equal: false, missing: false, last: true },
        { path: 'd-', equal: false, missing: true, last: true },
      ]);
      expect(answers[0]?.children.map(({ path }) => path)).to.deep.equal(['d', 'd-', '%FF']);
      expect(Buffer.from(answers[0]?.children[0]?.digest ?? []).equals(digest)).to.equal(true);
      expect(answers[0]?.root).to.deep.include({ path: '', mode: 0o755 });
      expect(answers[3]?.children.map(({ path }) => path)).to.deep.equal(['d/e']);
      expect(answers[1]?.root).to.equal(undefined);
    });

    it('answers large directories in several messages', async () => {
      const large = await SyncFixture.start();
      const name = 'n'.repeat(200);
      for (let index = 0; index < 1500; index++) large.replica.tree.apply(putFile(`${name}${index}`, 'x'));
      const call = large.client.compareTree();
      const answers = collect<CompareTreeResponse>(readMessages(call));
      call.write(CompareTreeRequest.fromPartial({ folder }));
      call.end();
      const messages = await answers;
      await large.stop();
      expect(messages.length).to.be.greaterThan(1);
      expect(messages.map(({ last }) => last)).to.deep.equal(messages.map((_, index) => index === messages.length - 1));
      expect(messages.flatMap(({ children }) => children)).to.have.length(1500);
    });

    it('refuses a second folder on one stream, and paths that are none', async () => {
      expect(await reasonOf(compare({ folder }, { folder: 'other' }))).to.equal('INVALID_ARGUMENT');
      expect(await reasonOf(compare({ folder, path: '/' }))).to.equal('INVALID_PATH');
      expect(await reasonOf(compare({ folder, treeDigest: Buffer.alloc(5) }))).to.equal('INVALID_ARGUMENT');
    });
  });

  describe('WatchChanges', () => {
    it('begins with where it begins, then what was applied, then what is being applied', async () => {
      const { epoch } = fixture.replica.info();
      const call = fixture.client.watchChanges({ folder, epoch, afterRevision: 2n });
      const feed = readMessages(call);
      expect((await feed.next()).value).to.deep.include({ epoch, revision: 2n, changes: [] });
      const third = (await feed.next()).value;
      expect(third).to.have.nested.property('changes[0].operation', ChangeOperation.CHANGE_OPERATION_DELETE);
      expect(third).to.have.nested.property('changes[0].entry.path', 'gone');
      await fixture.apply({ operation: { $case: 'move', value: { from: 'd-', to: 'd+' } } });
      const fourth = (await feed.next()).value;
      expect(fourth).to.have.nested.property('changes[0].from', 'd-');
      expect(fourth).to.have.nested.property('changes[0].entry.path', 'd+');
      await fixture.apply({ operation: { $case: 'move', value: { from: 'd+', to: 'd-' } } });
      call.cancel();
    });

    it('says COMPACTED for another epoch', async () => {
      const call = fixture.client.watchChanges({ folder, epoch: 'another', afterRevision: 2n });
      expect(await reasonOf(collect(readMessages(call)))).to.equal('COMPACTED');
    });
  });

  describe('VerifyFolder', () => {
    it('streams progress, differences and a summary', async () => {
      const call = fixture.client.verifyFolder({ folder, path: '', repair: false });
      const messages = await collect(readMessages(call));
      expect(messages.map(({ message }) => message?.$case)).to.deep.equal(['progress', 'mismatch', 'summary']);
      expect(messages[2]?.message).to.have.nested.property('value.mismatches', 1n);
    });
  });

  describe('GetSignature', () => {
    it('sends the blocks of a content that the folder has, in parts, and refuses any other', async () => {
      const content = randomBytes(200_000);
      fixture.replica.tree.apply(putFile('signed', content));
      const parts = await collect(
        readMessages(fixture.client.getSignature({ folder, digest: digestOf('blake3', content) })),
      );
      expect(parts.length).to.be.greaterThan(1);
      const lengths = parts.flatMap((part) => part.lengths);
      expect(lengths.reduce((sum, length) => sum + length, 0)).to.equal(content.length);
      const first = digestOf('blake3', content.subarray(0, lengths[0])).subarray(0, 16);
      expect(Buffer.from(parts[0]?.fingerprints ?? []).subarray(0, 16)).to.deep.equal(first);
      const reason = (digest: Buffer) =>
        reasonOf(collect(readMessages(fixture.client.getSignature({ folder, digest }))));
      expect(await reason(Buffer.alloc(32))).to.equal('CONTENT_NOT_FOUND');
      expect(await reason(Buffer.alloc(0))).to.equal('INVALID_ARGUMENT');
    });
  });
});

describe('back-pressure of answers', () => {
  it('a reader that does not read holds the replica back, and cancelling stops it', async () => {
    const fixture = await SyncFixture.start();
    const content = Buffer.alloc(64 * 2 ** 20);
    fixture.replica.tree.apply(putFile('large', content));
    let parts = 0;
    const readContent = fixture.replica.readContent.bind(fixture.replica);
    let isStopped = false;
    fixture.replica.readContent = async function* (...parameters) {
      try {
        for await (const part of readContent(...parameters)) {
          parts++;
          yield part;
        }
      } finally {
        isStopped = true;
      }
    };
    const call = fixture.client.readContent(ReadContentRequest.fromPartial({ folder, path: 'large' }));
    const messages = readMessages(call);
    await messages.next();
    let before = -1;
    while (before !== parts) {
      before = parts;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // The client's window is 8 MiB; 64 KiB a part, and some in the streams on both sides.
    expect(parts).to.be.lessThan(300);
    call.cancel();
    await reasonOf(messages.next());
    while (!isStopped) await new Promise((resolve) => setTimeout(resolve, 5));
    await fixture.stop();
  });
});
