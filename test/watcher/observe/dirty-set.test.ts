import { expect } from 'chai';
import fc from 'fast-check';
import { DirtySet } from '../../../clients/watcher/observe/dirty-set.ts';
import { ROOT, type TreePath, treePathFromLocal } from '../../../common/tree/tree-path.ts';

function path(text: string): TreePath {
  return treePathFromLocal(Buffer.from(text));
}

describe('DirtySet', () => {
  it('gathers names by directory, each once, with the time of its first hint', () => {
    const dirty = new DirtySet();
    dirty.addName(ROOT, 'a', 1);
    dirty.addName(path('d'), 'b', 2);
    dirty.addName(ROOT, 'a', 3);
    dirty.addName(ROOT, 'c', 4);
    expect(dirty.oldestMs).to.equal(1);
    expect(dirty.counts).to.deep.equal({ directories: 2, names: 3 });
    const { directories } = dirty.takeAll();
    expect(directories.map(({ dir, scope, names }) => [dir, scope, [...names]])).to.deep.equal([
      [
        '',
        'names',
        [
          ['a', 1],
          ['c', 4],
        ],
      ],
      ['d', 'names', [['b', 2]]],
    ]);
    expect(dirty.isEmpty).to.equal(true);
    expect(dirty.counts).to.deep.equal({ directories: 0, names: 0 });
  });

  it('turns many names of one directory into the directory (E34)', () => {
    const dirty = new DirtySet({ maxNamesPerDirectory: 3 });
    for (let n = 0; n < 10; n++) dirty.addName(ROOT, `${n}`, n);
    expect(dirty.counts).to.deep.equal({ directories: 1, names: 0 });
    const [directory] = dirty.takeAll().directories;
    expect(directory?.scope).to.equal('directory');
    expect(directory?.firstHintMs).to.equal(0);
  });

  it('turns directories into the whole tree when there are too many (E111)', () => {
    const dirty = new DirtySet({ maxDirectories: 3 });
    for (let n = 0; n < 4; n++) dirty.addName(path(`d${n}`), 'a', 10 + n);
    expect(dirty.everything?.firstHintMs).to.equal(10);
    dirty.addName(ROOT, 'b', 20);
    dirty.addEverything({ reason: 'overflow', detail: 'another reason' }, 21);
    expect(dirty.counts.directories).to.equal(0);
    expect(dirty.takeAll().everything?.cause.detail).to.contain('more than 3 directories');
    expect(dirty.isEmpty).to.equal(true);
    dirty.addName(ROOT, 'c', 30);
    expect(dirty.everything).to.equal(undefined);
    expect(dirty.oldestMs).to.equal(30);
  });

  it('widens a directory to its subtree and never narrows it again', () => {
    const dirty = new DirtySet();
    dirty.addName(ROOT, 'a', 1);
    dirty.addDirectory(ROOT, true, 2);
    dirty.addDirectory(ROOT, false, 3);
    dirty.addName(ROOT, 'b', 4);
    expect(dirty.takeAll().directories.map(({ scope }) => scope)).to.deep.equal(['subtree']);
  });

  it('hands out the oldest first, in portions', () => {
    const dirty = new DirtySet();
    for (let n = 0; n < 5; n++) for (let m = 0; m < 4; m++) dirty.addName(path(`d${n}`), `${m}`, n);
    expect(dirty.takeSome(6).map(({ dir }) => dir)).to.deep.equal(['d0', 'd1']);
    expect(dirty.takeSome(1).map(({ dir }) => dir)).to.deep.equal(['d2']);
    expect(dirty.counts.names).to.equal(8);
  });

  it('takes the batches of an observer', () => {
    const dirty = new DirtySet();
    dirty.addBatch({
      directories: [
        { dir: ROOT, names: ['a'] },
        { dir: path('d'), names: 'all' },
      ],
      everything: undefined,
      observedAtMs: 5,
    });
    expect(dirty.takeAll().directories.map(({ scope }) => scope)).to.deep.equal(['names', 'directory']);
    const cause = { reason: 'overflow', detail: 'too many events' } as const;
    dirty.addBatch({ directories: [], everything: cause, observedAtMs: 6 });
    expect(dirty.everything).to.deep.equal({ cause, firstHintMs: 6 });
  });

  it('covers every hint, and stays within its bounds', () => {
    const hint = fc.tuple(
      fc.integer({ min: 0, max: 8 }),
      fc.integer({ min: 0, max: 8 }),
      fc.integer({ min: 0, max: 9 }),
    );
    fc.assert(
      fc.property(fc.array(hint, { maxLength: 120 }), (hints) => {
        const dirty = new DirtySet({ maxNames: 20, maxNamesPerDirectory: 4, maxDirectories: 6 });
        for (const [dir, name, kind] of hints) {
          if (kind === 9) dirty.addDirectory(path(`d${dir}`), false, 0);
          else dirty.addName(path(`d${dir}`), `${name}`, 0);
          expect(dirty.counts.names).to.be.at.most(20);
          expect(dirty.counts.directories).to.be.at.most(6);
        }
        const { everything, directories } = dirty.takeAll();
        for (const [dir, name, kind] of hints) {
          const taken = directories.find((directory) => directory.dir === `d${dir}`);
          const covered = taken !== undefined && (taken.scope !== 'names' || (kind < 9 && taken.names.has(`${name}`)));
          expect(everything !== undefined || covered).to.equal(true);
        }
      }),
    );
  });
});
