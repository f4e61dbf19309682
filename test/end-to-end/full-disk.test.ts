/**
 * A replica's file system that is full: the old tree stays, deletions still run, and it heals by itself (E87).
 */
import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { removeDirectory, temporaryDirectory } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { noise, put, putMany } from '../support/writing.ts';

const SIZE_BYTES = 48 * 2 ** 20;

describe('a full disk under the replica', () => {
  const pairs = usePairs();
  let mount: string | undefined;
  let reason = '';

  before(() => {
    const directory = temporaryDirectory();
    try {
      const options = ['-t', 'tmpfs', '-o', `size=${SIZE_BYTES},mode=755`, 'tmpfs', directory];
      execFileSync('mount', options, { stdio: ['ignore', 'ignore', 'pipe'] });
      mount = directory;
    } catch (error) {
      reason = `no small file system can be mounted here: ${error instanceof Error ? error.message.trim() : String(error)}`;
      removeDirectory(directory);
    }
  });

  after(() => {
    if (mount === undefined) return;
    execFileSync('umount', ['--lazy', mount]);
    removeDirectory(mount);
  });

  it('leaves the old tree as it is, still deletes, and heals when there is room again (E87)', async function () {
    if (mount === undefined) return skipBecause(this, reason);
    const replica = join(mount, 'replica');
    mkdirSync(replica);
    const pair = await pairs.start({ replica });
    putMany(pair.source, 'old', 20, 50_000);
    put(pair.source, 'old/replaced.bin', noise(1_000_000, 'old'));
    await pair.inStep();

    const { bavail, bsize } = statfsSync(mount);
    writeFileSync(join(mount, 'hog'), noise(bavail * bsize - 6_000_000));
    const before = pair.copyOfReplica();
    put(pair.source, 'old/replaced.bin', noise(9_000_000, 'new'));
    put(pair.source, 'too-large.bin', noise(10_000_000, 'too large'));
    const full = await pair.statusWhere('the problem is named', ({ problem_count }) => Number(problem_count) >= 2);
    expect(full['in_step']).to.equal(false);
    expect(JSON.stringify(full['problems'])).to.include('NO_SPACE').and.include('too-large.bin');
    expect(execFileSync('cmp', [join(before, 'old/replaced.bin'), join(replica, 'old/replaced.bin')])).to.have.lengthOf(
      0,
    );

    rmSync(join(pair.source, 'old', 'file-3'));
    await pair.follows({ except: (path) => path === 'too-large.bin' || path === 'old/replaced.bin' });
    const flush = await pair.command('flush', ...pair.controlArguments);
    expect(flush.code, flush.stderr).to.equal(1);
    expect(flush.stderr).to.include('too-large.bin');

    rmSync(join(mount, 'hog'));
    await pair.follows({}, 30_000);
    await pair.statusWhere('in step', ({ in_step }) => in_step === true);
  });
});
