/**
 * A replica on a file system that does not tell case apart: ext4 with `casefold`, where the kernel has that and this test may
 * mount. `test/server/replica/name-folding.test.ts` has the same, and more, with a double.
 */
import { execFileSync, type ExecFileSyncOptions } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { put } from '../support/writing.ts';

/** A new file system, mounted, with a directory in it that folds. */
function mountFolding(base: string): string {
  const [image, mountPoint] = [join(base, 'image'), join(base, 'mounted')];
  mkdirSync(mountPoint);
  const quietly: ExecFileSyncOptions = { stdio: ['ignore', 'ignore', 'pipe'] };
  execFileSync('truncate', ['--size', '64M', image], quietly);
  execFileSync('mkfs.ext4', ['-q', '-F', '-O', 'casefold', '-E', 'encoding=utf8', image], quietly);
  execFileSync('mount', ['-o', 'loop', image, mountPoint], quietly);
  const folding = join(mountPoint, 'replica');
  mkdirSync(folding);
  execFileSync('chattr', ['+F', folding], quietly);
  return folding;
}

describe('a replica that does not tell case apart', function () {
  this.timeout(60_000);
  const pairs = usePairs();
  let base = '';
  let replica = '';

  before(function () {
    base = mkdtempSync(join(tmpdir(), 'lockstep-folding-'));
    try {
      replica = mountFolding(base);
    } catch (error) {
      const [line = ''] = String(error).split('\n').slice(-2);
      return skipBecause(this, `no file system that folds names can be mounted here (${line})`);
    }
  });

  after(() => {
    if (replica !== '') execFileSync('umount', [join(base, 'mounted')]);
    rmSync(base, { recursive: true });
  });

  it('gets one of two names, hears of the other, and follows a change of case (E08, E09)', async () => {
    const pair = await pairs.start({ replica });
    put(pair.source, 'Name', 'first');
    await pair.inStep();
    put(pair.source, 'name', 'second');
    const { problems } = await pair.statusWhere('the clash is told', (status) => {
      return JSON.stringify(status).includes('NAME_CLASH');
    });
    expect(JSON.stringify(problems)).to.include('"name"');
    expect(readdirSync(pair.replica).filter((name) => name !== '.lockstep')).to.deep.equal(['Name']);
    expect(readFileSync(join(pair.replica, 'Name'), 'utf8')).to.equal('first');
    rmSync(join(pair.source, 'name'));
    renameSync(join(pair.source, 'Name'), join(pair.source, 'NAME'));
    await pair.inStep();
  });
});
