import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Deletions, RENAME_MS } from '../../../clients/watcher/engine/deletions.ts';
import { MassDeleteGuard } from '../../../clients/watcher/observe/mass-delete-guard.ts';
import { RootGuard } from '../../../clients/watcher/observe/root-guard.ts';
import { Scanner } from '../../../clients/watcher/observe/scanner.ts';
import type { Difference } from '../../../clients/watcher/plan/difference.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { DiskIdentity } from '../../../common/tree/entry.ts';
import { TreeIndex } from '../../../common/tree/tree-index.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { useTemporaryDirectory } from '../../common/fs/temporary.ts';

describe('a directory that is gone', () => {
  const temporary = useTemporaryDirectory();
  let root: SafeRoot;
  let index: TreeIndex;
  let nowMs: number;
  let deletions: Deletions;

  const identity = (ino: bigint): DiskIdentity => ({ dev: 1n, ino, ctimeNs: 1n, mtimeNs: 1n, sizeBytes: 0 });
  const putDirectory = (path: string, ino: bigint): void =>
    index.put({ path: path as TreePath, kind: 'directory', mode: 0o755, mtimeNs: 1n }, identity(ino));
  const gone = (path: string): Difference => ({
    path: path as TreePath,
    before: index.get(path as TreePath),
    now: undefined,
  });
  const found = (path: string, ino: bigint): Difference => ({
    path: path as TreePath,
    before: undefined,
    now: { kind: 'directory', mode: 0o755, mtimeNs: 1n, identity: identity(ino) },
  });
  const held = (...differences: readonly Difference[]): readonly string[] =>
    deletions.mayBeRenamed(differences, index).map(({ path }) => path);

  const withGuard = (guard: MassDeleteGuard): Deletions =>
    new Deletions({ guard, rootGuard: new RootGuard(root), nowMs: () => nowMs, onHeld: () => {} });

  beforeEach(() => {
    root = SafeRoot.open(temporary.path);
    index = TreeIndex.create(join(temporary.path, 'index.db'), { digestFunction: 'sha256', indexInodes: true });
    for (const [path, ino] of [
      ['full', 10n],
      ['full/inner', 11n],
      ['empty', 12n],
    ] as const)
      putDirectory(path, ino);
    nowMs = 1_000;
    deletions = withGuard(new MassDeleteGuard());
  });

  afterEach(() => {
    index.close();
    root.close();
  });

  it('is not deleted before its new name can have been heard of (E64)', () => {
    expect(held(gone('full'))).to.deep.equal(['full']);
    nowMs += RENAME_MS - 1;
    expect(held(gone('full'))).to.deep.equal(['full']);
    nowMs += 1;
    expect(held(gone('full'))).to.deep.equal([]);
  });

  it('is waited for as long when it goes once more, later', () => {
    expect(held(gone('full'))).to.deep.equal(['full']);
    nowMs += 60_000;
    expect(held(gone('full'))).to.deep.equal(['full']);
  });

  it('is no longer waited for when its new name came along, and not at all when there is nothing in it', () => {
    expect(held(gone('full'), found('renamed', 10n))).to.deep.equal([]);
    expect(held(gone('full'), found('other', 13n))).to.deep.equal(['full']);
    expect(held(gone('empty'))).to.deep.equal([]);
  });

  it('counts with all that was in it, once, also when that was noticed to be gone, too (E54)', () => {
    const atMost = (entries: number) =>
      withGuard(new MassDeleteGuard({ limit: { kind: 'entries', entries }, floorEntries: 0 }));
    const differences = [gone('full/inner'), gone('full')];
    expect(atMost(2).admits(differences, index, true)).to.equal(true);
    expect(atMost(1).admits(differences, index, true)).to.equal(false);
  });
});

describe('more deletions than are planned at a time', () => {
  const temporary = useTemporaryDirectory();
  const identity: DiskIdentity = { dev: 1n, ino: 1n, ctimeNs: 1n, mtimeNs: 1n, sizeBytes: 0 };
  let root: SafeRoot;
  let index: TreeIndex;
  let deletions: Deletions;
  let scanner: Scanner;

  beforeEach(() => {
    const tree = join(temporary.path, 'tree');
    mkdirSync(tree);
    root = SafeRoot.open(tree);
    index = TreeIndex.create(join(temporary.path, 'index.db'), { digestFunction: 'sha256', indexInodes: true });
    const ignored = () => {};
    scanner = new Scanner({
      root,
      index,
      isIgnored: () => false,
      noDirectory: ignored,
      unlisted: ignored,
      report: ignored,
      shared: ignored,
      fine: ignored,
      outOfRange: ignored,
      hasProblems: () => false,
      inRange: ignored,
    });
    const guard = new MassDeleteGuard();
    deletions = new Deletions({ guard, rootGuard: new RootGuard(root), nowMs: () => 1_000, onHeld: ignored });
  });

  afterEach(() => {
    index.close();
    root.close();
  });

  /** The index has so many names in this directory, of which the disk has none. */
  function empty(name: string, count: number): void {
    mkdirSync(join(root.path, name));
    index.transaction(() => {
      index.put({ path: name as TreePath, kind: 'directory', mode: 0o755, mtimeNs: 1n }, identity);
      for (let at = 0; at < count; at++) {
        const path = `${name}/${at}` as TreePath;
        index.put({ path, kind: 'symlink', mtimeNs: 1n, target: Buffer.from('x') }, identity);
      }
    });
  }

  const take = (): readonly TreePath[] => deletions.take(scanner, index).map(({ path }) => path);
  const suspect = (name: string): void => deletions.suspect(name as TreePath);

  it('let no others through that come meanwhile (E52)', () => {
    empty('a', 20_500);
    empty('b', 30_000);
    suspect('a');
    const first = take();
    expect(first).to.have.lengthOf(20_000);
    index.transaction(() => {
      for (const path of first) index.remove(path);
    });
    suspect('b');
    expect(take()).to.have.lengthOf(0);
    expect(deletions.heldCount).to.be.within(30_000, 30_500);
  });

  it('come to the last of them, and to an end, where the server refuses them (E123)', () => {
    empty('a', 20_500);
    empty('b', 50);
    empty('kept', 30_000);
    suspect('a');
    suspect('b');
    const planned = [...take(), ...take()];
    expect(planned).to.have.lengthOf(20_550);
    expect(new Set(planned)).to.have.lengthOf(20_550);
    expect(deletions.hasPending).to.equal(false);
  });

  it('are begun again behind all others where more are missed meanwhile (E123)', () => {
    empty('a', 20_500);
    empty('b', 50);
    empty('kept', 100_000);
    suspect('a');
    suspect('b');
    const first = take();
    suspect('a');
    const second = take();
    expect(second.slice(0, 500)).to.not.include.members([first[0]]);
    expect(second.slice(500, 550).every((path) => path.startsWith('b/'))).to.equal(true);
    expect(second.slice(550)).to.deep.equal(first.slice(0, 19_450));
    const third = take();
    expect(third).to.include(first.at(-1));
    expect(deletions.hasPending).to.equal(false);
  });
});
