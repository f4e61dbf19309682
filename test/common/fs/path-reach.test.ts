import { closeSync, mkdirSync, readdirSync, renameSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { chooseWay } from '../../../common/fs/choose-way.ts';
import type { Directory } from '../../../common/fs/directory.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { chooseSystem } from '../../../common/fs/system.ts';
import { toSystemName } from '../../../common/fs/system-name.ts';
import { ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import { useTemporaryDirectory } from './temporary.ts';

const treePath = (text: string): TreePath => text as TreePath;

/** What looks at, or changes, a name of a directory. */
const OPERATIONS: Readonly<Record<string, (directory: Directory, root: Directory) => unknown>> = {
  list: (directory) => directory.list(),
  listKinds: (directory) => directory.listKinds(),
  lstat: (directory) => directory.lstat('f'),
  'lstat of nothing': (directory) => directory.lstat('nothing'),
  stat: (directory) => directory.stat(),
  openFile: (directory) => directory.openFile('f'),
  'openFile of nothing': (directory) => directory.openFile('nothing'),
  createFile: (directory) => directory.createFile('made'),
  makeDirectory: (directory) => directory.makeDirectory('made', 0o755),
  unlink: (directory) => directory.unlink('f'),
  removeDirectory: (directory) => directory.removeDirectory('d'),
  makeSymlink: (directory) => directory.makeSymlink('made', Buffer.from('x')),
  readLink: (directory) => directory.readLink('l'),
  'rename out of': (directory, root) => directory.rename('f', root, 'taken'),
  'rename into': (directory, root) => root.rename('top', directory, 'f'),
  setMode: (directory) => directory.setMode('f', 0o777),
  setMtime: (directory) => directory.setMtime('f', 0n),
  setOwnMode: (directory) => directory.setOwnMode(0o777),
  setOwnMtime: (directory) => directory.setOwnMtime(0n),
  sync: (directory) => directory.sync(),
  openDirectory: (directory) => directory.openDirectory('d'),
  reopen: (directory) => directory.reopen(),
};

type Call = 'lstatSync' | 'openSync';

/** Until it is disposed: does something before the nth call that is made for this path. */
function justBefore(call: Call, nth: number, path: string, act: () => void): Disposable {
  let count = 0;
  return failingCalls(call, 'EIO', (_number, [given]) => {
    if (String(given) === path && ++count === nth) act();
    return false;
  });
}

describe('directories by their paths', () => {
  const temporary = useTemporaryDirectory();
  let base: string;
  let root: SafeRoot;

  beforeEach(() => {
    base = `${temporary.path}/tree`;
    for (const directory of [`${base}/a/b`, `${temporary.path}/outside/b`]) {
      mkdirSync(`${directory}/d`, { recursive: true });
      writeFileSync(`${directory}/f`, 'x');
      symlinkSync('f', `${directory}/l`);
    }
    writeFileSync(`${base}/top`, '');
    root = SafeRoot.open(base, { way: 'paths' });
  });

  afterEach(() => root.close());

  function swap(): void {
    renameSync(`${base}/a`, `${base}/aside`);
    symlinkSync('../outside', `${base}/a`);
  }

  for (const [operation, run] of Object.entries(OPERATIONS)) {
    it(`notice that a parent was swapped for a link before ${operation}, and touch nothing there (S01)`, () => {
      const directory = root.directory(treePath('a/b'));
      swap();
      const before = readdirSync(`${temporary.path}/outside/b`);
      const descriptors = readdirSync('/dev/fd').length;
      expect(() => run(directory, root.directory(ROOT)))
        .to.throw()
        .with.property('code', 'ESTALE');
      expect(readdirSync(`${temporary.path}/outside/b`)).to.deep.equal(before);
      expect(readdirSync(`${base}/aside/b`)).to.deep.equal(before);
      expect(readdirSync('/dev/fd').length).to.equal(descriptors);
    });
  }

  it('say so afterwards where the swap came between the look and the call (S01)', () => {
    let isDue = false;
    const late = SafeRoot.open(base, {
      way: {
        paths: (name) => {
          if (isDue) swap();
          isDue = false;
          return Buffer.from(name);
        },
      },
    });
    const descriptors = readdirSync('/dev/fd').length;
    const directory = late.directory(treePath('a/b'));
    isDue = true;
    expect(() => directory.makeDirectory('made', 0o755))
      .to.throw()
      .with.property('code', 'ESTALE');
    // The price of the weaker way: it was made elsewhere.
    expect(readdirSync(`${temporary.path}/outside/b`)).to.include('made');
    late.forgetAll();
    expect(readdirSync('/dev/fd').length).to.equal(descriptors);
    late.close();
  });

  it('give up what they opened where it is gone, or another one, by then (S01)', () => {
    const path = `${base}/a/b`;
    const replace = () => {
      renameSync(path, `${path}-${Math.random()}`);
      mkdirSync(path);
    };
    const moments: readonly (readonly [Call, number, string, () => void, (directory: Directory) => unknown])[] = [
      ['lstatSync', 1, `${path}/f`, () => renameSync(`${path}/f`, `${path}/g`), (directory) => directory.openFile('f')],
      // Between the look before and the look that opening begins with, before the call itself, and before the look after it.
      ['lstatSync', 2, path, replace, (directory) => directory.reopen()],
      ['openSync', 1, path, replace, (directory) => directory.reopen()],
      ['lstatSync', 3, path, replace, (directory) => directory.reopen()],
    ];
    for (const [call, nth, place, change, run] of moments) {
      root.forgetAll();
      const directory = root.directory(treePath('a/b'));
      const descriptors = readdirSync('/dev/fd').length;
      using _ = justBefore(call, nth, place, change);
      expect(() => run(directory), `${call} ${nth}`)
        .to.throw()
        .with.property('code', 'ESTALE');
      expect(readdirSync('/dev/fd').length).to.equal(descriptors);
    }
  });

  it('do without a handle of what may not be read', () => {
    const descriptors = readdirSync('/dev/fd').length;
    {
      using _ = failingCalls('openSync', 'EACCES', (_number, [path]) => String(path) === `${base}/a/b`);
      root.directory(treePath('a/b'));
    }
    const directory = root.directory(treePath('a/b'));
    expect(directory.list().sort()).to.deep.equal(['d', 'f', 'l']);
    directory.sync();
    {
      using _ = failingCalls('openSync', 'EACCES');
      directory.setMode('f', 0o640);
    }
    expect(directory.lstat('f')).to.include({ mode: 0o640 });
    using _ = failingCalls('openSync', 'EIO');
    expect(() => directory.setMode('f', 0o600)).to.throw('EIO');
    expect(() => directory.openDirectory('d')).to.throw('EIO');
    // Of `a`, which was opened on the way.
    expect(readdirSync('/dev/fd').length).to.equal(descriptors + 1);
  });

  it('can be all that there is', () => {
    using all = SafeRoot.open('/', { way: 'paths' });
    expect(all.directory(ROOT).lstat('dev')).to.include({ kind: 'directory' });
  });

  it('never take another directory for the one that was opened', () => {
    const directory = root.directory(treePath('a/b'));
    renameSync(`${base}/a/b`, `${base}/a/moved`);
    mkdirSync(`${base}/a/b`);
    expect(() => directory.list())
      .to.throw()
      .with.property('code', 'ESTALE');
    root.forgetAll();
    expect(root.directory(treePath('a/b')).list()).to.deep.equal([]);
  });

  it('tell a root that went from a directory that was removed: nothing in it counts as deleted', () => {
    const directory = root.directory(treePath('a/b'));
    renameSync(base, `${base}-away`);
    for (const gone of [directory, root.directory(ROOT)]) {
      expect(() => gone.list())
        .to.throw()
        .with.property('code', 'ESTALE');
    }
    expect(() => root.tryDirectory(treePath('a/b/d')))
      .to.throw()
      .with.property('code', 'ESTALE');
  });

  it('are not taken for removed while they are there', () => {
    rmdirSync(`${base}/a/b/d`);
    const directory = root.directory(treePath('a/b'));
    expect(root.tryDirectory(treePath('a/b/d'))).to.equal(undefined);
    expect(directory.lstat('d')).to.equal(undefined);
    expect(directory.list().sort()).to.deep.equal(['f', 'l']);
  });

  it('end at the length of a path, as an error of that entry (E05)', () => {
    let deepest = ROOT;
    const deepen = () => {
      for (let level = 0; level < 100; level++) {
        const name = `level-${level}-${'x'.repeat(90)}`;
        root.directory(deepest).makeDirectory(name, 0o755);
        deepest = treePath(deepest === '' ? name : `${deepest}/${name}`);
      }
    };
    expect(deepen).to.throw().with.property('code', 'ENAMETOOLONG');
    expect(root.directory(ROOT).list()).to.include('top');
  });

  it('refuse a name that the system cannot hold, and that name only (E08)', () => {
    const windows = SafeRoot.open(base, { way: { paths: (name) => toSystemName(name, 'win32') } });
    const directory = windows.directory(ROOT);
    expect(() => directory.createFile('a:b'))
      .to.throw()
      .that.includes({ reason: 'NAME_UNSUPPORTED', code: 'EILSEQ' });
    closeSync(directory.createFile('plain'));
    expect(directory.list()).to.include('plain').and.not.to.include('a:b');
    windows.close();
  });
});

describe('the way to directories', () => {
  it('is by handles on Linux, whatever else is the case, and never silently another one (S40)', () => {
    expect(chooseWay('linux', {})).to.equal('handles');
    expect(chooseWay('darwin', {})).to.equal('paths');
    expect(chooseWay('freebsd', {})).to.equal('paths');
    expect(chooseWay('win32', {})).to.equal('paths');
  });

  it('can be forced for a test', () => {
    expect(chooseWay('linux', { LOCKSTEP_TEST_WAY: 'paths' })).to.equal('paths');
    expect(chooseWay('linux', { LOCKSTEP_TEST_WAY: '1' })).to.equal('handles');
    expect(chooseWay('linux', { LOCKSTEP_TEST_WAY: 'windows' })).to.equal('paths');
    expect(chooseSystem('linux', { LOCKSTEP_TEST_WAY: 'windows' })).to.equal('win32');
    expect(chooseSystem('linux', { LOCKSTEP_TEST_WAY: 'paths' })).to.equal('linux');
  });
});
