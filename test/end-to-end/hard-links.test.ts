/**
 * Names of one file that stay names of one file (`--hard-links`), with real programs: judged by inodes, contents and
 * metadata on both sides.
 */
import { expect } from 'chai';
import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { runToEnd } from '../support/bin-program.ts';
import { CHANGE_SOURCES } from '../support/pair.ts';
import { usePairs, useSharedPair } from '../support/pair-hooks.ts';
import { RandomTree, seedOfRun } from '../support/workloads.ts';
import { noise, put, run } from '../support/writing.ts';

const WITH_LINKS = { withHardLinks: true } as const;
const LARGE_BYTES = 3 * 2 ** 20;
/** Beyond what the server copies by itself. */
const HUGE_BYTES = 65 * 2 ** 20;

for (const changeSource of CHANGE_SOURCES) {
  describe(`hard links, kept (${changeSource}) (E19)`, () => {
    const shared = useSharedPair({ changeSource, watcherFlags: ['--hard-links'] });
    const source = (...names: readonly string[]) => join(shared.pair.source, ...names);
    const replica = (...names: readonly string[]) => join(shared.pair.replica, ...names);
    const follows = () => shared.pair.follows(WITH_LINKS);

    it('arrive as names of one file, in one directory and in several', async () => {
      put(source(), 'd/one', 'the same file');
      linkSync(source('d', 'one'), source('d', 'two'));
      await follows();
      mkdirSync(source('e'));
      linkSync(source('d', 'two'), source('e', 'three'));
      await follows();
      expect(statSync(replica('e', 'three')).nlink).to.equal(3);
    });

    it('follow what is written, set and removed through one name', async () => {
      appendFileSync(source('d', 'two'), ', written through one name');
      await follows();
      chmodSync(source('d', 'one'), 0o600);
      await follows();
      utimesSync(source('e', 'three'), 1_000_000_000, 1_000_000_000.5);
      await follows();
      unlinkSync(source('d', 'one'));
      await follows();
      expect(statSync(replica('e', 'three')).nlink).to.equal(2);
    });

    it('end where a name becomes a file of its own, also with the same content and time', async () => {
      put(source(), 'own/a', noise(1000));
      linkSync(source('own', 'a'), source('own', 'b'));
      linkSync(source('own', 'a'), source('own', 'c'));
      await follows();
      run('cp', ['-p', '--reflink=never', source('own', 'a'), source('own', 'tmp')]);
      renameSync(source('own', 'tmp'), source('own', 'b'));
      await follows();
      chmodSync(source('own', 'b'), 0o600);
      await follows();
      expect(statSync(replica('own', 'a')).mode & 0o777).not.to.equal(0o600);
    });

    it('move with their files and directories, and are swapped', async () => {
      put(source(), 'm/x', noise(5000, 'x'));
      put(source(), 'm/y', noise(5000, 'y'));
      mkdirSync(source('n'));
      linkSync(source('m', 'x'), source('n', 'x'));
      linkSync(source('m', 'y'), source('n', 'y'));
      await follows();
      renameSync(source('n', 'x'), source('t'));
      renameSync(source('n', 'y'), source('n', 'x'));
      renameSync(source('t'), source('n', 'y'));
      await follows();
      renameSync(source('n'), source('moved'));
      renameSync(source('m', 'x'), source('moved', 'z'));
      await follows();
    });

    it('of large files send their content once', async () => {
      put(source(), 'large/a', noise(LARGE_BYTES));
      for (const name of ['b', 'c', 'd']) linkSync(source('large', 'a'), source('large', name));
      await follows();
      appendFileSync(source('large', 'c'), 'more');
      chmodSync(source('large', 'c'), 0o640);
      await follows();
      expect(statSync(replica('large', 'a')).nlink).to.equal(4);
    });

    it('are names of one file also when all that the server had of it is gone', async () => {
      put(shared.pair.base, 'kept', noise(3000, 'kept'));
      mkdirSync(source('gone'));
      for (const name of ['a', 'b']) linkSync(join(shared.pair.base, 'kept'), source('gone', name));
      await follows();
      rmSync(source('gone'), { recursive: true });
      await follows();
      await shared.pair.command('pause', ...shared.pair.controlArguments);
      for (const name of ['again-1', 'again-2']) linkSync(join(shared.pair.base, 'kept'), source(name));
      await shared.pair.command('resume', ...shared.pair.controlArguments);
      await follows();
      expect(statSync(replica('again-1')).nlink).to.equal(2);
    });

    it('to names outside of the tree do not count', async () => {
      put(shared.pair.base, 'outside', 'x');
      linkSync(join(shared.pair.base, 'outside'), source('inside'));
      await follows();
      expect(statSync(replica('inside')).nlink).to.equal(1);
    });
  });
}

describe('hard links, kept (E19)', function () {
  // Programs that are started again and again, by tests that may run beside others.
  this.timeout(180_000);
  const started = usePairs();
  const flags = ['--hard-links'];

  it('arrive by the first sync: a thousand names of one file, whose content is sent once', async () => {
    const pair = await started.start({
      counting: true,
      watcherFlags: flags,
      prepare: ({ source }) => {
        put(source, 'store/file', noise(100_000));
        for (let at = 0; at < 1000; at++) {
          mkdirSync(join(source, `p${at % 10}`), { recursive: true });
          linkSync(join(source, 'store/file'), join(source, `p${at % 10}`, `n${at}`));
        }
      },
    });
    await pair.inStep(WITH_LINKS);
    expect(statSync(join(pair.replica, 'store/file')).nlink).to.equal(1001);
    expect(pair.proxy.sentBytes).to.be.below(400_000);
    chmodSync(join(pair.source, 'p3/n3'), 0o600);
    await pair.inStep(WITH_LINKS);
  });

  it('of a store of packages, and of what is installed from it, stay as they are through an update', async () => {
    const pair = await started.start({ watcherFlags: flags });
    const install = (version: string) => {
      for (let at = 0; at < 60; at++) {
        const file = join(pair.source, `store/${version}-${at % 40}`);
        put(pair.source, `store/${version}-${at % 40}`, noise(500 + at, `${version} ${at % 40}`));
        for (const project of ['a', 'b']) {
          const directory = join(pair.source, project, 'node_modules', `m${at % 7}`);
          mkdirSync(directory, { recursive: true });
          rmSync(join(directory, `f${at}`), { force: true });
          linkSync(file, join(directory, `f${at}`));
        }
      }
    };
    install('1');
    await pair.inStep(WITH_LINKS);
    install('2');
    await pair.inStep(WITH_LINKS);
    rmSync(join(pair.source, 'a'), { recursive: true });
    await pair.inStep(WITH_LINKS);
    rmSync(join(pair.source, 'store'), { recursive: true });
    await pair.inStep(WITH_LINKS);
  });

  it('are restored: when the option comes later, after a lost index, and where the replica was separated by hand', async () => {
    const pair = await started.start();
    put(pair.source, 'a/one', 'content');
    put(pair.source, 'large', noise(LARGE_BYTES));
    mkdirSync(join(pair.source, 'b'));
    for (const name of ['a/two', 'b/three']) linkSync(join(pair.source, 'a/one'), join(pair.source, name));
    linkSync(join(pair.source, 'large'), join(pair.source, 'b/large'));
    await pair.inStep();
    expect(statSync(join(pair.replica, 'a/one')).nlink).to.equal(1);

    await pair.watcher.end('SIGTERM');
    await pair.startWatcher(flags);
    await pair.inStep(WITH_LINKS);

    await pair.watcher.end('SIGTERM');
    rmSync(pair.watcherState, { recursive: true });
    await pair.server.end('SIGTERM');
    run('cp', ['-p', '--reflink=never', join(pair.replica, 'a/two'), join(pair.base, 'copy')]);
    run('mv', [join(pair.base, 'copy'), join(pair.replica, 'a/two')]);
    await pair.startServer();
    await pair.startWatcher(flags);
    await pair.inStep(WITH_LINKS);

    await pair.server.end('SIGTERM');
    run('cp', ['-p', '--reflink=never', join(pair.replica, 'b/three'), join(pair.base, 'copy')]);
    run('mv', [join(pair.base, 'copy'), join(pair.replica, 'b/three')]);
    await pair.startServer();
    await pair.follows(WITH_LINKS);
  });

  it('are left alone, and nothing shows through them, when the option is gone again', async () => {
    const pair = await started.start({ watcherFlags: [] });
    await pair.watcher.end('SIGTERM');
    await pair.startWatcher(flags);
    put(pair.source, 'one', 'content');
    linkSync(join(pair.source, 'one'), join(pair.source, 'two'));
    linkSync(join(pair.source, 'one'), join(pair.source, 'three'));
    await pair.inStep(WITH_LINKS);
    await pair.watcher.end('SIGTERM');
    await pair.startWatcher();
    unlinkSync(join(pair.source, 'two'));
    writeFileSync(join(pair.source, 'two'), 'content');
    chmodSync(join(pair.source, 'two'), 0o600);
    chmodSync(join(pair.source, 'three'), 0o640);
    await pair.inStep();
    await pair.watcher.end('SIGTERM');
    await pair.startWatcher(flags);
    await pair.inStep(WITH_LINKS);
  });

  it('do not show the metadata of one name under others in the replica, however large the file is', async () => {
    const pair = await started.start({
      prepare: ({ source }) => {
        put(source, 'huge', Buffer.alloc(HUGE_BYTES, noise(4099)));
        put(source, 'small', 'x');
      },
    });
    await pair.inStep();
    for (const name of ['huge', 'small']) linkSync(join(pair.replica, name), join(pair.base, name));
    for (const name of ['huge', 'small']) chmodSync(join(pair.source, name), 0o600);
    await pair.inStep();
    for (const name of ['huge', 'small']) expect(statSync(join(pair.base, name)).mode & 0o777).to.equal(0o644);
  });

  it('are in step after kills of the server and of the watcher in the midst of it', async () => {
    const pair = await started.start({ watcherFlags: flags });
    const tree = new RandomTree(pair.source, seedOfRun());
    for (let round = 0; round < 6; round++) {
      const edits = tree.mutateOverTime(400);
      await new Promise((resolve) => setTimeout(resolve, 30 + 20 * round));
      if (round % 2 === 0) {
        await pair.server.end('SIGKILL');
        await edits;
        await pair.startServer();
      } else {
        await pair.watcher.end('SIGKILL');
        await edits;
        await pair.startWatcher();
      }
    }
    await pair.inStep(WITH_LINKS).catch((error: unknown) => {
      throw new Error(`${String(error)}\n${tree.history.slice(-60).join('\n')}`);
    });
  });

  it('are compared by both programs when they verify, and made anew after a repair', async () => {
    const apart = (directory: string, name: string): void => {
      run('cp', ['-p', '--reflink=never', join(directory, name), join(directory, `${name}-copy`)]);
      renameSync(join(directory, `${name}-copy`), join(directory, name));
    };
    const pair = await started.start({
      watcherFlags: flags,
      prepare: ({ source }) => {
        put(source, 'd/one', 'content');
        mkdirSync(join(source, 'e'));
        for (const name of ['d/three', 'e/two']) linkSync(join(source, 'd/one'), join(source, name));
      },
    });
    await pair.inStep(WITH_LINKS);
    const compare = (...more: readonly string[]) => pair.command('verify', ...pair.watcherArguments, ...more);
    expect(await compare(...flags)).to.include({ code: 0, stdout: '' });
    await pair.watcher.end();
    const { mtimeMs } = statSync(join(pair.source, 'd'));
    apart(pair.source, 'd/three');
    utimesSync(join(pair.source, 'd'), mtimeMs / 1000, mtimeMs / 1000);
    expect(await compare(...flags)).to.include({
      code: 1,
      stdout: 'links       d/three  (one file with d/one there, not here)\n',
    });
    expect(await compare()).to.include({ code: 0 });
    await pair.startWatcher();
    await pair.inStep(WITH_LINKS);

    await pair.server.end();
    apart(pair.replica, 'e/two');
    const check = (...more: readonly string[]) =>
      runToEnd('sync-server', { arguments: ['verify', '--dir', pair.replica, ...more] });
    for (const more of [[], ['--repair']]) {
      const { code, stdout } = await check(...more);
      expect(code).to.equal(1);
      expect(stdout).to.include('links\te/two\te/two is not one file with d/one, and should be\n');
    }
    expect(await check()).to.include({ code: 0, stdout: '' });
    await pair.startServer();
    await pair.inStep(WITH_LINKS);
  });

  it('are told by a dry run', async () => {
    const pair = started.prepare();
    put(pair.source, 'one', 'content');
    linkSync(join(pair.source, 'one'), join(pair.source, 'two'));
    await pair.startServer();
    const dry = ['--once', '--dry-run', '--hard-links'];
    const { stdout, stderr } = await pair.command('watch', ...pair.watcherArguments, ...dry);
    expect(stdout + stderr).to.match(/two => one/);
  });
});
