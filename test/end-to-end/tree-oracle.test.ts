/**
 * The judge of the other tests is judged first: it sees each kind of difference, and none where there is none.
 */
import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { removeDirectory, temporaryDirectory } from '../support/pair.ts';
import { differencesOf } from '../support/tree-oracle.ts';
import { noise, put, run, within } from '../support/writing.ts';

describe('the oracle', () => {
  let base = '';
  let left = '';
  let right = '';

  beforeEach(() => {
    base = temporaryDirectory();
    [left, right] = [join(base, 'left'), join(base, 'right')];
    put(left, 'dir/file', 'content');
    put(left, 'large', noise(600_000));
    mkdirSync(join(left, 'empty'));
    symlinkSync('dir/file', join(left, 'link'));
    writeFileSync(within(left, Buffer.from([0xff, 0x0a])), 'bytes');
    execFileSync('cp', ['-a', left, right]);
  });

  afterEach(() => removeDirectory(base));

  it('finds nothing between a tree and its copy', () => {
    expect(differencesOf(left, right)).to.deep.equal([]);
  });

  it("passes over special files on either side, and the server's own directory", () => {
    put(right, '.lockstep/index.db');
    run('mkfifo', [join(left, 'pipe')]);
    run('mkfifo', [join(right, 'other-pipe')]);
    for (const root of [left, right]) utimesSync(root, 1, 1);
    expect(differencesOf(left, right)).to.deep.equal([]);
  });

  const changes: Readonly<Record<string, readonly [() => void, RegExp]>> = {
    'a byte at the end of a large file': [() => flipLastByte(), /^large: content differs from byte 599999/],
    'a longer file': [() => appendAndKeepTime(), /^dir\/file: size 7 became 8$/],
    'a missing file': [() => unlinkSync(join(right, 'dir', 'file')), /^dir\/file: missing/],
    'a missing empty directory': [() => rmSync(join(right, 'empty'), { recursive: true }), /^empty: missing/],
    'a file too many': [() => put(right, 'dir/extra'), /^dir\/extra: only in the replica/],
    "a directory below that is called as the server's own": [
      () => put(right, 'dir/.lockstep/x'),
      /^dir\/\.lockstep: only/,
    ],
    'another kind': [() => symlinkInsteadOfLarge(), /^large: file became symlink$/],
    'another target': [() => otherTarget(), /^link: target dir\/file became dir\/fil$/],
    'another mode of a file': [() => chmodSync(join(right, 'dir', 'file'), 0o600), /^dir\/file: mode \d+ became 600$/],
    'another mode of a directory': [() => chmodSync(join(right, 'empty'), 0o700), /^empty: mode \d+ became 700$/],
    'a time that is two microseconds off': [() => twoMicrosecondsOff(), /^dir\/file: mtime/],
    'another time of a directory': [() => utimesSync(join(right, 'empty'), 1, 1), /^empty: mtime/],
    'another time of the root': [() => utimesSync(right, 1, 1), /^\(root\): mtime/],
    'another name that looks the same': [
      () => renameSync(within(right, Buffer.from([0xff, 0x0a])), within(right, Buffer.from([0xfe, 0x0a]))),
      /^\\xfe\\x0a: only|^\\xff\\x0a: missing/,
    ],
  };
  for (const [what, [change, report]] of Object.entries(changes)) {
    it(`sees ${what}`, () => {
      change();
      expect(
        differencesOf(left, right).some((difference) => report.test(difference)),
        differencesOf(left, right).join('\n'),
      ).to.equal(true);
    });
  }

  function flipLastByte(): void {
    const content = noise(600_000);
    content[599_999] = (content[599_999] ?? 0) ^ 1;
    put(right, 'large', content);
  }

  function appendAndKeepTime(): void {
    appendFileSync(join(right, 'dir', 'file'), '!');
    run('touch', ['-r', join(left, 'dir', 'file'), join(right, 'dir', 'file')]);
  }

  function symlinkInsteadOfLarge(): void {
    unlinkSync(join(right, 'large'));
    symlinkSync('dir/file', join(right, 'large'));
  }

  function otherTarget(): void {
    unlinkSync(join(right, 'link'));
    symlinkSync('dir/fil', join(right, 'link'));
  }

  function twoMicrosecondsOff(): void {
    run('touch', ['-d', '2024-01-01 00:00:00.000010', join(left, 'dir', 'file')]);
    run('touch', ['-d', '2024-01-01 00:00:00.000012', join(right, 'dir', 'file')]);
  }
});
