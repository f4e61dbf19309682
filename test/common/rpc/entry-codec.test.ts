import { expect } from 'chai';
import { kindFromWire } from '../../../common/rpc/entry-codec.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { EntryKind } from '../../../gen/lockstep/sync/v1/entry.ts';

describe('kinds of entries on the wire', () => {
  const path = 'a' as TreePath;

  it('have their names here, and are refused when they are none', () => {
    const kinds = [EntryKind.ENTRY_KIND_FILE, EntryKind.ENTRY_KIND_DIRECTORY, EntryKind.ENTRY_KIND_SYMLINK];
    expect(kinds.map((kind) => kindFromWire(kind, path))).to.deep.equal(['file', 'directory', 'symlink']);
    for (const kind of [EntryKind.ENTRY_KIND_UNSPECIFIED, EntryKind.UNRECOGNIZED, 99 as EntryKind]) {
      expect(() => kindFromWire(kind, path))
        .to.throw(`unknown kind of entry ${kind}`)
        .that.includes({ reason: 'INVALID_ARGUMENT', path });
    }
  });
});
