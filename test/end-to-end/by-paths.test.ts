/**
 * Both programs on a system without handles of directories, such as macOS. There is none here: they are told to do without
 * (`LOCKSTEP_TEST_WAY`, which only tests set), and that they do is looked for among their descriptors.
 */
import { execFileSync } from 'node:child_process';
import { expect } from 'chai';
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { runToEnd } from '../support/bin-program.ts';
import { CHANGE_SOURCES } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { noise, put, within } from '../support/writing.ts';

/** The flag of a descriptor that only names something, as /proc shows it: octal. */
const O_PATH = 0o10000000;

/** Directories that a program has open as handles. */
function handlesOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fdinfo`).filter((fd) => {
    const flags = /^flags:\s+([0-7]+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1'))?.[1] ?? '0';
    return (Number.parseInt(flags, 8) & O_PATH) !== 0;
  }).length;
}

function fill(source: string): void {
  for (let number = 0; number < 300; number++) put(source, `src/d${number % 15}/f${number}`, `content ${number}`);
  put(source, 'large', noise(3_000_000, 'large'));
  put(source, 'deep/a/b/c/d/e/f', 'deep');
  mkdirSync(join(source, 'empty'));
  symlinkSync('../elsewhere', join(source, 'src/link'));
  writeFileSync(within(source, Buffer.from([0xff, 0x41])), 'not text');
  chmodSync(join(source, 'src/d1'), 0o711);
  utimesSync(join(source, 'src/d2/f2'), 1, 1_000_000_000);
}

/** What people do: write, write again, move, replace a kind by another, delete. */
function edit(source: string): void {
  appendFileSync(join(source, 'large'), 'and more');
  put(source, 'src/d3/f3', 'written anew');
  renameSync(join(source, 'src/d4'), join(source, 'moved'));
  renameSync(join(source, 'deep/a/b'), join(source, 'src/b'));
  put(source, 'moved/after', 'written after the move');
  rmSync(join(source, 'src/d5'), { recursive: true });
  put(source, 'src/d5', 'a file where a directory was');
  unlinkSync(join(source, 'src/d6/f6'));
  mkdirSync(join(source, 'src/d6/f6'));
  unlinkSync(join(source, 'src/link'));
  symlinkSync('another', join(source, 'src/link'));
  chmodSync(join(source, 'src/d7/f7'), 0o600);
  for (let number = 0; number < 50; number++) put(source, `new/n${number % 5}/f${number}`, `new ${number}`);
}

describe('both programs without handles of directories', function () {
  this.timeout(120_000);
  const pairs = usePairs();
  const environment = { LOCKSTEP_TEST_WAY: 'paths' };

  for (const changeSource of CHANGE_SOURCES) {
    it(`keep a tree in step through edits, moves and deletions, with ${changeSource}`, async () => {
      const pair = await pairs.start({ changeSource, environment, prepare: ({ source }) => fill(source) });
      await pair.inStep();
      edit(pair.source);
      await pair.inStep();
      for (const { pid } of [pair.server, pair.watcher]) expect(handlesOf(pid)).to.equal(0);
      for (const name of ['src', 'deep', 'empty']) rmSync(join(pair.source, name), { recursive: true });
      fill(pair.source);
      await pair.inStep();
    });
  }

  it('go on after a restart, and mend what was done to the replica meanwhile', async () => {
    const pair = await pairs.start({ environment, prepare: ({ source }) => fill(source) });
    await pair.inStep();
    await pair.watcher.end('SIGTERM');
    await pair.server.end('SIGTERM');
    edit(pair.source);
    put(pair.replica, 'src/d8/f8', 'somebody else was here');
    await pair.startServer();
    await pair.startWatcher();
    await pair.inStep();
  });

  it('have such handles where the system has them, so that this test sees them', async () => {
    const pair = await pairs.start({ prepare: ({ source }) => put(source, 'f') });
    for (const { pid } of [pair.server, pair.watcher]) expect(handlesOf(pid)).to.be.greaterThan(0);
  });
});

describe('Linux without /proc', () => {
  const pairs = usePairs();
  const wrapper = ['unshare', '-Urm', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$0" "$@"'];

  it('is refused by both programs, with a word about it (S40)', async function () {
    try {
      execFileSync('unshare', ['-Urm', 'mount', '-t', 'tmpfs', 'none', '/proc'], { stdio: 'ignore' });
    } catch {
      return skipBecause(this, 'no namespace of its own can be made here');
    }
    const { source, replica, watcherState } = pairs.prepare({ prepare: ({ source: place }) => put(place, 'f') });
    const programs = {
      'sync-server': ['--dir', replica, '--listen', '127.0.0.1:0', '--http', 'off'],
      'sync-watcher': ['--dir', source, '--state', watcherState, '--server', '127.0.0.1:1', '--once'],
    } as const;
    for (const name of ['sync-server', 'sync-watcher'] as const) {
      const { code, stderr } = await runToEnd(name, { arguments: programs[name], wrapper });
      expect(stderr).to.include('directories cannot be reached through /proc/self/fd; mount /proc');
      expect(code).to.equal(1);
    }
  });
});
