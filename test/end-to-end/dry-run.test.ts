/**
 * What `--dry-run` prints: rsync's itemized changes, letter for letter. rsync itself is the oracle, for all that it has.
 */
import { expect } from 'chai';
import {
  chmodSync,
  existsSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
} from 'node:fs';
import { join } from 'node:path';
import { programOnPath } from '../support/on-path.ts';
import type { Pair } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { noise, put, putMany, run } from '../support/writing.ts';

/** rsync compares whole seconds. */
const EARLY_SECONDS = 1_600_000_000;
const LATE_SECONDS = 1_600_000_100;
const QUIET = ['--progress', 'off', '--log-level', 'warn'];

async function listed(pair: Pair, ...flags: readonly string[]): Promise<readonly string[]> {
  const { code, stdout, stderr } = await pair.command(...pair.watcherArguments, '--dry-run', ...QUIET, ...flags);
  expect(code, stderr).to.equal(0);
  return stdout.split('\n').slice(0, -1);
}

function listedByRsync({ source, replica }: Pair, ...flags: readonly string[]): readonly string[] {
  const options = ['-rlptni', '--checksum', '--delete', '--exclude=/.lockstep', '--no-human-readable', ...flags];
  return run('rsync', [...options, `${source}/`, `${replica}/`])
    .split('\n')
    .slice(0, -1);
}

/** Entries of the tree have times of their own: a directory's after what it holds. */
function setTimes(directory: string, seconds: number): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) setTimes(path, seconds);
    else lutimesSync(path, seconds, seconds);
  }
  utimesSync(directory, seconds, seconds);
}

describe('sync-watcher --dry-run', () => {
  const pairs = usePairs();

  async function inStep(prepare: (source: string) => void, ...flags: readonly string[]): Promise<Pair> {
    const pair = pairs.prepare({
      prepare: ({ source }) => {
        prepare(source);
        setTimes(source, EARLY_SECONDS);
      },
    });
    await pair.startServer();
    const { code, stderr } = await pair.command(...pair.watcherArguments, '--once', ...flags);
    expect(code, stderr).to.equal(0);
    return pair;
  }

  it('lists what rsync lists, in the same letters', async function () {
    if (programOnPath('rsync') === undefined) skipBecause(this, 'there is no rsync');
    const pair = await inStep((source) => {
      for (const name of ['same', 'size', 'content', 'time', 'mode', 'all', 'gone', 'becomes-a-directory', 'untouched'])
        put(source, name, 'content');
      put(source, 'large-content', noise(400_000, 'large'));
      put(source, 'large-time', noise(400_000, 'timed'));
      putMany(source, 'whole/deeper', 2, 10);
      putMany(source, 'becomes-a-file', 2, 10);
      putMany(source, 'of-another-mode', 1, 10);
      for (const name of ['retargeted', 'of-another-time', 'becomes-plain']) symlinkSync('size', join(source, name));
    });
    const at = (...names: readonly string[]) => join(pair.source, ...names);
    put(pair.source, 'size', 'longer than before');
    put(pair.source, 'content', 'CONTENT');
    put(pair.source, 'all', 'everything is new');
    chmodSync(at('all'), 0o751);
    chmodSync(at('mode'), 0o600);
    chmodSync(at('of-another-mode'), 0o700);
    put(pair.source, 'large-content', noise(400_000, 'other'));
    for (const name of ['gone', 'whole', 'becomes-a-directory', 'becomes-a-file', 'becomes-plain', 'retargeted'])
      rmSync(at(name), { recursive: true });
    put(pair.source, 'becomes-a-directory/inside');
    put(pair.source, 'becomes-a-file');
    put(pair.source, 'becomes-plain');
    symlinkSync('content', at('retargeted'));
    putMany(pair.source, 'new/deeper', 2, 100);
    mkdirSync(at('new', 'empty'));
    symlinkSync('new', at('new-link'));
    setTimes(pair.source, EARLY_SECONDS);
    for (const name of ['size', 'all', 'time', 'large-time', 'retargeted', 'of-another-time'])
      lutimesSync(at(name), LATE_SECONDS, LATE_SECONDS);
    utimesSync(at('of-another-mode'), LATE_SECONDS, LATE_SECONDS);
    utimesSync(pair.source, LATE_SECONDS, LATE_SECONDS);

    const lines = (await listed(pair)).toSorted();
    expect(lines).to.deep.equal(listedByRsync(pair).toSorted());
    expect(lines).to.include.members([
      '>fcst...... size',
      '>fc........ content',
      '>fcstp..... all',
      '.f..t...... large-time',
      '.d..tp..... of-another-mode/',
      'cLc.t...... retargeted -> content',
      '*deleting   whole/deeper/file-0',
      'cd+++++++++ new/deeper/',
      'cL+++++++++ new-link -> new',
      '.d..t...... ./',
    ]);
    expect(lines.filter((line) => line.includes('untouched'))).to.deep.equal([]);
  });

  it('lists hard links as rsync does', async function () {
    if (programOnPath('rsync') === undefined) skipBecause(this, 'there is no rsync');
    const pair = await inStep((source) => {
      put(source, 'one', 'content');
      put(source, 'two', 'content');
    }, '--hard-links');
    linkSync(join(pair.source, 'one'), join(pair.source, 'three'));
    setTimes(pair.source, EARLY_SECONDS);
    const lines = await listed(pair, '--hard-links');
    expect(lines).to.deep.equal(['hf+++++++++ three => one']);
    expect(lines).to.deep.equal(listedByRsync(pair, '--hard-links'));
  });

  it('has a spelling for moves, which rsync does not have', async () => {
    const pair = await inStep((source) => {
      putMany(source, 'directory', 3, 10);
      put(source, 'file', noise(400_000, 'moved'));
      put(source, 'overwritten', noise(400_000, 'overwritten'));
    });
    renameSync(join(pair.source, 'directory'), join(pair.source, 'renamed'));
    renameSync(join(pair.source, 'file'), join(pair.source, 'overwritten'));
    chmodSync(join(pair.source, 'overwritten'), 0o600);
    setTimes(pair.source, EARLY_SECONDS);
    expect((await listed(pair)).toSorted()).to.deep.equal([
      '*deleting   overwritten',
      '*moving     directory/ -> renamed/',
      '*moving     file -> overwritten',
      '.f...p..... overwritten',
    ]);
  });

  it('keeps each entry on one line, whatever its name is', async () => {
    const pair = pairs.prepare({
      prepare: ({ source }) => {
        put(source, 'two\nlines\u001b[31m', 'x');
        symlinkSync('a\nb', join(source, 'link'));
        chmodSync(source, 0o755);
      },
    });
    await pair.startServer();
    expect((await listed(pair)).toSorted()).to.deep.equal([
      '.d..t...... ./',
      '>f+++++++++ two\\x0alines\\x1b[31m',
      'cL+++++++++ link -> a\\x0ab',
    ]);
    expect(existsSync(join(pair.replica, 'link'))).to.equal(false);
  });
});
