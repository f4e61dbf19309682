import { expect } from 'chai';
import fc from 'fast-check';
import { type WatchNode, WatchTree } from '../../../clients/watcher/observe/watch-tree.ts';
import { isInside, rebase, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';

const paths = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 3 }).map((names) => names.join('/'));

describe('WatchTree', () => {
  it('takes all that is below along when a directory moves (E30)', () => {
    const tree = new WatchTree();
    const below = tree.ensure('old/x/y' as TreePath);
    tree.move(tree.ensure('old' as TreePath), 'new/old' as TreePath);
    expect(tree.pathOf(below)).to.equal('new/old/x/y');
    expect(tree.find('old' as TreePath)).to.equal(undefined);
  });

  it('keeps what was announced below a path before the directory itself', () => {
    const tree = new WatchTree();
    const moved = tree.ensure('a/b' as TreePath);
    const early = tree.ensure('b/early' as TreePath);
    tree.move(moved, 'b' as TreePath);
    expect(tree.pathOf(early)).to.equal('b/early');
    expect(tree.pathOf(moved)).to.equal('b');
  });

  it('lets a directory change places with its former child (E61)', () => {
    const tree = new WatchTree();
    const parent = tree.ensure('a' as TreePath);
    const child = tree.ensure('a/b' as TreePath);
    tree.move(parent, 'b/a' as TreePath);
    tree.move(child, 'b' as TreePath);
    expect(tree.pathOf(child)).to.equal('b');
    expect(tree.pathOf(parent)).to.equal('b/a');
  });

  it('agrees with a plain list of paths, and closes each watch once', () => {
    const step = fc.record({ kind: fc.constantFrom('add', 'move', 'remove'), path: paths, to: paths });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const tree = new WatchTree();
        let model = new Map<TreePath, WatchNode>();
        let nextInode = 1n;
        let open = 0;
        const drop = (path: TreePath): void => {
          for (const known of [...model.keys()]) if (isInside(known, path)) model.delete(known);
        };
        for (const { kind, path: from, to } of steps as { kind: string; path: TreePath; to: TreePath }[]) {
          const node = tree.find(from);
          if (kind === 'add') {
            for (let end = from.indexOf('/'); ; end = from.indexOf('/', end + 1)) {
              const path = (end < 0 ? from : from.slice(0, end)) as TreePath;
              const made = tree.ensure(path);
              if (made.watch === undefined) {
                open++;
                tree.identify(made, { ino: nextInode++, birthtimeNs: 0n });
                tree.setWatch(made, { close: () => open-- });
              }
              model.set(path, made);
              if (end < 0) break;
            }
          } else if (node !== undefined && kind === 'remove') {
            tree.remove(node);
            drop(from);
          } else if (node !== undefined && !isInside(to, from) && !isInside(from, to) && parentKnown(model, to)) {
            tree.move(node, to);
            drop(to);
            const moved = [...model].map(
              ([path, at]) => [isInside(path, from) ? rebase(path, from, to) : path, at] as const,
            );
            model = new Map(moved);
          }
          for (const [path, known] of model) {
            expect(tree.pathOf(known)).to.equal(path);
            expect(tree.find(path)).to.equal(known);
            expect(known.identity && tree.findByInode(known.identity.ino)).to.equal(known);
          }
          expect(tree.watchCount).to.equal(model.size);
          expect(open).to.equal(model.size);
        }
      }),
    );
  });
});

function parentKnown(model: ReadonlyMap<TreePath, WatchNode>, path: TreePath): boolean {
  const parent = path.slice(0, Math.max(0, path.lastIndexOf('/'))) as TreePath;
  return parent === ROOT || model.has(parent);
}
