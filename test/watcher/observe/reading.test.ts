import { appendFileSync, mkdtempSync, rmSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { HotFiles } from '../../../clients/watcher/observe/hot-files.ts';
import { readStable } from '../../../clients/watcher/observe/stable-read.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { Stat } from '../../../common/fs/stat.ts';
import { ROOT, type TreePath, treePathFromLocal } from '../../../common/tree/tree-path.ts';

const PATH = treePathFromLocal(Buffer.from('a'));

describe('readStable', () => {
  let directory: string;
  let root: SafeRoot;
  const buffer = Buffer.alloc(100);
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'stable-read-'));
    root = SafeRoot.open(directory);
    writeFileSync(join(directory, 'a'), 'hello');
  });
  afterEach(() => {
    root.close();
    rmSync(directory, { recursive: true });
  });

  function expected(): Stat {
    const stat = root.directory(ROOT).lstat('a');
    if (stat === undefined) throw new Error('nothing there');
    return stat;
  }

  function outcome(stat: Stat): string {
    return readStable(root.directory(ROOT), 'a', stat, buffer).outcome;
  }

  it('reads the file into the given place', () => {
    const result = readStable(root.directory(ROOT), 'a', expected(), buffer, 10);
    expect(result.outcome).to.equal('read');
    expect(buffer.subarray(10, 15).toString()).to.equal('hello');
  });

  it('reads an empty file', () => {
    writeFileSync(join(directory, 'a'), '');
    expect(outcome(expected())).to.equal('read');
  });

  it('sees that the file was changed since it was looked at (E37)', () => {
    let stat = expected();
    appendFileSync(join(directory, 'a'), '!');
    expect(outcome(stat)).to.equal('changed');
    stat = expected();
    utimesSync(join(directory, 'a'), 1, 1);
    expect(outcome(stat)).to.equal('changed');
    stat = expected();
    unlinkSync(join(directory, 'a'));
    expect(outcome(stat)).to.equal('vanished');
    writeFileSync(join(directory, 'a'), 'other');
    expect(outcome(stat)).to.equal('changed');
  });

  it('never follows a link, and never waits for a FIFO (E15)', () => {
    const stat = expected();
    unlinkSync(join(directory, 'a'));
    symlinkSync('/etc/passwd', join(directory, 'a'));
    expect(outcome(stat)).to.equal('changed');
    unlinkSync(join(directory, 'a'));
    execFileSync('mkfifo', [join(directory, 'a')]);
    expect(outcome(stat)).to.equal('changed');
  });

  it('refuses what does not fit', () => {
    writeFileSync(join(directory, 'a'), Buffer.alloc(99));
    expect(outcome(expected())).to.equal('read');
    writeFileSync(join(directory, 'a'), Buffer.alloc(100));
    expect(() => outcome(expected())).to.throw('too large');
  });
});

describe('HotFiles', () => {
  it('acts on the first change at once, then pauses longer and longer, up to a second (E42, E43)', () => {
    const hot = new HotFiles();
    let nowMs = 0;
    const delays: number[] = [];
    for (let n = 0; n < 10; n++) {
      const delayMs = hot.delayFor(PATH, nowMs);
      delays.push(delayMs);
      nowMs += delayMs;
      hot.acted(PATH, nowMs);
    }
    expect(delays).to.deep.equal([0, 0, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    expect(hot.delayFor(PATH, nowMs + 400)).to.equal(600);
  });

  it('acts at once again after some quiet', () => {
    const hot = new HotFiles();
    for (let n = 0; n < 20; n++) hot.acted(PATH, n);
    hot.acted(PATH, 5000);
    expect(hot.delayFor(PATH, 5000)).to.equal(0);
  });

  it('holds a file back that was just emptied, once and not for long (E40)', () => {
    const hot = new HotFiles();
    expect(hot.emptiedDelayFor(PATH, 100)).to.equal(50);
    expect(hot.emptiedDelayFor(PATH, 120)).to.equal(30);
    expect(hot.emptiedDelayFor(PATH, 150)).to.equal(0);
    expect(hot.emptiedDelayFor(PATH, 200)).to.equal(50);
    hot.filled(PATH);
    expect(hot.emptiedDelayFor(PATH, 240)).to.equal(50);
  });

  it('remembers a bounded number of files', () => {
    const hot = new HotFiles({ capacity: 2 });
    for (const name of ['a', 'a', 'b', 'b', 'c', 'c']) hot.acted(name as TreePath, 0);
    expect(hot.delayFor('a' as TreePath, 0)).to.equal(0);
    expect(hot.delayFor('b' as TreePath, 0)).to.equal(20);
    expect(hot.delayFor('c' as TreePath, 0)).to.equal(20);
  });
});
