import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { LockstepError } from '../../../common/ops/errors.ts';
import { SpaceGuard } from '../../../services/sync-server/replica/space-guard.ts';
import { linesOf, mkdir, put, remove, removeDirectory, temporaryDirectory, TestReplica, treeOf } from './support.ts';

describe('a full disk', () => {
  let directory: string;
  let isMounted = false;

  before(function () {
    directory = temporaryDirectory();
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m,nr_inodes=2000', 'none', directory], { stdio: 'ignore' });
      isMounted = true;
    } catch {
      process.stdout.write('    (mounting a small tmpfs needs root: skipped)\n');
      this.skip();
    }
  });

  after(() => {
    if (isMounted) execFileSync('umount', [directory]);
    removeDirectory(directory);
  });

  let replica: TestReplica;
  afterEach(() => replica.close());

  it('fails puts one by one, lets deletes run, and takes puts again when there is space (E87, F33)', () => {
    replica = TestReplica.open(directory);
    replica.applyAll(mkdir('d'), put('d/a', 'x'.repeat(100_000)));
    writeFileSync(join(directory, 'd/filler'), Buffer.alloc(5 * 2 ** 20));
    replica.lookThrough();
    let failed = 0;
    for (let i = 0; i < 40; i++) {
      const { problems } = replica.apply([put(`d/${i}`, Buffer.alloc(100_000, i))]);
      if (problems.length > 0) expect(problems[0]).to.include({ kind: 'failed', reason: 'NO_SPACE' });
      failed += problems.length;
    }
    expect(failed).to.be.greaterThan(0);
    expect(replica.apply([remove('d/a'), remove('d/filler')]).problems).to.deep.equal([]);
    replica.applyAll(put('d/again', 'x'.repeat(100_000)));
    expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
  });

  it('leaves the old tree intact when the disk fills up in spite of the reserve (E87, E88)', () => {
    const space = new SpaceGuard(directory, () => ({ freeBytes: 1e9, totalBytes: 1e9, freeInodes: undefined }));
    replica = TestReplica.open(directory, { space });
    replica.applyAll(mkdir('e'), put('e/a', 'old'));
    let refused = 0;
    for (let i = 0; i < 100 && refused < 3; i++) {
      try {
        const { problems } = replica.apply([put(`e/${i}`, Buffer.alloc(200_000, i)), put('e/a', `version ${i}`)]);
        refused += problems.length > 0 ? 1 : 0;
      } catch (error) {
        // The log itself had no room: then nothing of the batch was done.
        if (!(error instanceof LockstepError)) throw error;
        expect(error.reason).to.be.oneOf(['NO_SPACE', 'IO']);
        refused++;
        break;
      }
    }
    expect(refused).to.be.greaterThan(0);
    rmSync(join(directory, 'd'), { recursive: true });
    replica.close();
    replica = TestReplica.open(directory, { space });
    expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
    replica.applyAll(put('e/after', 'fine'));
  });
});
