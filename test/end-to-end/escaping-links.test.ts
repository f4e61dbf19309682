/**
 * A server that refuses links that lead out of its folder, and a watcher whose directory has some.
 */
import { lstatSync, mkdirSync, readlinkSync, renameSync, rmSync, symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { usePairs } from '../support/pair-hooks.ts';
import { put, putMany } from '../support/writing.ts';

describe('--refuse-escaping-links (S07)', function () {
  this.timeout(60_000);
  const pairs = usePairs();

  it('leaves such links out, names them, and takes them when they stay inside', async () => {
    const pair = await pairs.start({
      serverFlags: ['--refuse-escaping-links'],
      prepare: ({ source }) => {
        putMany(source, 'files', 5, 100);
        symlinkSync('files', join(source, 'inside'));
        symlinkSync('/etc', join(source, 'outside'));
      },
    });
    await pair.follows({ except: (path) => path === 'outside' });
    const status = await pair.statusWhere('it is named', ({ problem_count }) => problem_count === 1);
    expect(JSON.stringify(status['problems'])).to.include('LINK_ESCAPES').and.to.include('outside');
    unlinkSync(join(pair.source, 'outside'));
    symlinkSync('files/file-0', join(pair.source, 'outside'));
    await pair.follows();
    await pair.inStep();
  });

  it('takes a moved directory apart when a link in it would lead out, so that all but the link arrives', async () => {
    const pair = await pairs.start({
      serverFlags: ['--refuse-escaping-links'],
      prepare: ({ source }) => {
        mkdirSync(join(source, 'deep/moving/sub'), { recursive: true });
        putMany(source, 'deep/moving/files', 20, 1000);
        put(source, 'top', 'where the link leads');
        symlinkSync('../../../top', join(source, 'deep/moving/sub/link'));
      },
    });
    await pair.follows();
    renameSync(join(pair.source, 'deep/moving'), join(pair.source, 'moved'));
    put(pair.source, 'moved/files/new', 'in the same breath');
    await pair.follows({ except: (path) => path === 'moved/sub/link' });
    expect(lstatSync(join(pair.replica, 'moved/sub/link'), { throwIfNoEntry: false })).to.equal(undefined);
    expect(lstatSync(join(pair.replica, 'deep/moving'), { throwIfNoEntry: false })).to.equal(undefined);
    await pair.statusWhere('it is named', ({ problem_count }) => problem_count === 1);
    // Back at a place from where it leads to what it led to.
    renameSync(join(pair.source, 'moved'), join(pair.source, 'deep/again'));
    await pair.follows();
    expect(readlinkSync(join(pair.replica, 'deep/again/sub/link'))).to.equal('../../../top');
    await pair.statusWhere('it is no problem any more', ({ problem_count }) => problem_count === 0);
    await pair.inStep();
  });

  it('takes a link away that was moved to where it leads out', async () => {
    const pair = await pairs.start({
      serverFlags: ['--refuse-escaping-links'],
      prepare: ({ source }) => {
        put(source, 'd/file', 'x');
        symlinkSync('../d/file', join(source, 'd/link'));
      },
    });
    await pair.follows();
    renameSync(join(pair.source, 'd/link'), join(pair.source, 'link'));
    await pair.follows({ except: (path) => path === 'link' });
    await pair.statusWhere('it is named', ({ problem_count }) => problem_count === 1);
    rmSync(join(pair.source, 'link'));
    await pair.follows();
    await pair.inStep();
  });
});
