/**
 * A directory of the replica on which another file system is mounted, and a server that dies at each of its steps in there.
 */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Change } from '../../../gen/lockstep/sync/v1/change.ts';
import { contentName } from '../../../services/sync-server/replica/layout.ts';
import { quarantine } from '../../../services/sync-server/replica/quarantine.ts';
import { disksUnavailable } from '../../torture/disks.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
import {
  fileEntry,
  link,
  linesOf,
  metadata,
  mkdir,
  move,
  p,
  put,
  putStored,
  remove,
  removeDirectory,
  sharedNamesOf,
  symlink,
  T0,
  temporaryDirectory,
  TestReplica,
  treeOf,
  withOwner,
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

  it('leaves nothing beside what it could not copy (E87)', () => {
    const opened = open();
    fill(opened);
    const filler = join(directory, 'm/filler');
    writeFileSync(filler, Buffer.alloc(7.5 * 2 ** 20));
    const huge = Buffer.alloc(2 ** 20, 'huge');
    const staged = join(directory, '.lockstep/staging', contentName(fileEntry('', huge).digest));
    writeFileSync(staged, huge);
    const { problems } = opened.apply([putStored(fileEntry('m/huge', huge)), put('m/small', 'small')]);
    rmSync(filler);
    expect(problems.map(({ path, kind, reason }) => `${path} ${kind} ${reason}`)).to.deep.equal([
      'm/huge failed NO_SPACE',
    ]);
    execFileSync('mount', ['-o', 'remount,ro', join(directory, 'm')]);
    const refused = opened.apply([put('m/other', 'other'), symlink('m/link', 'other'), put('beside', 'goes on')]);
    execFileSync('mount', ['-o', 'remount,rw', join(directory, 'm')]);
    expect(refused.problems.map(({ path, reason }) => `${path} ${reason}`)).to.deep.equal([
      'm/other READ_ONLY',
      'm/link READ_ONLY',
    ]);
    expect(readdirSync(join(directory, 'm')).sort()).to.deep.equal(['d', 'l', 'old', 'small']);
    // It stays for another attempt.
    expect(existsSync(staged)).to.equal(true);
    // Its time, by the file that was there for a while.
    expect(opened.lookThrough()).to.deep.equal(['m']);
    expect(linesOf(opened.indexEntries())).to.deep.equal(treeOf(directory));
  });

  it('moves on there what the same group has brought there', () => {
    const opened = open();
    fill(opened);
    opened.applyAll(
      ...[put('m/x', 'x'), mkdir('m/y'), put('m/y/z', 'z'), put('m/stays', '1')],
      ...[move('m/y', 'm/w'), move('m/x', 'm/w/x'), put('m/w/z', 'z2'), move('m/w', 'm/v')],
    );
    expect(linesOf(opened.indexEntries())).to.deep.equal(treeOf(directory));
    expect(opened.lookThrough()).to.deep.equal([]);
    expect(readdirSync(join(directory, 'm/v')).sort()).to.deep.equal(['x', 'z']);
  });

  it('gives owners there, too', () => {
    const owner = { uid: 1001, gid: 1002, user: '', group: '' };
    const opened = (replica = TestReplica.open(directory, {}, { keepsOwners: true }));
    opened.applyAll(mkdir('m'), withOwner(put('m/f', 'f'), owner), withOwner(symlink('m/l', 'f'), owner));
    opened.applyAll(withOwner(mkdir('m/d'), owner), withOwner(put('m/d/g', 'g'), { ...owner, uid: 0 }), mkdir('m/e'));
    const owners = ['f', 'l', 'd', 'd/g', 'e'].map((name) => {
      const { uid, gid } = lstatSync(join(directory, 'm', name));
      return `${uid}:${gid}`;
    });
    expect(owners).to.deep.equal(['1001:1002', '1001:1002', '1001:1002', '0:1002', '0:0']);
    expect(opened.lookThrough()).to.deep.equal([]);
  });

  it('is left by what went bad in there, for the quarantine (E98)', () => {
    const opened = open();
    fill(opened);
    const bad = join(directory, 'm/old');
    writeFileSync(bad, '2');
    utimesSync(bad, Number(T0 / 1_000n) / 1e6, Number(T0 / 1_000n) / 1e6);
    const { identity } = opened.core.index.get(p('m/old')) ?? {};
    if (identity === undefined) throw new Error('no identity');
    opened.core.index.setIdentity(p('m/old'), { ...identity, ctimeNs: identity.ctimeNs + 10_000_000_000n });
    expect(quarantine(opened.core, p('m/old'))).to.equal(true);
    expect(existsSync(bad)).to.equal(false);
    const place = join(directory, '.lockstep/quarantine');
    expect(readdirSync(place).map((name) => readFileSync(join(place, name), 'utf8'))).to.deep.equal(['2']);
    expect(opened.lookThrough()).to.deep.equal(['m/old']);
  });

  it('gives names of one file that are made anew from the log files of their own (E19)', () => {
    const opened = open();
    opened.applyAll(mkdir('m'), put('m/a', '1'), put('m/b', '1'));
    opened.applyAll(put('out', '2'), link('out2', 'out', fileEntry('out', '2')));
    execFileSync('ln', ['-f', join(directory, 'm/a'), join(directory, 'm/b')]);
    opened.lookThrough();
    expect(opened.core.index.get(p('m/b'))?.identity?.ino).to.equal(opened.core.index.get(p('m/a'))?.identity?.ino);
    opened.close();
    truncateSync(join(directory, 'm/a'));
    const recovered = open();
    for (const name of ['a', 'b']) expect(readFileSync(join(directory, 'm', name), 'utf8')).to.equal('1');
    expect(sharedNamesOf(directory)).to.deep.equal([['out', 'out2']]);
    expect(linesOf(recovered.indexEntries())).to.deep.equal(treeOf(directory));
    expect(recovered.lookThrough()).to.deep.equal([]);
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
