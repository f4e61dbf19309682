/**
 * A directory of the replica on which another file system is mounted, and a server that dies at each of its steps in there.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Change } from '../../../gen/lockstep/sync/v1/change.ts';
import { contentName } from '../../../services/sync-server/replica/layout.ts';
import { disksUnavailable } from '../../torture/disks.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
import {
  fileEntry,
  linesOf,
  metadata,
  mkdir,
  move,
  put,
  putStored,
  remove,
  removeDirectory,
  symlink,
  T0,
  temporaryDirectory,
  TestReplica,
  treeOf,
} from './support.ts';

class Crash extends Error {}

const BIG = Buffer.alloc(70_000, 'big');

describe('another file system inside of the replica (E83)', function () {
  this.timeout(60_000);
  let directory: string;
  let replica: TestReplica | undefined;

  before(function () {
    const reason = disksUnavailable('memory');
    if (reason !== undefined) skipBecause(this, reason);
  });
  beforeEach(() => {
    directory = temporaryDirectory('/dev/shm');
    mkdirSync(join(directory, 'm'), { mode: 0o755 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m,mode=755', 'tmpfs', join(directory, 'm')]);
  });
  afterEach(() => {
    replica?.close();
    replica = undefined;
    execFileSync('umount', [join(directory, 'm')]);
    removeDirectory(directory);
  });

  const open = (crashPoint?: () => void): TestReplica => (replica = TestReplica.open(directory, { crashPoint }));
  const stage = (): void => {
    const name = contentName(fileEntry('', BIG).digest);
    writeFileSync(join(directory, '.lockstep/staging', name), BIG, { mode: 0o600, flush: true });
  };
  const fill = (to: TestReplica): void => {
    to.applyAll(mkdir('m'), mkdir('m/d'), put('m/d/a', '1'), put('m/old', '1'), put('out', '1'), symlink('m/l', 'old'));
  };
  const changes = (): readonly Change[] => [
    put('m/old', '2', 0o600),
    mkdir('m/new', 0o750),
    put('m/new/a', 'x'),
    put('m/new/b', 'y'),
    symlink('m/new/l', 'a'),
    putStored(fileEntry('m/big', BIG)),
    metadata('m/new', 'directory', 0o700, T0 + 1_000n),
    remove('m/d'),
    put('m/d', 'a file now'),
    remove('m/l'),
    mkdir('m/l'),
    put('m/l/below', 'z'),
  ];

  it('takes every kind of change but a move over its border', () => {
    const opened = open();
    fill(opened);
    stage();
    opened.applyAll(...changes());
    expect(linesOf(opened.indexEntries())).to.deep.equal(treeOf(directory));
    expect(opened.stagedNames()).to.deep.equal([]);
    expect(opened.lookThrough()).to.deep.equal([]);
    const { problems } = opened.apply([move('out', 'm/in'), move('m/big', 'big'), move('m/new', 'm/newer')]);
    expect(problems.map(({ path, reason }) => `${path} ${reason}`)).to.deep.equal([
      'out OTHER_FILE_SYSTEM',
      'm/big OTHER_FILE_SYSTEM',
    ]);
    expect(linesOf(opened.indexEntries())).to.deep.equal(treeOf(directory));
    expect(opened.lookThrough()).to.deep.equal([]);
  });

  it('is as before or as after when the server dies at any step in there', () => {
    const opened = open();
    fill(opened);
    stage();
    opened.applyAll(...changes());
    const after = treeOf(directory);
    let round = 0;
    for (let isThrough = false; !isThrough; round++) {
      replica?.close();
      const clean = open();
      clean.apply(
        [...clean.indexEntries().filter(({ path }) => !path.includes('/') && path !== 'm')].map(({ path }) =>
          remove(path),
        ),
      );
      for (const { path } of clean.indexEntries())
        if (path.startsWith('m/') && path.lastIndexOf('/') === 1) clean.applyAll(remove(path));
      fill(clean);
      stage();
      const before = treeOf(directory);
      clean.close();
      let left = Number.POSITIVE_INFINITY;
      const dying = open(() => {
        if (--left === 0) throw new Crash('here');
      });
      left = round + 1;
      try {
        dying.applyAll(...changes());
        isThrough = true;
      } catch (error) {
        if (!(error instanceof Crash)) throw error;
      }
      dying.close();
      const recovered = open();
      const now = treeOf(directory);
      expect([before, after], `step ${round}`).to.deep.include(now);
      expect(linesOf(recovered.indexEntries())).to.deep.equal(now);
      expect(recovered.recovery.isLossy).to.equal(false);
    }
    expect(round).to.be.above(15);
  });
});
