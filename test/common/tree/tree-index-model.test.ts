/** The tree index against a map of paths: whatever is done to both, they say the same. */
import { expect } from 'chai';
import fc from 'fast-check';
import type { Entry } from '../../../common/tree/entry.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import { joinPath, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { anyIdentity, anyRecord, reasonOf, withIndex } from './entries.ts';
import { treePath } from './paths.ts';
import { TreeModel } from './tree-model.ts';

/** Few names, so that paths meet. */
const name = fc.constantFrom('a', 'b', 'a-', '\xff\xfeA', '__proto__', 'n\n', 'x'.repeat(255));
const path: fc.Arbitrary<TreePath> = fc
  .array(name, { minLength: 1, maxLength: 4 })
  .map((names) => treePath(names.join('/')));
const pathOrRoot = fc.oneof({ weight: 9, arbitrary: path }, { weight: 1, arbitrary: fc.constant(ROOT) });

type Step = (index: TreeIndex, model: TreeModel) => void;

const put = fc.tuple(path, anyRecord, anyIdentity).map(
  ([at, record, identity]): Step =>
    (index, model) => {
      const entry: Entry = { ...record, path: at };
      expect(reasonOf(() => index.put(entry, identity))).to.equal(model.put(entry, identity));
    },
);
/** Deep trees do not come about by chance. */
const putBelow = fc.tuple(fc.nat(), name, anyRecord).map(
  ([pick, child, record]): Step =>
    (index, model) => {
      const directories = [...model.entries.values()].filter((entry) => entry.kind === 'directory');
      const entry: Entry = { ...record, path: joinPath(directories[pick % directories.length]?.path ?? ROOT, child) };
      index.put(entry, undefined);
      model.put(entry, undefined);
    },
);
const remove = path.map(
  (at): Step =>
    (index, model) => {
      expect(index.countSubtree(at)).to.equal(model.subtree(at).length);
      expect(index.remove(at)).to.equal(model.remove(at));
    },
);
const move = fc.tuple(path, path).map(
  ([from, to]): Step =>
    (index, model) => {
      expect(reasonOf(() => index.move(from, to))).to.equal(model.move(from, to));
    },
);
const moveExisting = fc.tuple(fc.nat(), path).map(
  ([pick, to]): Step =>
    (index, model) => {
      const from = model.subtree(ROOT)[pick % Math.max(1, model.entries.size - 1)];
      if (from !== undefined) expect(reasonOf(() => index.move(from, to))).to.equal(model.move(from, to));
    },
);
const look = pathOrRoot.map(
  (at): Step =>
    (index, model) => {
      expect(index.get(at)).to.deep.equal(model.entries.get(at));
      if (model.isDirectory(at)) expect(index.treeDigest(at).equals(model.treeDigest(at))).to.equal(true);
    },
);
const walk = fc.tuple(pathOrRoot, path, fc.integer({ min: 1, max: 4 })).map(
  ([top, after, limit]): Step =>
    (index, model) => {
      expect(index.walkPage(top, after, limit)).to.deep.equal(model.below(top, after).slice(0, limit));
    },
);
const undone = fc.array(fc.oneof(put, putBelow, remove, moveExisting), { maxLength: 3 }).map(
  (steps): Step =>
    (index, model) => {
      const copy = new TreeModel();
      for (const [key, value] of model.entries) copy.entries.set(key, value);
      const undo = new Error('undo');
      const attempt = () =>
        index.transaction(() => {
          for (const step of steps) step(index, copy);
          throw undo;
        });
      expect(attempt).to.throw(undo);
    },
);

/** Leaves every directory clean, so that later steps have something to make dirty. */
const digest = fc.constant<Step>((index, model) => {
  expect(index.treeDigest(ROOT).equals(model.treeDigest(ROOT))).to.equal(true);
});

const step = fc.oneof(
  put,
  { weight: 4, arbitrary: digest },
  { weight: 3, arbitrary: putBelow },
  remove,
  move,
  { weight: 2, arbitrary: moveExisting },
  look,
  walk,
  undone,
);

function expectEqual(index: TreeIndex, model: TreeModel): void {
  expect([...index.walk(ROOT)]).to.deep.equal(model.below(ROOT));
  expect(index.count()).to.equal(model.entries.size - 1);
  expect(index.countSubtree(ROOT)).to.equal(index.count());
  expect(index.bytes()).to.equal(model.bytes());
  for (const [at, entry] of model.entries) {
    expect(index.has(at)).to.equal(true);
    expect(index.children(at)).to.deep.equal(model.children(at));
    expect(index.childRows(at).length).to.equal(model.children(at).length);
    if (entry.kind === 'directory') expect(index.treeDigest(at).equals(model.treeDigest(at))).to.equal(true);
  }
  index.verify();
}

describe('TreeIndex, whatever is done to it', () => {
  it('holds what a map of paths would hold (E13)', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }), (steps) => {
        withIndex((index) => {
          const model = new TreeModel();
          index.transaction(() => {
            for (const each of steps) each(index, model);
          });
          expectEqual(index, model);
        });
      }),
      { numRuns: 120 },
    );
  }).timeout(60_000);

  it('does so without transactions too', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 30, size: 'max' }), (steps) => {
        withIndex((index) => {
          const model = new TreeModel();
          for (const each of steps) each(index, model);
          expectEqual(index, model);
        });
      }),
      { numRuns: 30 },
    );
  }).timeout(60_000);

  it('has the same root digest however it came to hold the same', () => {
    fc.assert(
      fc.property(
        fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }),
        fc.array(step, { maxLength: 20, size: 'max' }),
        (steps, before) => {
          const built = withIndex((index) => {
            const model = new TreeModel();
            index.transaction(() => {
              for (const each of steps) each(index, model);
            });
            return { model, digest: index.treeDigest(ROOT) };
          });
          withIndex((index) => {
            index.transaction(() => {
              const other = new TreeModel();
              for (const each of before) each(index, other);
              for (const child of index.children(ROOT)) index.remove(child.path);
              for (const entry of built.model.below(ROOT)) index.put(entry, entry.identity);
            });
            expect(index.treeDigest(ROOT).equals(built.digest)).to.equal(true);
          });
        },
      ),
      { numRuns: 40 },
    );
  }).timeout(60_000);

  it('walks on from where it stood when the tree changes between two steps', () => {
    fc.assert(
      fc.property(
        fc.array(putBelow, { minLength: 5, maxLength: 40, size: 'max' }),
        fc.array(step, { maxLength: 40, size: 'max' }),
        (first, then) => {
          withIndex((index) => {
            const model = new TreeModel();
            for (const each of first) each(index, model);
            const walker = index.walk(ROOT);
            let position = ROOT;
            for (let changes = [...then]; ; changes = changes.slice(1)) {
              const expected = model.below(ROOT, position)[0];
              const entry = walker.next().value ?? undefined;
              expect(entry).to.deep.equal(expected);
              if (entry === undefined) return;
              position = entry.path;
              changes[0]?.(index, model);
            }
          });
        },
      ),
      { numRuns: 60 },
    );
  }).timeout(60_000);
});
