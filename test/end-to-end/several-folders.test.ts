/**
 * One server with several folders, one watcher with several directories, each from one file.
 */
import { expect } from 'chai';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ControlClient } from '../../clients/watcher/status/control-client.ts';
import { BinProgram, runToEnd } from '../support/bin-program.ts';
import { eventually } from '../support/eventually.ts';
import { removeDirectory, temporaryDirectory } from '../support/pair.ts';
import { differencesOf } from '../support/tree-oracle.ts';
import { put, putMany } from '../support/writing.ts';

const NAMES = ['one', 'two'] as const;

describe('several directories in one process', function () {
  this.timeout(60_000);
  let base: string;
  let server: BinProgram;
  let watcher: BinProgram;
  const programs: BinProgram[] = [];
  const at = (...names: readonly string[]) => join(base, ...names);
  const readyFile = () => at('watcher-ready');

  function start(name: 'sync-server' | 'sync-watcher', ...args: readonly string[]): BinProgram {
    const program = new BinProgram(name, { arguments: args, environment: { XDG_STATE_HOME: at('state') } });
    programs.push(program);
    return program;
  }

  const command = (...args: readonly string[]) =>
    runToEnd('sync-watcher', { arguments: args, environment: { XDG_STATE_HOME: at('state') } });

  async function flush(name: string): Promise<void> {
    const client = new ControlClient(at(`state-${name}`), at(`source-${name}`));
    try {
      await client.flush(30_000);
    } finally {
      client.close();
    }
    expect(differencesOf(at(`source-${name}`), at(`replica-${name}`))).to.deep.equal([]);
  }

  beforeEach(async () => {
    base = temporaryDirectory();
    for (const name of NAMES) {
      mkdirSync(at(`source-${name}`));
      putMany(at(`source-${name}`), name, 5, 100);
    }
    const folders = NAMES.map((name) => `[[folder]]\nname = "${name}"\ndir = "${at(`replica-${name}`)}"\n`);
    writeFileSync(at('server.toml'), `listen = "127.0.0.1:0"\nhttp = "off"\n${folders.join('')}`);
    server = start('sync-server', '--config', at('server.toml'), '--ready-file', at('server-ready'));
    const { grpc } = await server.ready(at('server-ready'));
    const watches = NAMES.map(
      (name) => `[[watch]]\ndir = "${at(`source-${name}`)}"\nfolder = "${name}"\nstate = "${at(`state-${name}`)}"\n`,
    );
    const common = `server = "${String(grpc)}"\nready-file = "${readyFile()}"\nprogress = "json"\nlog-format = "json"\n`;
    writeFileSync(at('watcher.toml'), common + watches.join(''));
    watcher = start('sync-watcher', '--config', at('watcher.toml'));
    await watcher.ready(readyFile());
  });

  afterEach(async function () {
    for (const program of programs.splice(0)) {
      if (this.currentTest?.state === 'failed') process.stderr.write(`${program.report()}\n`);
      await program.end('SIGKILL');
    }
    removeDirectory(base);
  });

  it('goes each its own way, and is asked for by its directory', async () => {
    const ready = JSON.parse(readFileSync(readyFile(), 'utf8')) as { watches: { dir: string; revision: string }[] };
    expect(ready.watches.map(({ dir }) => dir)).to.have.members(NAMES.map((name) => at(`source-${name}`)));
    for (const name of NAMES) await flush(name);
    put(at('source-one'), 'only-in-one', 'x');
    await flush('one');
    for (const name of NAMES) {
      const { stdout } = await command(
        'status',
        '--json',
        '--config',
        at('watcher.toml'),
        '--dir',
        at(`source-${name}`),
      );
      expect(JSON.parse(stdout)).to.include({ folder: name, in_step: true, pid: watcher.pid });
    }
    const unclear = await command('flush', '--config', at('watcher.toml'));
    expect(unclear.code).to.equal(2);
    expect(unclear.stderr).to.include(at('source-one')).and.include(at('source-two'));
    await eventually('a line about one', () => watcher.stdout.includes(`{"dir":"${at('source-one')}"`));
    expect(watcher.stderr).to.include(`"dir":"${at('source-two')}"`);
    const { code } = await watcher.end();
    expect(code).to.equal(0);
    expect(() => readFileSync(readyFile())).to.throw('ENOENT');
  });

  it('goes on with the others when one cannot, and tells at the end (5)', async () => {
    rmSync(at('source-one'), { recursive: true });
    await watcher.reaches('the end of one', () => watcher.stderr.includes('this directory is not watched any more'));
    put(at('source-two'), 'still-watched', 'x');
    await flush('two');
    expect(watcher.stderr).to.include(`sync-watcher: ${at('source-one')}: `);
    expect((await watcher.end()).code).to.equal(5);
  });

  it('brings all of them to the server with --once', async () => {
    await watcher.end();
    for (const name of NAMES) put(at(`source-${name}`), 'while nobody watched', name);
    const { code, stderr } = await command('--config', at('watcher.toml'), '--once');
    expect(code, stderr).to.equal(0);
    for (const name of NAMES) {
      expect(differencesOf(at(`source-${name}`), at(`replica-${name}`))).to.deep.equal([]);
    }
  });
});
