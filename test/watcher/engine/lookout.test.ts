import { chmodSync, linkSync, mkdirSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Lookout } from '../../../clients/watcher/engine/lookout.ts';
import { DirtySet } from '../../../clients/watcher/observe/dirty-set.ts';
import { IgnoreRules } from '../../../clients/watcher/observe/ignore-rules.ts';
import { Scanner } from '../../../clients/watcher/observe/scanner.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { TreeIndex } from '../../../common/tree/tree-index.ts';
import { ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { replacedCall } from '../../support/failing-calls.ts';
import { useTemporaryDirectory } from '../../common/fs/temporary.ts';

describe('the lookout', () => {
  const temporary = useTemporaryDirectory();
  let tree: string;
  let root: SafeRoot;
  let index: TreeIndex;
  let scanner: Scanner;
  let dirty: DirtySet;
  let lookout: Lookout;

  beforeEach(() => {
    tree = join(temporary.path, 'tree');
    mkdirSync(tree);
    root = SafeRoot.open(tree);
    index = TreeIndex.create(join(temporary.path, 'index.db'), { digestFunction: 'sha256', indexInodes: true });
    const ignore = new IgnoreRules([]);
    scanner = new Scanner({
      root,
      index,
      isIgnored: (path, isDirectory) => ignore.isIgnored(path, isDirectory),
      report: () => {},
      noDirectory: () => {},
      unlisted: () => {},
      shared: () => {},
      fine: () => {},
      outOfRange: () => {},
      hasProblems: () => false,
      inRange: () => {},
    });
    dirty = new DirtySet();
    lookout = new Lookout({
      root,
      nowMs: () => 0,
      ignore,
      dirty,
      startLookAhead: undefined,
      watchDirectories: async () => {},
      isInFlight: () => false,
      isPaused: () => false,
      replacedAbove: () => undefined,
      onRescan: () => {},
      onVanishedIn: () => {},
      onListed: () => {},
      onNowhere: () => {},
      onRootListed: () => {},
      onRulesProblem: () => {},
    });
  });

  afterEach(() => {
    index.close();
    root.close();
  });

  it('looks at the root when its names are looked through alone', async () => {
    lookout.lookThroughAlone(ROOT, 0, 'compared');
    const { differences } = await lookout.scanSlice(scanner);
    expect(differences.map(({ path }) => path)).to.include(ROOT);
  });

  it('looks through a directory that it came by as by the other name of a file (E19, E31)', async () => {
    writeFileSync(join(tree, 'one'), 'content');
    for (const name of ['other', 'third']) linkSync(join(tree, 'one'), join(tree, name));
    for (const name of ['one', 'other', 'third']) {
      const now = scanner.look(ROOT, name).differences[0]?.now;
      if (now?.kind !== 'file') throw new Error(`${name} is no file`);
      index.put({ path: name as TreePath, ...now, digest: Buffer.alloc(32, 1) as never }, now.identity);
    }
    unlinkSync(join(tree, 'one'));
    mkdirSync(join(tree, 'one'));
    writeFileSync(join(tree, 'one', 'below'), 'content');
    chmodSync(join(tree, 'other'), 0o600);

    dirty.addName(ROOT, 'other', 0);
    const hinted = lookout.serveHints(scanner).differences.map(({ path }) => path);
    expect(hinted).to.include.members(['one', 'other']);
    const below = (await lookout.scanSlice(scanner)).differences.map(({ path }) => path);
    expect(below).to.include('one/below');
  });

  it('looks at a directory that took the place of another one, and at what is in it only then (E31)', async () => {
    mkdirSync(join(tree, 'replaced', 'inner'), { recursive: true });
    writeFileSync(join(tree, 'replaced', 'inner', 'new'), 'content');
    const identity = { dev: 1n, ino: 1n, ctimeNs: 1n, mtimeNs: 1n, sizeBytes: 0 };
    index.put({ path: 'replaced' as TreePath, kind: 'directory', mode: 0o755, mtimeNs: 1n }, identity);

    dirty.addName('replaced/inner' as TreePath, 'new', 0);
    expect(lookout.serveHints(scanner).differences.map(({ path }) => path)).to.deep.equal(['replaced']);
    expect(await pathsFound()).to.include.members(['replaced/inner', 'replaced/inner/new']);
  });

  it('finds a new directory right before what is in it, and one that may have been renamed with its neighbours', async () => {
    for (const name of ['a', 'b', 'moved']) {
      mkdirSync(join(tree, name));
      writeFileSync(join(tree, name, 'x'), name);
    }
    const now = scanner.look(ROOT, 'moved').differences[0]?.now;
    if (now?.kind !== 'directory') throw new Error('there is no directory');
    index.put({ path: 'before' as TreePath, kind: 'directory', mode: now.mode, mtimeNs: now.mtimeNs }, now.identity);
    lookout.queue.push(ROOT, 0, true);
    expect(await pathsFound()).to.deep.equal(['moved', 'a', 'a/x', 'b', 'b/x', 'moved/x']);
  });

  it('finds a new directory that cannot be listed, and none that has gone since its parent was (E36, E49)', async () => {
    for (const name of ['closed', 'gone']) mkdirSync(join(tree, name));
    using _ = replacedCall('readdirSync', (call, parameters) => {
      const names = call(parameters);
      if (Array.isArray(names) && names.length > 0) return names;
      rmSync(join(tree, 'gone'), { recursive: true, force: true });
      throw Object.assign(new Error('EACCES: made to fail, readdirSync'), { code: 'EACCES' });
    });
    lookout.queue.push(ROOT, 0, true);
    expect(await pathsFound()).to.deep.equal(['closed']);
  });

  async function pathsFound(): Promise<readonly string[]> {
    const paths: string[] = [];
    while (!lookout.queue.isEmpty)
      paths.push(...(await lookout.scanSlice(scanner)).differences.map(({ path }) => path));
    return paths;
  }
});
