/**
 * Real programs at work in the watched directory: npm, git, and large trees that are copied in. After each, a flush and
 * the independent oracle.
 */
import { execFile } from 'node:child_process';
import { appendFileSync, cpSync, existsSync, lstatSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { REPOSITORY } from '../support/bin-program.ts';
import { CHANGE_SOURCES, type Pair } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { noise, put } from '../support/writing.ts';

const execute = promisify(execFile);
/** A tree to copy in: LOCKSTEP_TEST_TREE, or the Go sources of Debian's golang-1.19-src, or what this project depends on. */
const LARGE_TREE = [
  process.env['LOCKSTEP_TEST_TREE'] ?? '',
  '/usr/share/go-1.19',
  join(REPOSITORY, 'node_modules'),
].find((path) => path !== '' && existsSync(path));
/** Copies have to fit into memory. */
const MAX_COPIED_BYTES = 1_000_000;
const NPM_MS = 120_000;

/** Not synchronous: the test goes on counting, proxying and waiting while the program works. */
async function program(name: string, args: readonly string[], directory: string): Promise<void> {
  const environment = { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_SYSTEM: '/dev/null' };
  await execute(name, [...args], { cwd: directory, env: environment, maxBuffer: 2 ** 26, timeout: NPM_MS });
}

async function git(directory: string, ...args: readonly string[]): Promise<void> {
  const identity = ['-c', 'user.name=Test', '-c', 'user.email=test@example.org', '-c', 'init.defaultBranch=main'];
  await program('git', [...identity, ...args], directory);
}

/** A history with branches that differ in hundreds of files, in what are directories and in modes. */
async function makeRepository(directory: string): Promise<void> {
  mkdirSync(directory);
  await git(directory, 'init', '--quiet');
  for (let number = 0; number < 400; number++) {
    put(
      directory,
      `src/package-${number % 20}/module-${number}.ts`,
      `export const value = ${number};\n`.repeat(20 + (number % 50)),
    );
  }
  put(directory, 'assets/image.bin', noise(500_000, 'image'));
  await git(directory, 'add', '.');
  await git(directory, 'commit', '--quiet', '--message', 'Begin');
  await git(directory, 'checkout', '--quiet', '-b', 'feature');
  for (let number = 0; number < 400; number += 2) {
    appendFileSync(join(directory, `src/package-${number % 20}/module-${number}.ts`), '// changed on the branch\n');
  }
  await git(directory, 'mv', 'src/package-1', 'src/moved');
  await git(directory, 'rm', '--quiet', '-r', 'src/package-3');
  put(directory, 'src/package-3', 'a file where a directory was\n');
  await git(directory, 'add', '.');
  await git(directory, 'commit', '--quiet', '--message', 'Change much');
  put(directory, 'src/new/deep/file.ts', 'new\n');
  await git(directory, 'add', '.');
  await git(directory, 'commit', '--quiet', '--message', 'Add a little');
  await git(directory, 'checkout', '--quiet', 'main');
  put(directory, 'README.md', '# Read this\n');
  await git(directory, 'add', '.');
  await git(directory, 'commit', '--quiet', '--message', 'Go on elsewhere');
}

function copyTree(from: string, to: string): void {
  const isSmall = (path: string) => lstatSync(path).size <= MAX_COPIED_BYTES;
  cpSync(from, to, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true, filter: isSmall });
}

for (const changeSource of CHANGE_SOURCES) {
  describe(`real work (${changeSource})`, function () {
    this.timeout(4 * 60_000);
    const pairs = usePairs();
    const start = (): Promise<Pair> => pairs.start({ changeSource, watcherFlags: ['--max-delete', '100%'] });

    it('by git: clone, branch switches, rebase, stash, gc', async () => {
      const pair = await start();
      const origin = join(pair.base, 'origin');
      await makeRepository(origin);
      await git(pair.source, 'clone', '--quiet', origin, 'clone');
      await pair.inStep();
      const clone = join(pair.source, 'clone');
      for (const branch of ['feature', 'main', 'feature', 'main']) {
        await git(clone, 'checkout', '--quiet', branch);
        await pair.inStep();
      }
      // Faster than anybody can follow.
      for (const branch of ['feature', 'main', 'feature']) await git(clone, 'checkout', '--quiet', branch);
      await pair.inStep();
      await git(clone, 'rebase', '--quiet', 'main');
      await pair.inStep();
      writeFileSync(join(clone, 'README.md'), 'work in progress');
      await git(clone, 'stash', '--quiet');
      await git(clone, 'reset', '--quiet', '--hard', 'HEAD~1');
      await pair.inStep();
      await git(clone, 'gc', '--quiet', '--prune=now');
      await pair.inStep();
      await git(clone, 'clean', '--quiet', '-ffdx');
      rmSync(clone, { recursive: true });
      put(pair.source, 'after.txt');
      await pair.inStep();
    });

    it('by npm: a package with its dependencies is installed, updated and removed while it is watched', async function () {
      const pair = await start();
      put(pair.source, 'package.json', JSON.stringify({ name: 'watched', version: '1.0.0', private: true }));
      const npm = (...args: readonly string[]) => {
        const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', '--fetch-retries=0'];
        return program('npm', [...args, ...quiet], pair.source);
      };
      try {
        await npm('install', 'express@4', 'typescript@5.8.2');
      } catch (error) {
        return skipBecause(this, `npm could not install: ${String(error).slice(0, 300)}`);
      }
      expect(existsSync(join(pair.source, 'node_modules', 'typescript'))).to.equal(true);
      await pair.inStep();
      await npm('uninstall', 'typescript');
      await pair.inStep();
      rmSync(join(pair.source, 'node_modules'), { recursive: true });
      await pair.inStep();
    });
  });
}

describe('a large tree', function () {
  this.timeout(4 * 60_000);
  const pairs = usePairs();

  it('that is copied in, renamed, and removed again', async () => {
    const pair = await pairs.start({ changeSource: 'auto', watcherFlags: ['--max-delete', '100%'] });
    copyTree(LARGE_TREE ?? REPOSITORY, join(pair.source, 'tree'));
    await pair.inStep();
    renameSync(join(pair.source, 'tree'), join(pair.source, 'renamed'));
    await pair.inStep();
    rmSync(join(pair.source, 'renamed'), { recursive: true });
    put(pair.source, 'after.txt');
    await pair.inStep();
  });

  it('that is there before the first start', async () => {
    const pair = pairs.prepare({ prepare: ({ source }) => copyTree(LARGE_TREE ?? REPOSITORY, join(source, 'tree')) });
    await pair.startServer();
    await pair.startWatcher();
    expect(pair.differences()).to.deep.equal([]);
  });
});
