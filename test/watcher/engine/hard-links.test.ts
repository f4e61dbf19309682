import { expect } from 'chai';
import { HardLinks } from '../../../clients/watcher/engine/hard-links.ts';
import { SyncedIndex } from '../../../clients/watcher/index/synced-index.ts';
import { digestOf } from '../../../common/content/digest.ts';
import type { DiskIdentity, FileRecord } from '../../../common/tree/entry.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { useTemporaryDirectory } from '../../common/fs/temporary.ts';

const DEVICE = 1n;
const INODE = 7n;

describe('many names of one file (E19)', () => {
  const temporary = useTemporaryDirectory();
  let index: SyncedIndex;
  let links: HardLinks;

  beforeEach(() => {
    index = SyncedIndex.open(temporary.path, 'default', 'sha256', { knowsLinks: true, listsOwners: false });
    links = new HardLinks({ index, isSettled: () => true, uploadedInode: () => undefined });
  });
  afterEach(() => index.close());

  const nameOf = (at: number): TreePath => `name-${String(at).padStart(4, '0')}` as TreePath;
  const names = (from: number, count: number): readonly TreePath[] =>
    Array.from({ length: count }, (_, at) => nameOf(from + at));
  const record = (content: string): FileRecord => ({
    kind: 'file',
    mode: 0o644,
    mtimeNs: 1n,
    sizeBytes: content.length,
    digest: digestOf('sha256', Buffer.from(content)),
  });
  const identity = (content: string): DiskIdentity => ({
    dev: DEVICE,
    ino: INODE,
    ctimeNs: BigInt(content.length),
    mtimeNs: 1n,
    sizeBytes: content.length,
  });
  /** The server has it, apart or linked to another name. */
  const acknowledged = (path: TreePath, content: string, existing?: TreePath): void =>
    index.apply({
      type: 'put',
      entry: { path, ...record(content) },
      identity: identity(content),
      ...(existing !== undefined && { existing }),
    });
  const group = (members: readonly TreePath[], content: string): void => {
    for (const [at, path] of members.entries()) acknowledged(path, content, members[at - 1]);
  };
  const isLinked = (path: TreePath): boolean => links.isLinked(path, identity('now'), record('now'));
  /** As it goes on while each name is looked at again after its answer. */
  const link = (path: TreePath): void => {
    const partner = links.partnerOf(path, identity('now'), record('now'), () => false);
    if (partner === undefined) throw new Error(`${path} has no partner`);
    acknowledged(path, 'now', partner);
    links.learned(path, identity('now'), record('now'));
  };

  for (const [few, many] of [
    [8, 6],
    [1, 20],
    [20, 1],
    [1_500, 20],
  ] as const) {
    it(`come together after one answer each, where ${few} and ${many} were apart`, () => {
      const all = names(0, few + many);
      group(all.slice(0, few), 'now');
      group(all.slice(few), 'now');
      // The last was sent last, and is in the group that is to be left.
      links.learned(nameOf(few + many - 1), identity('now'), record('now'));
      for (const path of all) if (!isLinked(path)) link(path);
      expect(all.filter((path) => !isLinked(path))).to.deep.equal([]);
      expect(new Set(all.map((path) => index.tree.linkGroupOf(path))).size).to.equal(1);
    });
  }

  it('follow the one that the server has as it is now, wherever that is among them', () => {
    group(names(0, 30), 'before');
    acknowledged(nameOf(20), 'now');
    const { digest: _, ...observed } = record('now');
    expect(links.recordOf({ ...observed, identity: identity('now'), isShared: true })).to.deep.equal(record('now'));
    expect(links.partnerOf(nameOf(3), identity('now'), record('now'), () => false)).to.equal(nameOf(20));
  });

  it('are linked to the one that is on its way, until its answer is there, and to the one before them of the same plan', () => {
    group(names(0, 12), 'now');
    const onTheirWay = new Set([nameOf(30)]);
    links = new HardLinks({ index, isSettled: (path) => !onTheirWay.has(path), uploadedInode: () => undefined });
    links.learned(nameOf(30), identity('now'), record('now'));
    const partner = (ofThisPlan?: TreePath) =>
      links.partnerOf(nameOf(40), identity('now'), record('now'), (path) => path === ofThisPlan);
    expect(partner()).to.equal(nameOf(30));
    onTheirWay.clear();
    expect(partner()).to.equal(nameOf(0));
    expect(partner(nameOf(30))).to.equal(nameOf(30));
  });
});
