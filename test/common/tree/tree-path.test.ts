/** Paths: their order and their arithmetic. */
import { expect } from 'chai';
import fc from 'fast-check';
import {
  compareTreePaths,
  componentsOf,
  depthOf,
  isBelowAny,
  isInside,
  isReserved,
  joinPath,
  localBytesOf,
  nameOf,
  parentOf,
  ROOT,
  rebase,
  treePathFromLocal,
} from '../../../common/tree/tree-path.ts';
import { treePath, treePathText } from './paths.ts';

describe('TreePath', () => {
  it('takes a path apart and puts it together again', () => {
    fc.assert(
      fc.property(treePathText, (path) => {
        expect(joinPath(parentOf(path), nameOf(path))).to.equal(path);
        expect(depthOf(path)).to.equal(componentsOf(path).length);
        expect(depthOf(parentOf(path))).to.equal(depthOf(path) - 1);
        expect(treePathFromLocal(localBytesOf(path))).to.equal(path);
      }),
    );
  });

  it('has a root that is its own parent and nameless', () => {
    expect(parentOf(ROOT)).to.equal(ROOT);
    expect(nameOf(ROOT)).to.equal('');
    expect(depthOf(ROOT)).to.equal(0);
    expect(componentsOf(ROOT)).to.deep.equal([]);
  });

  it('is ordered depth-first, component by component in byte order', () => {
    const byComponents = (a: readonly string[], b: readonly string[]): number => {
      for (const [index, part] of a.entries()) {
        const other = b[index];
        if (other === undefined) return 1;
        if (part !== other) return Buffer.compare(Buffer.from(part, 'latin1'), Buffer.from(other, 'latin1'));
      }
      return a.length === b.length ? 0 : -1;
    };
    fc.assert(
      fc.property(treePathText, treePathText, (a, b) => {
        expect(Math.sign(compareTreePaths(a, b))).to.equal(byComponents(componentsOf(a), componentsOf(b)));
      }),
    );
    const inOrder = ['', 'a', 'a/b', 'a/b/c', 'a/b-', 'a-', 'a-/x', 'a0', '\xff'].map(treePath);
    expect(inOrder.toReversed().toSorted(compareTreePaths)).to.deep.equal(inOrder);
  });

  it('knows what is inside of what', () => {
    expect(isInside(treePath('a/b'), treePath('a'))).to.equal(true);
    expect(isInside(treePath('a'), treePath('a'))).to.equal(true);
    expect(isInside(treePath('ab'), treePath('a'))).to.equal(false);
    expect(isInside(treePath('a'), treePath('a/b'))).to.equal(false);
    expect(isInside(treePath('a'), ROOT)).to.equal(true);
    expect(isInside(ROOT, treePath('a'))).to.equal(false);
  });

  it('knows whether one of many directories is above', () => {
    const directories = new Set([treePath('a'), treePath('b/c')]);
    expect(isBelowAny(treePath('a/b/c'), directories)).to.equal(true);
    expect(isBelowAny(treePath('a'), directories)).to.equal(false);
    expect(isBelowAny(treePath('b/cd'), directories)).to.equal(false);
    expect(isBelowAny(treePath('b'), new Set([ROOT]))).to.equal(true);
    expect(isBelowAny(ROOT, new Set([ROOT]))).to.equal(false);
  });

  it('follows a directory that was renamed', () => {
    expect(rebase(treePath('a/b/c'), treePath('a'), treePath('x/y'))).to.equal('x/y/b/c');
    expect(rebase(treePath('a'), treePath('a'), treePath('x'))).to.equal('x');
    expect(rebase(treePath('a/b'), ROOT, treePath('x'))).to.equal('x/a/b');
    expect(rebase(treePath('a/b'), treePath('a'), ROOT)).to.equal('b');
    expect(() => rebase(treePath('ab'), treePath('a'), treePath('x'))).to.throw(/rebased/);
  });

  it("reserves the server's directory at the root, and nowhere else (E03)", () => {
    expect(['.lockstep', '.lockstep/log/1'].map(treePath).every(isReserved)).to.equal(true);
    expect(['', '.lockstep2', 'a/.lockstep', '.Lockstep', '.lockste'].map(treePath).some(isReserved)).to.equal(false);
  });
});
