/**
 * Paths as people type them, relative to where they are: both programs leave that place for their own handles, and nobody sees it.
 */
import { expect } from 'chai';
import { existsSync, mkdirSync, readFileSync, readlinkSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BinProgram, type BinName } from '../support/bin-program.ts';
import { eventually } from '../support/eventually.ts';
import { skipBecause } from '../support/pair-hooks.ts';
import { removeDirectory, temporaryDirectory } from '../support/pair.ts';
import { differencesOf } from '../support/tree-oracle.ts';

describe('relative paths', function () {
  this.timeout(60_000);
  let base: string;
  const running: BinProgram[] = [];
  const place = (...names: readonly string[]) => join(base, ...names);

  beforeEach(() => {
    base = temporaryDirectory();
  });
  afterEach(async () => {
    for (const program of running.splice(0)) await program.end('SIGKILL');
    removeDirectory(base);
  });

  /** In `base`, as from a shell. */
  function start(name: BinName, ...words: readonly string[]): BinProgram {
    const program = new BinProgram(name, { arguments: words, wrapper: ['env', '-C', base] });
    running.push(program);
    return program;
  }

  it('mean what they meant at the start, also when the configuration is read again', async function () {
    if (process.platform !== 'linux') skipBecause(this, 'only Linux shows handles as a directory');
    writeFileSync(place('server.toml'), 'dir = "replica"\nstate = "server-state"\nlog-file = "server.log"\n');
    const server = start(
      'sync-server',
      '--config',
      'server.toml',
      '--listen',
      '127.0.0.1:0',
      '--http',
      'off',
      '--ready-file',
      'server-ready',
    );
    const { grpc } = await server.ready(place('server-ready'));
    mkdirSync(place('source'));
    writeFileSync(place('source/file'), 'content');
    const hook = 'pwd -P > hooked';
    const flags = [
      '--state',
      'state',
      '--config',
      'watcher.toml',
      '--ready-file',
      'watcher-ready',
      '--on-synced',
      hook,
    ];
    writeFileSync(place('watcher.toml'), 'dir = "source"\nlog-file = "watcher.log"\n');
    const watcher = start('sync-watcher', '--server', String(grpc), ...flags);
    await watcher.ready(place('watcher-ready'));
    expect(differencesOf(place('source'), place('replica'))).to.deep.equal([]);
    for (const { pid } of [server, watcher]) expect(readlinkSync(`/proc/${pid}/cwd`)).to.equal(`/proc/${pid}/fd`);
    await eventually(
      'the hook has run',
      () => existsSync(place('hooked')) && readFileSync(place('hooked'), 'utf8') !== '',
    );
    expect(readFileSync(place('hooked'), 'utf8')).to.equal(`${base}\n`);

    for (const [program, name] of [
      [server, 'server'],
      [watcher, 'watcher'],
    ] as const) {
      renameSync(place(`${name}.log`), place(`${name}.log.1`));
      program.signal('SIGHUP');
      const log = await program.reaches(
        'it is reloaded',
        () =>
          existsSync(place(`${name}.log`)) && /.*needs_restart.*/.exec(readFileSync(place(`${name}.log`), 'utf8'))?.[0],
      );
      expect(JSON.parse(log)).to.deep.include({ reloaded: ['log-file'], needs_restart: [] });
    }
    expect((await watcher.end()).code).to.equal(0);
    expect((await server.end()).code).to.equal(0);
    expect(existsSync(place('server-state')) && existsSync(place('state'))).to.equal(true);
  });

  it('of a socket work where the full path would be too long for one', async () => {
    const deep = 'd'.repeat(120);
    mkdirSync(place(deep));
    base = place(deep);
    try {
      mkdirSync(place('source'));
      writeFileSync(place('source/file'), 'content');
      const server = start(
        'sync-server',
        '--dir',
        'replica',
        '--listen',
        'unix:socket',
        '--http',
        'off',
        '--ready-file',
        'ready',
      );
      await server.ready(place('ready'));
      const once = start('sync-watcher', '--dir', 'source', '--server', 'unix:socket', '--state', 'state', '--once');
      const { code, stderr } = await once.ended();
      expect(code, stderr).to.equal(0);
      expect(differencesOf(place('source'), place('replica'))).to.deep.equal([]);
    } finally {
      base = join(base, '..');
    }
  });
});
