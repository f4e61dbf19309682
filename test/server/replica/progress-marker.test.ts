import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { ROOT } from '../../../common/tree/tree-path.ts';
import { isBefore, ProgressMarker } from '../../../services/sync-server/replica/progress-marker.ts';
import { useTemporaryDirectory } from '../../common/fs/temporary.ts';

describe('the progress marker', () => {
  const temporary = useTemporaryDirectory();
  let root: SafeRoot;
  beforeEach(() => {
    root = SafeRoot.open(temporary.path);
  });
  afterEach(() => root.close());

  it('is the newest, by revision and then by change, of those that a crash and a copied directory have left', () => {
    const left = ['m-9-40-r-7', 'm-10-2-i-0', 'm-none', 'm-10-12-r-5', 'm-10-3-r-8', 'm-odd'];
    for (const name of left) writeFileSync(join(temporary.path, name), '');
    const { last } = ProgressMarker.open(root.directory(ROOT));
    expect(last).to.deep.equal({ revision: 10n, changeIndex: 12, phase: 'remove', ino: 5n });
    expect(root.directory(ROOT).list()).to.deep.equal(['m-10-12-r-5']);
    expect([
      isBefore(9n, 99, last),
      isBefore(10n, 11, last),
      isBefore(10n, 12, last),
      isBefore(11n, 0, last),
    ]).to.deep.equal([true, true, false, false]);
  });

  it('says nothing where there is none, and then what was announced last', () => {
    const marker = ProgressMarker.open(root.directory(ROOT));
    expect(marker.last).to.equal(undefined);
    expect(isBefore(1n, 0, marker.last)).to.equal(false);
    const progress = { revision: 3n, changeIndex: 1, phase: 'install', ino: 0n } as const;
    marker.announce(progress);
    expect(ProgressMarker.open(root.directory(ROOT)).last).to.deep.equal(progress);
  });
});
