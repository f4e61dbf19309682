import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { withMoves } from '../../../clients/watcher/observe/move-detection.ts';
import { Scanner } from '../../../clients/watcher/observe/scanner.ts';
import type { Difference } from '../../../clients/watcher/plan/difference.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { TreeIndex } from '../../../common/tree/tree-index.ts';
import { ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { useTemporaryDirectory } from '../../common/fs/temporary.ts';

const path = (text: string): TreePath => text as TreePath;

describe('the detection of renames', () => {
  const temporary = useTemporaryDirectory();
  let tree: string;
  let root: SafeRoot;
  let index: TreeIndex;
  let scanner: Scanner;

  beforeEach(() => {
    tree = join(temporary.path, 'tree');
    mkdirSync(join(tree, 'old'), { recursive: true });
    for (const name of ['one', 'two']) writeFileSync(join(tree, 'old', name), name);
    root = SafeRoot.open(tree);
    index = TreeIndex.create(join(temporary.path, 'index.db'), { digestFunction: 'sha256', indexInodes: true });
    scanner = new Scanner({
      root,
      index,
      isIgnored: () => false,
      report: () => {},
      noDirectory: () => {},
      unlisted: () => {},
      shared: () => {},
      fine: () => {},
      outOfRange: () => {},
      hasProblems: () => false,
      inRange: () => {},
    });
    for (const name of ['old', 'old/one', 'old/two']) know(path(name));
  });

  afterEach(() => {
    index.close();
    root.close();
  });

  /** The server has what is there now. */
  function know(at: TreePath): void {
    const [name = '', parent = ''] = at.split('/').toReversed();
    const now = scanner.look(path(parent), name).differences[0]?.now;
    if (now?.kind === 'file') index.put({ path: at, ...now, digest: Buffer.alloc(32, 1) as never }, now.identity);
    else if (now?.kind === 'directory') index.put({ path: at, ...now }, now.identity);
    else throw new Error(`nothing at ${at}`);
  }

  function movedFrom(name: string): TreePath | undefined {
    const differences: readonly Difference[] = ['old', name].flatMap((each) => scanner.look(ROOT, each).differences);
    const found = withMoves(differences, index, scanner, () => true);
    return found.find((difference) => difference.path === name)?.movedFrom?.path;
  }

  it('finds a directory under its new name, by its inode and what is in it (E64)', () => {
    renameSync(join(tree, 'old'), join(tree, 'new'));
    expect(movedFrom('new')).to.equal('old');
  });

  it('finds a directory in the place of another one that was known here', () => {
    mkdirSync(join(tree, 'new'));
    know(path('new'));
    renameSync(join(tree, 'old'), join(tree, 'new'));
    expect(movedFrom('new')).to.equal('old');
  });

  it('leaves a directory that the server turned out to have already where it is: for a rename it would be deleted (E64, F03)', () => {
    renameSync(join(tree, 'old'), join(tree, 'new'));
    index.put({ path: path('new'), kind: 'directory', mode: 0o755, mtimeNs: 1n }, undefined);
    expect(movedFrom('new')).to.equal(undefined);
  });
});
