import { expect } from 'chai';
import fc from 'fast-check';
import { type PackableChange, packChanges, unpackChanges } from '../../../clients/watcher/engine/packed-changes.ts';
import { type TreePath, treePathFromLocal } from '../../../common/tree/tree-path.ts';

const path: fc.Arbitrary<TreePath> = fc
  .uint8Array({ min: 1, minLength: 1, maxLength: 20 })
  .map((bytes) => treePathFromLocal(Buffer.from(bytes)));
const change: fc.Arbitrary<PackableChange> = fc.oneof(
  fc.record({
    operation: fc.constantFrom('put', 'mkdir', 'symlink', 'metadata', 'delete'),
    path: fc.oneof(path, fc.constant('' as TreePath)),
    from: fc.constant(undefined),
    contentBytes: fc.nat(),
  }),
  fc.record({ operation: fc.constant('move' as const), path, from: path, contentBytes: fc.constant(0) }),
);

describe('packed changes', () => {
  it('come out as they went in, also on the other side of a message', () => {
    fc.assert(
      fc.property(fc.array(change), fc.bigInt({ min: 0n, max: 2n ** 63n }), (changes, revision) => {
        const packed = structuredClone(packChanges(changes, revision, 7));
        expect(packed.count).to.equal(changes.length);
        expect(packed.contentBytes).to.equal(changes.reduce((sum, { contentBytes }) => sum + contentBytes, 0));
        const expected = changes.map(({ from, ...rest }) => ({
          ...rest,
          revision,
          milliseconds: 7,
          ...(from === undefined ? {} : { from }),
        }));
        expect([...unpackChanges(packed)]).to.deep.equal(expected);
      }),
    );
  });
});
