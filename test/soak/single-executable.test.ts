/**
 * `make sea`: the executable in a place with no Node, no npm package and an empty home.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { buildExecutable } from '../../scripts/sea.ts';
import { BinProgram, REPOSITORY, runToEnd } from '../support/bin-program.ts';
import { manifest } from '../support/installed-package.ts';
import { skipBecause } from '../support/pair-hooks.ts';
import { differencesOf } from '../support/tree-oracle.ts';

const INJECTOR = join(REPOSITORY, '.tools/sea/node_modules/postject');

describe('the single executable', function () {
  this.timeout(120_000);
  let base = '';
  let bin = '';
  let environment: Readonly<Record<string, string>> = {};

  before(function () {
    if (!existsSync(INJECTOR)) skipBecause(this, 'there is no postject: make sea fetches it');
    base = mkdtempSync(join(tmpdir(), 'lockstep-sea-'));
    bin = join(base, 'bin');
    environment = { HOME: join(base, 'home'), XDG_CACHE_HOME: '', PATH: join(base, 'nothing') };
    const compiler = join(REPOSITORY, 'node_modules/typescript/bin/tsc');
    const dist = join(base, 'dist');
    execFileSync(process.execPath, [compiler, '-p', join(REPOSITORY, 'tsconfig.build.json'), '--outDir', dist]);
    buildExecutable(dist, INJECTOR, bin);
    rmSync(dist, { recursive: true });
  });
  after(() => {
    if (base !== '') rmSync(base, { recursive: true, force: true });
  });

  const version = () => runToEnd('sync-watcher', { arguments: ['--version'], bin, environment });

  it('is both programs, threads and addon included', async () => {
    const [source, replica] = [join(base, 'source'), join(base, 'replica')];
    mkdirSync(join(source, 'deep'), { recursive: true });
    writeFileSync(join(source, 'deep/small'), 'content');
    writeFileSync(join(source, 'large'), Buffer.alloc(3 * 2 ** 20, 'lockstep'));
    const ready = join(base, 'ready');
    const flags = ['--dir', replica, '--listen', '127.0.0.1:0', '--http', 'off', '--ready-file', ready];
    const server = new BinProgram('sync-server', { arguments: flags, bin, environment });
    try {
      const { grpc } = await server.ready(ready);
      const look = ['--dir', source, '--state', join(base, 'state'), '--server', String(grpc), '--once'];
      const { code, stderr } = await runToEnd('sync-watcher', { arguments: look, bin, environment });
      expect(code, stderr).to.equal(0);
      expect(differencesOf(source, replica)).to.deep.equal([]);
    } finally {
      expect((await server.end()).code).to.equal(0);
    }
    expect(globSync('home/.cache/lockstep/*/node_modules/@napi-rs/*/*.node', { cwd: base })).to.have.lengthOf(1);
  });

  it('mends what a power cut has emptied, and unpacks nothing a second time', async () => {
    const [home = ''] = globSync('home/.cache/lockstep/*', { cwd: base });
    truncateSync(join(base, home, 'dist/clients/watcher/main.js'));
    const { code, stdout, stderr } = await version();
    expect([code, stdout, stderr]).to.deep.equal([0, `${manifest.version}\n`, '']);
    const marker = join(base, home, 'marker');
    writeFileSync(marker, '');
    await version();
    expect(existsSync(marker)).to.equal(true);
  });

  it('runs nothing out of a directory that others may write', async () => {
    const cache = join(base, 'home/.cache/lockstep');
    chmodSync(cache, 0o777);
    const { code, stderr } = await version();
    chmodSync(cache, 0o700);
    expect([code, stderr]).to.deep.equal([
      2,
      `lockstep: others may write ${cache}; set XDG_CACHE_HOME to a directory of your own\n`,
    ]);
  });

  it('says what it is when it is called by another name', () => {
    const other = join(bin, 'other');
    renameSync(join(bin, 'sync-server'), other);
    const { status, stderr } = spawnSync(other, ['--version'], { env: environment, encoding: 'utf8' });
    expect([status, stderr]).to.deep.equal([
      2,
      'lockstep: this is sync-server and sync-watcher in one; call it by one of these names, not other\n',
    ]);
  });
});
