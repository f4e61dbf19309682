import { chmodSync, linkSync, mkdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Lookout } from '../../../clients/watcher/engine/lookout.ts';
import { DirtySet } from '../../../clients/watcher/observe/dirty-set.ts';
import { IgnoreRules } from '../../../clients/watcher/observe/ignore-rules.ts';
import { Scanner } from '../../../clients/watcher/observe/scanner.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { TreeIndex } from '../../../common/tree/tree-index.ts';
import { ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
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
    const below: string[] = [];
    while (!lookout.queue.isEmpty)
      below.push(...(await lookout.scanSlice(scanner)).differences.map(({ path }) => path));
    expect(below).to.include.members(['replaced/inner', 'replaced/inner/new']);
  });
});
