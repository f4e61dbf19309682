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
import { LockstepError } from '../../../common/ops/errors.ts';
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
  let hasProblems: boolean;
  let ignored: string[];
  let isUnlinked: ((at: TreePath) => boolean) | undefined;

  beforeEach(() => {
    tree = join(temporary.path, 'tree');
    mkdirSync(join(tree, 'sub'), { recursive: true });
    for (const name of ['one', 'two', 'three']) writeFileSync(join(tree, 'sub', name), name);
    openRoot();
    index = TreeIndex.create(join(temporary.path, 'index.db'), {
      digestFunction: 'sha256',
      indexInodes: true,
      keepsSettled: true,
    });
    [hasProblems, ignored, isUnlinked] = [false, [], undefined];
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
      isIgnored: (at) => ignored.includes(at),
      isUnlinked,
      report: (at, reason) => reports.push(`${at}: ${reason}`),
      noDirectory: () => {},
      unlisted: (at, reason) => reports.push(`${at}: ${reason}`),
      shared: (ino) => shared.push(ino),
      fine: (at) => fine.push(at),
      outOfRange: (at) => reports.push(`${at}: out of range`),
      hasProblems: () => hasProblems,
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

  describe('of directories in which nothing differs', () => {
    const sub = path('sub');

    beforeEach(() => {
      mkdirSync(join(tree, 'sub', 'below'));
      index.put({ path: sub, kind: 'directory', mode: 0o755, mtimeNs: 0n }, undefined);
      know('one', 'two', 'three');
      const { dev, ino, ctimeNs, mtimeNs } = lstatSync(join(tree, 'sub', 'below'), { bigint: true });
      const identity = { dev, ino, ctimeNs, mtimeNs, sizeBytes: 0 };
      index.put({ path: path('sub/below'), kind: 'directory', mode: 0o755, mtimeNs }, identity);
    });

    /** A whole look; then the index knows what was found settled. */
    function lookThrough(limit = 100): { looked: number; differences: string[]; directories: readonly TreePath[] } {
      const scan = scanner.open(sub);
      const all = { looked: 0, differences: [] as string[], directories: [] as TreePath[] };
      while (scan?.done === false) {
        const { looked, differences, directories } = scan.next(limit);
        all.looked += looked;
        all.differences.push(...differences.map((difference) => difference.path));
        all.directories.push(...directories);
      }
      scanner.keepSettled();
      return all;
    }

    /** Whether the next look would be spared. */
    const isSettled = () => index.settledLook(sub) !== undefined;

    it('passes by the names from the second look on, and finds the directories in it nevertheless', () => {
      const first = lookThrough(1);
      expect(first).to.deep.equal({ looked: 4, differences: [], directories: ['sub/below'] });
      expect(fine).to.have.lengthOf(4);
      expect(isSettled()).to.equal(true);
      index.childRows = () => expect.fail('the rows were read');
      expect(lookThrough(1)).to.deep.equal(first);
      expect(fine).to.have.lengthOf(4);
      // Somebody waits for what is over.
      hasProblems = true;
      expect(lookThrough(1)).to.deep.equal(first);
      expect(fine).to.have.lengthOf(8);
      ignored = ['sub/below', 'sub/one'];
      expect(lookThrough(1).directories).to.deep.equal([]);
      expect(fine).to.have.lengthOf(10);
    });

    const changes: Readonly<Record<string, readonly [act: () => void, found: readonly string[]]>> = {
      'written to': [() => writeFileSync(join(tree, 'sub', 'one'), 'ONE'), ['sub/one']],
      chmodded: [() => chmodSync(join(tree, 'sub', 'two'), 0o600), ['sub/two']],
      removed: [() => rmSync(join(tree, 'sub', 'two')), ['sub/two']],
      added: [() => writeFileSync(join(tree, 'sub', 'new'), ''), ['sub/new']],
      renamed: [() => renameSync(join(tree, 'sub', 'one'), join(tree, 'sub', 'won')), ['sub/one', 'sub/won']],
      'replaced by a directory': [
        () => {
          rmSync(join(tree, 'sub', 'one'));
          mkdirSync(join(tree, 'sub', 'one'));
        },
        ['sub/one'],
      ],
      'changed in the index only': [() => index.setIdentity(path('sub/three'), undefined), ['sub/three']],
      'forgotten by the index only': [() => index.remove(path('sub/three')), ['sub/three']],
    };
    for (const [what, [act, found]] of Object.entries(changes))
      it(`sees what was ${what} since`, () => {
        lookThrough();
        act();
        for (const _ of ['at once', 'and again']) expect(lookThrough().differences.toSorted()).to.deep.equal(found);
      });

    const unsettled: Readonly<Record<string, () => void>> = {
      'what the index lacks': () => writeFileSync(join(tree, 'sub', 'new'), ''),
      'what is gone': () => rmSync(join(tree, 'sub', 'one')),
      'what is ignored': () => (ignored = ['sub/one']),
      'what differs': () => writeFileSync(join(tree, 'sub', 'one'), 'ONE'),
      'what has a time that cannot be carried': () => {
        lutimesSync(join(tree, 'sub', 'one'), 2 ** 34, 2 ** 34);
        know('one');
      },
    };
    for (const [what, act] of Object.entries(unsettled))
      it(`settles no directory with ${what}`, () => {
        act();
        for (const _ of ['at once', 'and again']) {
          lookThrough();
          expect(isSettled()).to.equal(false);
        }
      });

    it('does not settle what could not be seen at once, and looks at that again', () => {
      const directory = root.directory(sub);
      const seen = new SeenDirectory(
        packDirectory(directory.list().sort(), (name) => (name === 'two' ? undefined : directory.lstat(name))),
      );
      expect(scanner.open(sub, seen)?.next(10).differences).to.deep.equal([]);
      scanner.keepSettled();
      expect(isSettled()).to.equal(false);
      expect(fine).to.include('sub/two');
    });

    it('does not settle what the index has learned otherwise before the look was through', () => {
      const scan = scanner.open(sub);
      scan?.next(2);
      index.setIdentity(path('sub/below'), undefined);
      scan?.next(10);
      scanner.keepSettled();
      expect(isSettled()).to.equal(false);
      const second = scanner.open(sub);
      second?.next(10);
      index.put({ path: path('elsewhere'), kind: 'directory', mode: 0o755, mtimeNs: 0n }, undefined);
      scanner.keepSettled();
      expect(isSettled()).to.equal(false);
    });

    it('looks at each name where the index changes after the directory was opened', () => {
      lookThrough();
      const scan = scanner.open(sub);
      index.setIdentity(path('sub/one'), undefined);
      expect(scan?.next(10).differences.map((difference) => difference.path)).to.deep.equal(['sub/one']);
    });

    it('asks of files with several names each time whether the server has them so', () => {
      linkSync(join(tree, 'sub', 'one'), join(tree, 'sub', 'link'));
      know('one', 'link');
      const asked: string[] = [];
      isUnlinked = (at) => asked.push(at) > 0 && at === path('sub/link') && asked.length > 2;
      scanner = newScanner();
      expect(lookThrough().differences).to.deep.equal([]);
      expect(lookThrough().differences).to.deep.equal(['sub/link']);
      expect(asked).to.deep.equal(['sub/link', 'sub/one', 'sub/link', 'sub/one']);
      index.setIdentity(path('sub/two'), index.get(path('sub/two'))?.identity);
      expect(lookThrough().differences).to.deep.equal(['sub/link']);
      expect(isSettled()).to.equal(false);
    });

    it('settles others beside a new and empty one that was seen ahead', () => {
      mkdirSync(join(tree, 'new'));
      const seen = new SeenDirectory(packDirectory([], () => undefined));
      expect(scanner.open(path('new'), seen)?.next(10).differences).to.deep.equal([]);
      lookThrough();
      expect(isSettled()).to.equal(true);
    });

    it('compares owners at each look, where they are carried', () => {
      lookThrough();
      scanner = newScanner(new LocalOwners('number'));
      expect(lookThrough().differences).to.deep.equal(['sub/below', 'sub/one', 'sub/three', 'sub/two']);
    });

    it('goes on without where the index cannot be written to, and not where it is damaged', () => {
      const failing = (reason: 'NO_SPACE' | 'INDEX_DAMAGED') => () => {
        throw new LockstepError(reason, 'for the test');
      };
      index.transaction = failing('NO_SPACE');
      expect(lookThrough().differences).to.deep.equal([]);
      expect(isSettled()).to.equal(false);
      index.transaction = failing('INDEX_DAMAGED');
      expect(() => lookThrough()).to.throw('for the test');
    });
  });

  it('looks at the root itself', () => {
    expect(scanner.lookAtRoot()?.path).to.equal(ROOT);
  });
});
