import { expect } from 'chai';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { TreeIndex } from '../../../common/tree/tree-index.ts';
import { isInside, rebase, type TreePath } from '../../../common/tree/tree-path.ts';
import { LateIdentities } from '../../../services/sync-server/replica/late-identities.ts';
import { Random } from '../../support/workloads.ts';
import { p } from './support.ts';

describe('entries whose inode is known late', () => {
  /** Those that are looked at in the end, and with that forgotten. */
  function resolved(make: (late: LateIdentities) => void): readonly TreePath[] {
    const asked: TreePath[] = [];
    const index = { has: (path: TreePath) => asked.push(path) < 0 } as unknown as TreeIndex;
    const late = new LateIdentities(index);
    make(late);
    late.resolve({} as SafeRoot);
    return asked.toSorted();
  }

  it('follow moves of themselves and of directories above them, and go with what is removed (E60)', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const random = new Random(seed);
      const some = (): TreePath =>
        p(Array.from({ length: 1 + random.below(3) }, () => random.of(['a', 'b'])).join('/'));
      let expected = new Set<TreePath>();
      const found = resolved((late) => {
        for (let step = 0; step < 12; step++) {
          const [path, to] = [some(), some()];
          switch (random.below(4)) {
            case 0:
              late.removed(path);
              expected = new Set([...expected].filter((each) => !isInside(each, path)));
              break;
            case 1:
              late.moved(path, to);
              expected = new Set([...expected].map((each) => (isInside(each, path) ? rebase(each, path, to) : each)));
              break;
            default:
              late.add(path);
              expected.add(path);
          }
        }
      });
      expect(found, `seed ${seed}`).to.deep.equal([...expected].toSorted());
    }
  });

  it('cost the same each, however many files are added and removed (E12)', () => {
    const names = Array.from({ length: 200_000 }, (_, at) => p(`d/e/${at}`));
    const found = resolved((late) => {
      for (const name of names) {
        late.add(name);
        late.removed(name);
        late.add(name);
      }
    });
    expect(found).to.have.length(names.length);
  });
});
