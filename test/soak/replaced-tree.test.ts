/**
 * A large tree that is replaced by a copy of itself while it is watched: every inode and ctime is new.
 */
import { cpSync, existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { REPOSITORY } from '../support/bin-program.ts';
import { usePairs } from '../support/pair-hooks.ts';

const TREE = ['/usr/share/go-1.19', join(REPOSITORY, 'node_modules')].find((path) => existsSync(path)) ?? REPOSITORY;

describe('a large tree', function () {
  this.timeout(4 * 60_000);
  const pairs = usePairs();

  it('that is replaced by a copy of itself ends equal after a flush (E47)', async () => {
    const pair = await pairs.start({ changeSource: 'auto', watcherFlags: ['--max-delete', '100%'] });
    cpSync(TREE, join(pair.source, 'tree'), { recursive: true, verbatimSymlinks: true });
    await pair.inStep();
    cpSync(join(pair.source, 'tree'), join(pair.base, 'again'), { recursive: true, verbatimSymlinks: true });
    rmSync(join(pair.source, 'tree'), { recursive: true });
    renameSync(join(pair.base, 'again'), join(pair.source, 'tree'));
    await pair.inStep();
  });
});
