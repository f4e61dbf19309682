import { expect } from 'chai';
import {
  chmodSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Difference } from '../../../clients/watcher/plan/difference.ts';
import { LocalOwners } from '../../../clients/watcher/observe/local-owners.ts';
import { identityOf, Scanner } from '../../../clients/watcher/observe/scanner.ts';
import { packDirectory, SeenDirectory } from '../../../clients/watcher/observe/seen-directory.ts';
import { SafeRoot, type SafeRootOptions } from '../../../common/fs/safe-root.ts';
import { TreeIndex } from '../../../common/tree/tree-index.ts';
import { ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { foldingNames } from '../../support/folding-names.ts';
import { useTemporaryDirectory } from '../../common/fs/temporary.ts';

const path = (text: string): TreePath => text as TreePath;

describe('scanner', () => {
  const temporary = useTemporaryDirectory();
  let tree = '';
  let root: SafeRoot;
  let index: TreeIndex;
  let scanner: Scanner;
  let reports: string[];
  let fine: string[];
  let shared: bigint[];

  beforeEach(() => {
    tree = join(temporary.path, 'tree');
    mkdirSync(join(tree, 'sub'), { recursive: true });
    for (const name of ['one', 'two', 'three']) writeFileSync(join(tree, 'sub', name), name);
    openRoot();
    index = TreeIndex.create(join(temporary.path, 'index.db'), { digestFunction: 'sha256', indexInodes: true });
    [reports, fine, shared] = [[], [], []];
    scanner = newScanner();
  });

  function openRoot(options: SafeRootOptions = {}): void {
    root = SafeRoot.open(tree, options);
  }

  function newScanner(owners?: LocalOwners): Scanner {
    return new Scanner({
      root,
      index,
      owners,
      isIgnored: () => false,
      report: (at, reason) => reports.push(`${at}: ${reason}`),
      noDirectory: () => {},
      unlisted: (at, reason) => reports.push(`${at}: ${reason}`),
      shared: (ino) => shared.push(ino),
      fine: (at) => fine.push(at),
      outOfRange: (at) => reports.push(`${at}: out of range`),
      inRange: () => {},
    });
  }

  afterEach(() => {
    index.close();
    root.close();
  });

  /** What the server is known to have: what is there now. */
  function know(...names: readonly string[]): void {
    for (const name of names) {
      const at = path(`sub/${name}`);
      const now = scanner.look(path('sub'), name).differences[0]?.now;
      if (now?.kind !== 'file') throw new Error(`${name} is no file`);
      const digest = Buffer.alloc(32, 1) as never;
      const { mode, mtimeNs, sizeBytes, identity } = now;
      index.put({ path: at, kind: 'file', mode, mtimeNs, sizeBytes, digest }, identity);
    }
  }

  it('takes a directory that vanishes between its listing and the look at its names for vanished, not for unreadable (E36)', () => {
    const scan = scanner.open(path('sub'));
    expect(scan?.next(1).differences).to.have.lengthOf(1);
    rmSync(join(tree, 'sub'), { recursive: true });
    expect(scan?.next(10).differences).to.deep.equal([]);
    expect(scan?.done).to.equal(true);
    expect(scanner.look(path('sub'), 'two').differences).to.deep.equal([]);
    expect(scanner.open(path('sub'))).to.equal(undefined);
    expect(reports).to.deep.equal([]);
  });

  it('takes what was seen ahead of names that look as the index has them, and looks at all others itself', () => {
    index.put({ path: path('sub'), kind: 'directory', mode: 0o755, mtimeNs: 0n }, undefined);
    know('one', 'two', 'three');
    writeFileSync(join(tree, 'sub', 'two'), 'changed before it was seen');
    const directory = root.directory(path('sub'));
    const names = [...directory.list(), 'vanished'].sort();
    const seen = new SeenDirectory(packDirectory(names, (name) => directory.lstat(name)));
    // The hint of this one leads to it; of the other one what is sent is what is there now.
    writeFileSync(join(tree, 'sub', 'one'), 'changed after it was seen');
    writeFileSync(join(tree, 'sub', 'two'), 'changed once more');
    const found = scanner.open(path('sub'), seen)?.next(10).differences ?? [];
    expect(found.map((difference) => difference.path)).to.deep.equal(['sub/two']);
    expect(found[0]?.now?.identity).to.deep.equal(identityOf(directory.lstat('two')!));
    expect(fine).to.include.members(['sub/one', 'sub/three']);
  });

  it('leaves what is replaced between its listing and the look at its names, by paths, to the hint of that (E36)', () => {
    root.close();
    openRoot({ way: 'paths' });
    scanner = newScanner();
    const scan = scanner.open(path('sub'));
    expect(scan?.next(1).differences).to.have.lengthOf(1);
    renameSync(join(tree, 'sub'), join(tree, 'other'));
    mkdirSync(join(tree, 'sub'));
    expect(scan?.next(10).differences).to.deep.equal([]);
    expect(reports).to.deep.equal([]);
  });

  it('sees owners only where they are carried, and then also where the server has another or none', () => {
    index.put({ path: path('sub'), kind: 'directory', mode: 0o755, mtimeNs: 0n }, undefined);
    know('one', 'two', 'three');
    const { uid, gid } = statSync(join(tree, 'sub', 'one'));
    const own = { uid, gid, user: '', group: '' };
    const put = (name: string, owner: typeof own) => {
      const known = index.get(path(`sub/${name}`));
      if (known !== undefined) index.put({ ...known, owner }, known.identity);
    };
    put('one', own);
    put('two', { ...own, uid: uid + 1 });
    expect(scanner.open(path('sub'))?.next(10).differences).to.deep.equal([]);
    index.close();
    index = TreeIndex.open(join(temporary.path, 'index.db'), {
      digestFunction: 'sha256',
      indexInodes: true,
      listsOwners: true,
    });
    const found = newScanner(new LocalOwners('number')).open(path('sub'))?.next(10).differences ?? [];
    expect(found.map((difference) => difference.path)).to.deep.equal(['sub/three', 'sub/two']);
    for (const { now } of found) {
      expect(now?.owner).to.deep.equal(own);
      // Nothing was written: the content need not be read to know that.
      expect(now).to.have.property('digest');
    }
  });

  it('says of names that are gone, and of those that are as they were, that nothing is wrong with them', () => {
    index.put({ path: path('sub'), kind: 'directory', mode: 0o755, mtimeNs: 0n }, undefined);
    know('one');
    scanner.look(path('sub'), 'one');
    scanner.look(path('sub'), 'never-there');
    expect(scanner.look(path('no/such'), 'directory').nowhere).to.deep.equal(['no/such/directory']);
    expect(fine).to.deep.equal(['sub/one', 'sub/never-there']);
  });

  it('names the other names of a file that was changed through one of them (E19)', () => {
    linkSync(join(tree, 'sub', 'one'), join(tree, 'sub', 'link'));
    index.put({ path: path('sub'), kind: 'directory', mode: 0o755, mtimeNs: 0n }, undefined);
    know('one', 'link', 'two');
    expect(scanner.look(path('sub'), 'one').linked).to.deep.equal([]);
    writeFileSync(join(tree, 'sub', 'one'), 'changed');
    expect(scanner.look(path('sub'), 'one').linked).to.deep.equal(['sub/link']);
    unlinkSync(join(tree, 'sub', 'link'));
    expect(scanner.look(path('sub'), 'one').linked).to.deep.equal([]);
  });

  it('names the other names of a symbolic link, too, whose time or owner was changed through one of them (E19, E79)', () => {
    symlinkSync('nowhere', join(tree, 'sub', 'here'));
    linkSync(join(tree, 'sub', 'here'), join(tree, 'sub', 'there'));
    index.put({ path: path('sub'), kind: 'directory', mode: 0o755, mtimeNs: 0n }, undefined);
    for (const name of ['here', 'there']) {
      const { dev, ino, ctimeNs, mtimeNs } = lstatSync(join(tree, 'sub', name), { bigint: true });
      const target = Buffer.from('nowhere');
      index.put(
        { path: path(`sub/${name}`), kind: 'symlink', mtimeNs, target },
        { dev, ino, ctimeNs, mtimeNs, sizeBytes: target.length },
      );
    }
    expect(scanner.look(path('sub'), 'here').linked).to.deep.equal([]);
    lutimesSync(join(tree, 'sub', 'here'), 0, 1);
    expect(scanner.look(path('sub'), 'here').linked).to.deep.equal(['sub/there']);
    unlinkSync(join(tree, 'sub', 'here'));
    scanner.beginLook();
    expect(scanner.look(path('sub'), 'here').linked).to.deep.equal(['sub/there']);
  });

  it('reports names that it may not look at, and deduces nothing from that (E49)', function () {
    if (process.getuid?.() === 0) this.skip();
    index.put({ path: path('sub'), kind: 'directory', mode: 0o755, mtimeNs: 0n }, undefined);
    know('one', 'two', 'three');
    root.forgetAll();
    // To be listed, and not to be entered.
    chmodSync(join(tree, 'sub'), 0o444);
    expect(scanner.open(path('sub'))?.next(10).differences).to.deep.equal([]);
    expect(reports).to.have.lengthOf(3);
    expect(scanner.inodeAt(path('sub/one'))).to.equal('unknown');
    chmodSync(join(tree, 'sub'), 0o755);
  });

  it('sees a change of case as a name that went and one that came, where names fold (E09)', () => {
    root.close();
    openRoot({ way: { paths: foldingNames } });
    scanner = newScanner();
    index.put({ path: path('sub'), kind: 'directory', mode: 0o755, mtimeNs: 0n }, undefined);
    know('one', 'two', 'three');
    renameSync(join(tree, 'sub', 'one'), join(tree, 'sub', 'ONE'));
    const changes = (differences: readonly Difference[] = []) =>
      differences.map(({ path: at, before, now }) => [at, before?.kind, now?.kind]);
    const both = [
      ['sub/ONE', undefined, 'file'],
      ['sub/one', 'file', undefined],
    ];
    expect(changes(scanner.open(path('sub'))?.next(10).differences)).to.deep.equal(both);
    expect(['ONE', 'one'].flatMap((name) => changes(scanner.look(path('sub'), name).differences))).to.deep.equal(both);
    expect(scanner.inodeAt(path('sub/one'))).to.equal(undefined);
    expect(scanner.inodeAt(path('sub/two'))).not.to.equal(undefined);
  });

  it('looks at the root itself', () => {
    expect(scanner.lookAtRoot()?.path).to.equal(ROOT);
  });
});
