import { existsSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { SyncedIndex } from '../../../clients/watcher/index/synced-index.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { useTemporaryDirectory } from '../../common/fs/temporary.ts';

describe('the synced index', () => {
  const temporary = useTemporaryDirectory();

  function make(): void {
    const index = SyncedIndex.open(temporary.path, 'default', 'blake3');
    index.tree.put({ path: 'd' as TreePath, kind: 'directory', mode: 0o755, mtimeNs: 1n }, undefined);
    index.close();
  }

  it('is opened ahead of the session where it fits', () => {
    make();
    const early = SyncedIndex.openExisting(temporary.path, 'default', 'blake3');
    expect([early?.digestFunction, early?.rebuiltBecause]).to.deep.equal(['blake3', undefined]);
    expect(early?.tree.has('d' as TreePath)).to.equal(true);
    early?.close();
  });

  it('is left as it is where it would be another one, and begun anew only in a session (E55)', () => {
    expect(SyncedIndex.openExisting(temporary.path, 'default', 'blake3')).to.equal(undefined);
    const file = join(temporary.path, 'synced.db');
    expect(existsSync(file)).to.equal(false);
    make();
    expect(SyncedIndex.openExisting(temporary.path, 'other', 'blake3')).to.equal(undefined);
    expect(SyncedIndex.openExisting(temporary.path, 'default', 'sha256')).to.equal(undefined);
    const again = SyncedIndex.open(temporary.path, 'default', 'blake3');
    expect([again.tree.has('d' as TreePath), again.rebuiltBecause]).to.deep.equal([true, undefined]);
    again.close();
    truncateSync(file, 5_000);
    expect(SyncedIndex.openExisting(temporary.path, 'default', 'blake3')).to.equal(undefined);
    const anew = SyncedIndex.open(temporary.path, 'default', 'blake3');
    expect(anew.tree.has('d' as TreePath)).to.equal(false);
    expect(anew.rebuiltBecause).to.be.a('string');
    anew.close();
  });
});
