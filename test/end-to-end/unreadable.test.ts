/**
 * Entries that the watcher may not read: each is named, the replica keeps what it has, and everything else goes on.
 */
import { expect } from 'chai';
import { chmodSync, chownSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Exit, runToEnd } from '../support/bin-program.ts';
import type { Pair } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { put } from '../support/writing.ts';

/** The user `nobody`, as whom the watcher runs here: root reads everything. */
const NOBODY = 65_534;

describe('an entry that cannot be read', () => {
  const pairs = usePairs();

  before(function () {
    if (process.getuid?.() !== 0) skipBecause(this, 'only root can run the watcher as another user');
  });

  function putOwned(pair: Pair, path: string, content?: string): string {
    const file = put(pair.source, path, content);
    for (let at = file; at !== pair.source; at = join(at, '..')) chownSync(at, NOBODY, NOBODY);
    return file;
  }

  async function once(pair: Pair): Promise<Exit> {
    return runToEnd('sync-watcher', { arguments: [...pair.watcherArguments, '--once'], uid: NOBODY });
  }

  it('makes --once end with 1 and is named; the others are synced (E48)', async () => {
    const pair = pairs.prepare({ watcherUid: NOBODY });
    await pair.startServer();
    chmodSync(putOwned(pair, 'locked.txt'), 0);
    putOwned(pair, 'open.txt');
    const { code, stderr } = await once(pair);
    expect(code, stderr).to.equal(1);
    expect(stderr).to.include('locked.txt').and.include('EACCES');
    expect(pair.differences({ except: (path) => path === 'locked.txt' })).to.deep.equal([]);
  });

  it('keeps its copy in the replica, and follows when it can be read again (E48)', async () => {
    const pair = await pairs.start({ watcherUid: NOBODY });
    const file = putOwned(pair, 'sub/file.txt', 'readable');
    putOwned(pair, 'sub/other.txt');
    await pair.inStep();
    put(pair.source, 'sub/file.txt', 'changed and locked');
    chmodSync(file, 0);
    putOwned(pair, 'sub/beside.txt');
    await pair.statusWhere('it is named', ({ problems }) => JSON.stringify(problems).includes('sub/file.txt'));
    await pair.follows({ except: (path) => path === 'sub/file.txt' });
    expect(readFileSync(join(pair.replica, 'sub', 'file.txt'), 'utf8')).to.equal('readable');
    chmodSync(file, 0o644);
    await pair.follows();
    await pair.statusWhere('in step', ({ in_step }) => in_step === true);
  });

  it('as a directory never makes what is below it deleted (E49)', async () => {
    const pair = await pairs.start({ watcherUid: NOBODY });
    putOwned(pair, 'closed/deep/file.txt');
    putOwned(pair, 'closed/file.txt');
    await pair.inStep();
    chmodSync(join(pair.source, 'closed'), 0);
    await pair.command('rescan', ...pair.controlArguments);
    const { problems } = await pair.statusWhere('it is named', ({ problem_count: count }) => Number(count) > 0);
    expect(problems).to.deep.equal([
      { path: 'closed', reason: 'PERMISSION_DENIED', message: 'cannot be read (EACCES)' },
    ]);
    putOwned(pair, 'beside.txt');
    await pair.follows({ except: (path) => path === 'closed' });
    expect(existsSync(join(pair.replica, 'closed', 'deep', 'file.txt'))).to.equal(true);
    chmodSync(join(pair.source, 'closed'), 0o755);
    putOwned(pair, 'closed/deep/later.txt');
    await pair.follows();
  });

  it('as a directory with a .syncignore is one problem, and keeps the last good rules (E49, E120)', async () => {
    const pair = await pairs.start({ watcherUid: NOBODY });
    putOwned(pair, 'ruled/.syncignore', '*.secret\n');
    putOwned(pair, 'ruled/inner/a.secret');
    putOwned(pair, 'ruled/open.txt');
    await pair.flush();
    const closed = join(pair.source, 'ruled');
    chmodSync(closed, 0);
    await pair.command('rescan', ...pair.controlArguments);
    const { problems } = await pair.statusWhere('it is named', ({ problem_count: count }) => Number(count) > 0);
    expect(problems).to.deep.equal([
      { path: 'ruled', reason: 'PERMISSION_DENIED', message: 'cannot be read (EACCES)' },
    ]);
    chmodSync(closed, 0o755);
    putOwned(pair, 'ruled/b.secret');
    putOwned(pair, 'ruled/late.txt');
    await pair.statusWhere('late.txt arrives', () => existsSync(join(pair.replica, 'ruled', 'late.txt')));
    await pair.flush();
    for (const name of ['inner/a.secret', 'b.secret']) {
      expect(existsSync(join(pair.replica, 'ruled', name)), name).to.equal(false);
    }
  });

  it('as a .syncignore keeps the last good rules, and lets nothing out where there are none (E120)', async () => {
    const pair = await pairs.start({ watcherUid: NOBODY });
    const rules = putOwned(pair, 'ruled/.syncignore', '*.secret\n');
    putOwned(pair, 'ruled/open.txt');
    putOwned(pair, 'ruled/a.secret');
    await pair.flush();
    chmodSync(rules, 0);
    putOwned(pair, 'ruled/b.secret');
    putOwned(pair, 'ruled/late.txt');
    await pair.statusWhere('late.txt arrives', () => existsSync(join(pair.replica, 'ruled', 'late.txt')));
    for (const name of ['a.secret', 'b.secret']) expect(existsSync(join(pair.replica, 'ruled', name))).to.equal(false);
    rmSync(rules);
    await pair.inStep();
  });
});
