import { expect } from 'chai';
import { chmodSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { syncWithCoreutils } from '../../../services/sync-server/replica/sync-file-system.ts';
import { removeDirectory, temporaryDirectory } from './support.ts';

describe("syncing the replica's file system", () => {
  const path = process.env['PATH'];
  let directory: string;
  beforeEach(() => {
    directory = temporaryDirectory();
  });
  afterEach(() => {
    process.env['PATH'] = path;
    removeDirectory(directory);
  });

  /** A `sync` of another make stands first; what it wrote into `plain` tells that it was asked for all file systems. */
  const asSync = (onDashF: string): void => {
    const program = join(directory, 'sync');
    writeFileSync(
      program,
      `#!/bin/sh\nif [ "$1" != -f ]; then : >"${join(directory, 'plain')}"; exit 0; fi\n${onDashF}\n`,
    );
    chmodSync(program, 0o755);
    process.env['PATH'] = `${directory}:${path}`;
  };
  const outcome = (): Promise<string> =>
    syncWithCoreutils(directory).then(
      () => 'synced',
      (error: unknown) => String(error),
    );
  const askedForAll = (): boolean => existsSync(join(directory, 'plain'));

  it('is done by what the machine has', async () => {
    expect(await outcome()).to.equal('synced');
  });

  it('that failed is an error, and no reason to sync in a way that tells of none (E86)', async () => {
    asSync(`echo "sync: error syncing '${directory}': Input/output error" >&2; exit 1`);
    expect(await outcome())
      .to.include('(Input/output error)')
      .and.not.include(directory);
    expect(askedForAll()).to.equal(false);
  });

  it('that failed without a word is told by its status', async () => {
    asSync('exit 3');
    expect(await outcome()).to.include('(status 3)');
    expect(askedForAll()).to.equal(false);
  });

  it('is of all file systems where sync has no -f', async () => {
    asSync(`echo "sync: invalid option -- 'f'" >&2; exit 1`);
    expect(await outcome()).to.equal('synced');
    expect(askedForAll()).to.equal(true);
  });
});
