import { expect } from 'chai';
import { type FileId, LinkComparison } from '../../../clients/watcher/verify/link-comparison.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';

/** What is said of each name, in order: `[name, what it shares here, what it shares there]`. */
function said(...files: readonly (readonly [string, FileId, FileId])[]): readonly string[] {
  const links = new LinkComparison();
  return files.flatMap(([path, here, there]) =>
    links.compare(path as TreePath, here, there).map((words) => `${path}: ${words}`),
  );
}

describe('which names are one file, compared (E19)', () => {
  it('is nothing to say of where both sides have the same, whatever they call it', () => {
    expect(
      said(['a', '1', 'x'], ['b', '2', 'y'], ['c', '1', 'x'], ['d', undefined, undefined], ['e', '2', 'y']),
    ).to.deep.equal([]);
  });

  it('shows names that are apart on one side', () => {
    expect(said(['a', '1', 'x'], ['b', '1', undefined], ['c', '1', 'x'], ['d', '1', 'y'])).to.deep.equal([
      'b: one file with a here, not there',
      'd: one file with a here, not there',
    ]);
    expect(said(['a', undefined, 'x'], ['b', undefined, 'x'], ['c', '1', 'x'])).to.deep.equal([
      'b: one file with a there, not here',
      'c: one file with a there, not here',
    ]);
    expect(said(['a', '1', undefined], ['b', '1', undefined])).to.deep.equal(['b: one file with a here, not there']);
  });

  it('shows a name that changed sides in both ways', () => {
    expect(said(['a', '1', 'x'], ['b', '2', 'y'], ['c', '1', 'y'], ['d', '2', 'x'])).to.deep.equal([
      'c: one file with a here, not there',
      'c: one file with b there, not here',
      'd: one file with b here, not there',
      'd: one file with a there, not here',
    ]);
  });

  it('does not count names that the other side does not have, or that are outside', () => {
    expect(said(['a', '1', undefined], ['b', undefined, 'x'])).to.deep.equal([]);
  });
});
