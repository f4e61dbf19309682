import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  cpSync,
  lstatSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { ROOT } from '../../../common/tree/tree-path.ts';
import { runToEnd } from '../../../services/sync-server/replica/steps.ts';
import { failingCalls } from '../../support/failing-calls.ts';
import {
  linesOf,
  mkdir,
  p,
  put,
  removeDirectory,
  symlink,
  temporaryDirectory,
  TestReplica,
  treeOf,
} from './support.ts';

describe('drift', () => {
  let directory: string;
  let replica: TestReplica;
  const local = (path: string): string => join(directory, path);

  beforeEach(() => {
    directory = temporaryDirectory();
    replica = TestReplica.open(directory);
    replica.applyAll(mkdir('d'), put('d/a', 'a'), mkdir('d/e'), put('d/e/b', 'b'), put('c', 'c'), symlink('l', 'c'));
  });

  afterEach(() => {
    expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
    replica.core.index.verify();
    replica.close();
    removeDirectory(directory);
  });

  it('is not what the applier itself did', () => {
    expect(replica.lookThrough()).to.deep.equal([]);
    expect(replica.core.state.revision).to.equal(1n);
  });

  it('is every edit, addition, removal, and change of kind or mode (E94)', () => {
    appendFileSync(local('d/a'), '!');
    rmSync(local('c'));
    mkdirSync(local('new/sub'), { recursive: true });
    writeFileSync(local('new/sub/f'), 'f');
    rmSync(local('l'));
    symlinkSync('d', local('l'));
    rmSync(local('d/e'), { recursive: true });
    writeFileSync(local('d/e'), 'now a file');
    const found = replica.lookThrough();
    expect(found).to.include.members(['d/a', 'c', 'new', 'new/sub', 'new/sub/f', 'l', 'd/e']);
    expect(replica.core.state.revision).to.equal(2n);
    expect(replica.core.state.headBatchId).to.have.length(0);
    expect(replica.log.warnings.some((line) => line.includes('behind the server') && line.includes('d/a'))).to.equal(
      true,
    );
    chmodSync(local('d/a'), 0o600);
    expect(replica.lookThrough()).to.deep.equal(['d/a']);
  });

  it('is an edit that put size and time back, once it is older than the slack (E44)', () => {
    const { atime, mtime } = statSync(local('c'));
    const entry = replica.core.index.get(p('c'));
    if (entry?.identity === undefined) throw new Error('no identity');
    replica.core.index.setIdentity(p('c'), { ...entry.identity, ctimeNs: entry.identity.ctimeNs - 10_000_000_000n });
    writeFileSync(local('c'), 'X');
    utimesSync(local('c'), atime, mtime);
    expect(replica.lookThrough()).to.include('c');
  });

  it('is not a file that was only touched and has what it had', () => {
    const entry = replica.core.index.get(p('c'));
    if (entry?.identity === undefined) throw new Error('no identity');
    replica.core.index.setIdentity(p('c'), { ...entry.identity, ctimeNs: entry.identity.ctimeNs - 10_000_000_000n });
    expect(replica.lookThrough()).to.deep.equal([]);
    const { ctimeNs } = lstatSync(local('c'), { bigint: true });
    expect(replica.core.index.get(p('c'))?.identity?.ctimeNs).to.equal(ctimeNs);
  });

  it('is found when the replica was emptied, and nothing of the index is believed (E94)', () => {
    for (const name of ['d', 'c', 'l']) rmSync(local(name), { recursive: true });
    expect(replica.lookThrough()).to.include.members(['c', 'd', 'l']);
    expect(replica.indexEntries()).to.deep.equal([]);
  });

  it('is not a copy with new inodes: identities are refreshed, no revision is made (E47)', async () => {
    const expected = treeOf(directory);
    await replica.checkpoint();
    replica.close();
    execFileSync('cp', ['-a', directory, `${directory}-copy`]);
    removeDirectory(directory);
    renameSync(`${directory}-copy`, directory);
    replica = TestReplica.open(directory);
    expect(replica.drifted).to.deep.equal([]);
    expect(replica.recovery.isLossy).to.equal(false);
    expect(treeOf(directory)).to.deep.equal(expected);
    for (const path of ['', 'c', 'd/a']) {
      expect(replica.core.index.get(p(path))?.identity?.ino).to.equal(lstatSync(local(path), { bigint: true }).ino);
    }
    replica.applyAll(put('c', 'next'), put('d/a', 'next'));
  });

  it('is a backup restored over the tree, old log and index still there (E97)', () => {
    const backup = temporaryDirectory();
    cpSync(local('d'), join(backup, 'd'), { recursive: true, preserveTimestamps: true });
    replica.applyAll(put('d/a', 'newer'), put('d/new', 'n'));
    replica.close();
    rmSync(local('d'), { recursive: true });
    cpSync(join(backup, 'd'), local('d'), { recursive: true, preserveTimestamps: true });
    replica = TestReplica.open(directory);
    removeDirectory(backup);
    expect(linesOf(replica.indexEntries())).to.deep.equal(treeOf(directory));
  });

  it('is adopted when a replica begins with a directory that has something (E122)', () => {
    replica.close();
    rmSync(local('.lockstep'), { recursive: true });
    replica = TestReplica.open(directory);
    expect(replica.indexEntries().length).to.equal(6);
    expect(replica.drifted).to.deep.equal([]);
  });

  it('is not what cannot be listed or read: that is unknown, not gone (E49)', () => {
    const entries = replica.indexEntries().map(({ path }) => path);
    writeFileSync(local('c'), 'edited');
    rmSync(local('l'));
    symlinkSync('d', local('l'));
    {
      using _list = failingCalls('readdirSync', 'EACCES', (number) => number > 1);
      using _read = failingCalls('readSync', 'EIO');
      using _link = failingCalls('readlinkSync', 'EIO', (_number, [path]) => String(path).endsWith('/l'));
      // The root's time is another one by the new link.
      expect(replica.lookThrough()).to.deep.equal(['']);
    }
    expect(replica.indexEntries().map(({ path }) => path)).to.deep.equal(entries);
    for (const words of ['cannot list a directory', 'cannot read an entry']) {
      expect(replica.log.warnings.join()).to.include(words);
    }
    {
      using _ = failingCalls('openSync', 'EACCES', (_number, [path]) => String(path).endsWith('/c'));
      expect(replica.lookThrough()).to.deep.equal(['l']);
    }
    expect(replica.lookThrough()).to.deep.equal(['c']);
  });

  it('is not what lies in a directory that may be listed and not searched, and what is beside it is looked at (E49)', () => {
    const entries = replica.indexEntries().map(({ path }) => path);
    writeFileSync(local('c'), 'edited');
    writeFileSync(local('d/new'), 'new');
    {
      // In `d` all of them, also the one that the index does not know.
      using _ = failingCalls('lstatSync', 'EACCES', (_number, [path]) => /\/(?:a|e|new)$/.test(String(path)));
      expect(replica.lookThrough()).to.deep.equal(['c', 'd']);
    }
    expect(replica.indexEntries().map(({ path }) => path)).to.deep.equal(entries);
    expect(replica.log.warnings.join()).to.include('cannot look at an entry');
    const lookThroughWith = (errno: string) => {
      using _ = failingCalls('lstatSync', errno, (_number, [path]) => String(path).endsWith('/new'));
      return replica.lookThrough();
    };
    expect(lookThroughWith('EACCES')).to.deep.equal([]);
    // Of which nobody knows what it means.
    expect(() => lookThroughWith('EIO')).to.throw('EIO');
    expect(replica.lookThrough()).to.deep.equal(['d/new']);
  });

  it('is not a file that changes while it is read: it is looked at again', () => {
    const pass = () => {
      using _ = failingCalls('readSync', 'EIO', (number) => {
        if (number === 1) appendFileSync(local('c'), '!');
        return false;
      });
      return replica.lookThrough();
    };
    appendFileSync(local('c'), '!');
    expect(pass()).to.deep.equal([]);
    expect(replica.log.warnings.join()).to.include('changed while it was read');
    expect(replica.lookThrough()).to.deep.equal(['c']);
  });

  it('is not what goes away between two steps', () => {
    for (let i = 0; i < 100; i++) writeFileSync(local(`d/x${i}`), `${i}`);
    const steps = replica.core.reconciler.settleTree(ROOT, () => undefined);
    replica.core.index.begin();
    for (let at = 0; at < 3; at++) steps.next();
    rmSync(local('d'), { recursive: true });
    replica.core.root.forgetAll();
    while (steps.next().done !== true);
    replica.core.index.commit();
    replica.lookThrough();
  });

  it('begins at what is known above, and never with what is not of the tree', () => {
    mkdirSync(local('n/m'), { recursive: true });
    writeFileSync(local('n/m/f'), '1');
    const settle = (path: string): string[] => {
      const corrected: string[] = [];
      replica.core.index.transaction(() =>
        runToEnd(replica.core.reconciler.settleTree(p(path), (found) => corrected.push(found))),
      );
      return corrected;
    };
    expect(settle('n/m/f')).to.deep.equal(['n', 'n/m', 'n/m/f']);
    expect(settle('.lockstep/staging')).to.deep.equal([]);
    // Its time, by the new directory.
    expect(settle('')).to.deep.equal(['']);
    expect(settle('')).to.deep.equal([]);
  });

  it('is found in a directory of more rows than are fetched at once', () => {
    replica.applyAll(mkdir('many'), ...Array.from({ length: 2_100 }, (_, at) => put(`many/${at}`, '')));
    const gone = [1, 1500, 2099, ...Array.from({ length: 40 }, (_, at) => 700 + at)].map((name) => `many/${name}`);
    for (const path of gone) rmSync(local(path));
    expect(new Set(replica.lookThrough())).to.deep.equal(new Set(['many', ...gone]));
  });

  it('survives batches between two slices of a pass', async () => {
    const { DriftPass } = await import('../../../services/sync-server/replica/drift-pass.ts');
    for (let i = 0; i < 200; i++) writeFileSync(local(`d/x${i}`), `${i}`);
    const pass = new DriftPass(replica.core);
    let round = 0;
    while (!pass.isDone) {
      pass.runSlice(0);
      if (round++ < 10) replica.apply([put(`d/y${round}`, 'y'), put('d/x7', `${round}`), mkdir(`z${round}`)]);
    }
  });
});
