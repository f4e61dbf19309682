/**
 * The npm package on a machine that has nothing but Node: built, packed, unpacked into an empty place, and started by the names that it
 * puts there. Nothing of the checkout is used but its dependencies of production; that npm fetches those is in test/soak.
 */
import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { BinProgram, REPOSITORY, runToEnd } from '../support/bin-program.ts';
import { examplesIn } from '../support/documented-examples.ts';
import { environment, installByHand, manifest, packedIn } from '../support/installed-package.ts';
import { skipBecause } from '../support/pair-hooks.ts';
import { programOnPath } from '../support/on-path.ts';
import { differencesOf } from '../support/tree-oracle.ts';

const run = promisify(execFile);

describe('the package, installed where there is nothing but Node', function () {
  this.timeout(60_000);
  let base = '';
  let bin = '';
  let home = '';
  const started: BinProgram[] = [];

  before(async function () {
    if (programOnPath('npm') === undefined) skipBecause(this, 'there is no npm');
    base = mkdtempSync(join(tmpdir(), 'lockstep-installed-'));
    const tarball = await packedIn(base);
    rmSync(join(base, 'stage'), { recursive: true });
    ({ bin, home } = await installByHand(tarball, join(base, 'prefix')));
  });
  afterEach(async function () {
    for (const program of started.splice(0)) {
      if (this.currentTest?.state === 'failed') process.stderr.write(`${program.report()}\n`);
      await program.end('SIGKILL');
    }
  });
  after(() => {
    if (base !== '') rmSync(base, { recursive: true, force: true });
  });

  const start = (name: 'sync-server' | 'sync-watcher', args: readonly string[], more = {}) => {
    const program = new BinProgram(name, { arguments: args, bin, environment: { ...environment, ...more } });
    started.push(program);
    return program;
  };

  it('has both programs, the manual pages, the protocol, and no source', () => {
    for (const page of manifest.man) expect(existsSync(join(home, page)), page).to.equal(true);
    expect(existsSync(join(home, 'proto/lockstep/sync/v1/sync_service.proto'))).to.equal(true);
    const files = readdirSync(home, { recursive: true, encoding: 'utf8' }).filter(
      (file) => !file.startsWith('node_modules'),
    );
    expect(files.filter((file) => /(?<!\.d)\.ts$/.test(file))).to.deep.equal([]);
    expect(files.filter((file) => file.startsWith('test') || file.startsWith('bench'))).to.deep.equal([]);
  });

  for (const name of ['sync-server', 'sync-watcher'] as const) {
    it(`${name} says its version`, async () => {
      const { code, stdout, stderr } = await runToEnd(name, { arguments: ['--version'], bin, environment });
      expect(stderr).to.equal('');
      expect([code, stdout]).to.deep.equal([0, `${manifest.version}\n`]);
    });
  }

  it('a server and a look bring two trees into step, health page and reflection included', async () => {
    const [source, replica] = [join(base, 'source'), join(base, 'replica')];
    const readyFile = join(base, 'ready');
    const cache = join(base, 'compile-cache');
    mkdirSync(join(source, 'deep/er'), { recursive: true });
    writeFileSync(join(source, 'deep/er/small'), 'content');
    // Above what a batch carries: the thread that reads contents is needed, and the other side's as well.
    writeFileSync(join(source, 'large'), Buffer.alloc(3 * 2 ** 20, 'lockstep'));
    symlinkSync('deep', join(source, 'link'));
    const server = start(
      'sync-server',
      ['--dir', replica, '--listen', '127.0.0.1:0', '--http', '127.0.0.1:0', '--ready-file', readyFile],
      { NODE_COMPILE_CACHE: cache },
    );
    const { grpc, http } = await server.ready(readyFile);
    const watcher = start(
      'sync-watcher',
      ['--dir', source, '--state', join(base, 'state'), '--server', String(grpc), '--once'],
      { NODE_COMPILE_CACHE: cache },
    );
    const { code, stderr } = await watcher.ended();
    expect(code, stderr).to.equal(0);
    expect(differencesOf(source, replica)).to.deep.equal([]);
    expect((await fetch(`http://${String(http)}/readyz`)).status).to.equal(200);
    expect(await (await fetch(`http://${String(http)}/`)).text()).to.include('<!doctype html>');
    expect((await server.end()).code).to.equal(0);
    // What was compiled is kept for the next start: of two programs and four threads.
    expect(readdirSync(cache, { recursive: true }).length).to.be.greaterThan(6);
  });

  it('is a library whose types hold in a strict program, with the examples of its page', async () => {
    const consumer = join(base, 'consumer');
    mkdirSync(join(consumer, 'node_modules/@types'), { recursive: true });
    symlinkSync(home, join(consumer, 'node_modules/lockstep'));
    // Of a program's own, as most have them.
    symlinkSync(join(REPOSITORY, 'node_modules/@types/node'), join(consumer, 'node_modules/@types/node'));
    writeFileSync(join(consumer, 'package.json'), '{ "type": "module" }');
    const examples = [...examplesIn('docs/library.md', 'ts').values()];
    for (const [at, code] of examples.entries()) writeFileSync(join(consumer, `example-${at}.ts`), code);
    const compilerOptions = { strict: true, noEmit: true, module: 'nodenext', target: 'es2024', types: ['node'] };
    const lib = ['es2024', 'esnext.disposable'];
    writeFileSync(
      join(consumer, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: { ...compilerOptions, lib, skipLibCheck: true }, include: ['*.ts'] }),
    );
    const compiler = join(REPOSITORY, 'node_modules/typescript/bin/tsc');
    const checked = await run(process.execPath, [compiler, '-p', consumer]).catch((error: { stdout: string }) => error);
    expect(checked.stdout).to.equal('');
    // Were its types unknown, everything would hold.
    writeFileSync(
      join(consumer, 'wrong.ts'),
      "import { watchFolder } from 'lockstep';\nawait watchFolder({ directory: 1 });\n",
    );
    const wrong = await run(process.execPath, [compiler, '-p', consumer]).catch((error: { stdout: string }) => error);
    expect(wrong.stdout).to.match(/wrong\.ts\(2,.*number.*string/);
    const places = ['library-source', 'library-replica', 'library-state'].map((name) => join(base, name));
    mkdirSync(places[0]!);
    const { stdout } = await run(process.execPath, [join(consumer, 'example-0.ts'), ...places]);
    expect(stdout).to.match(/^in step at revision \d+\n$/);
  });

  it('the first module of each program sets up the collector and the cache, before all else', () => {
    for (const target of Object.values(manifest.bin)) {
      const text = readFileSync(join(home, target), 'utf8');
      expect(text.startsWith('#!/usr/bin/env node\n')).to.equal(true);
      expect(text).to.match(
        /keepCompiledCode\(\);\ncollectYoungOften\(\);\ngiveBackMemoryWhenIdle\(\);\nwatchStandardOutput\('sync-\w+'\);\nconst \{ run(?:Cli)? \} = await import/,
      );
    }
  });

  it('no folded module has a character that would make V8 keep all of its text in twice the memory', () => {
    for (const place of [
      'clients/watcher/cli.js',
      'clients/watcher/engine/engine-worker.js',
      'services/sync-server/program.js',
    ]) {
      const text = readFileSync(join(home, 'dist', place), 'latin1');
      expect(/[^\x00-\x7f]/.test(text), place).to.equal(false);
    }
  });

  it('an older Node is told what is needed', async function () {
    const old = await olderNode();
    if (old === undefined) skipBecause(this, 'there is no older Node on the PATH');
    for (const target of Object.values(manifest.bin)) {
      const { code, stderr } = await run(old, [join(home, target), '--version']).then(
        () => ({ code: 0, stderr: '' }),
        (error: { readonly code: number; readonly stderr: string }) => error,
      );
      expect(code).to.equal(2);
      expect(stderr).to.match(/^lockstep needs Node >= [\d.]+, and this is [\d.]+\n$/);
    }
  });
});

/** One on the PATH that knows modules, and is too old for this project. */
async function olderNode(): Promise<string | undefined> {
  for (const directory of (process.env['PATH'] ?? '').split(':')) {
    const node = join(directory, 'node');
    if (!existsSync(node)) continue;
    const { stdout } = await run(node, ['--version']);
    const major = Number(/^v(\d+)/.exec(stdout)?.[1]);
    if (major >= 18 && major < 24) return node;
  }
  return undefined;
}
