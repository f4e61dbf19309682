/**
 * SIGHUP, as logrotate and `systemctl reload` send it: to both programs, in the middle of their work.
 */
import { expect } from 'chai';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BinProgram, REPOSITORY } from '../support/bin-program.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { put } from '../support/writing.ts';

describe('SIGHUP', function () {
  this.timeout(60_000);
  const pairs = usePairs();

  async function reloads(program: BinProgram, log: string, config: string): Promise<void> {
    renameSync(log, `${log}.1`);
    writeFileSync(config, 'log-level = "debug"\ninsecure = true\n');
    program.signal('SIGHUP');
    const line = await program.reaches(
      'it is reloaded',
      () => existsSync(log) && /.*needs_restart.*/.exec(readFileSync(log, 'utf8'))?.[0],
    );
    expect(JSON.parse(line)).to.deep.include({ reloaded: ['log-file', 'log-level'], needs_restart: ['insecure'] });

    writeFileSync(config, 'log-levl = "debug"\n');
    program.signal('SIGHUP');
    await program.reaches('the wrong key', () => readFileSync(log, 'utf8').includes('unknown key'));
  }

  it('opens the log anew, takes the log level over, and names what needs a restart', async () => {
    const place = (name: string) => (base: string) => join(base, name);
    const files = { log: place('log'), config: place('config.toml') };
    const pair = pairs.prepare();
    const flags = (name: string) => {
      writeFileSync(`${files.config(pair.base)}-${name}`, 'log-level = "info"\n');
      return ['--log-file', `${files.log(pair.base)}-${name}`, '--config', `${files.config(pair.base)}-${name}`];
    };
    await pair.startServer(flags('server'));
    await pair.startWatcher(flags('watcher'));
    for (const [name, program] of [
      ['server', pair.server],
      ['watcher', pair.watcher],
    ] as const) {
      await reloads(program, `${files.log(pair.base)}-${name}`, `${files.config(pair.base)}-${name}`);
      expect(program.stderr).to.equal('');
    }
    put(pair.source, 'afterwards');
    await pair.inStep();
    for (const name of ['server', 'watcher']) {
      expect(readFileSync(`${files.log(pair.base)}-${name}`, 'utf8')).to.include('afterwards');
      expect(readFileSync(`${files.log(pair.base)}-${name}.1`, 'utf8')).not.to.include('afterwards');
    }
    expect((await pair.watcher.end()).code).to.equal(0);
    expect((await pair.server.end()).code).to.equal(0);
  });

  it('takes the levels of areas over', async () => {
    const pair = pairs.prepare();
    const config = (program: string) => join(pair.base, `${program}.toml`);
    const levels = { server: 'warn,rpc=info', watcher: 'warn,status=info' };
    for (const [program, level] of Object.entries(levels)) {
      writeFileSync(config(program), `log-level = "${level}"\n`);
    }
    await pair.startServer(['--config', config('server')]);
    await pair.startWatcher(['--config', config('watcher')]);
    put(pair.source, 'first');
    await pair.flush();
    const roomsOf = (text: string) =>
      [...text.matchAll(/^\{.*"msg":"(?:put|mkdir|metadata) .*$/gm)].map(([line]) => JSON.parse(line)['room']);
    expect(new Set(roomsOf(pair.server.stderr))).to.deep.equal(new Set(['rpc']));
    expect(new Set(roomsOf(pair.watcher.stderr))).to.deep.equal(new Set(['status']));
    expect(pair.server.stderr + pair.watcher.stderr).not.to.match(/"msg":"(ready|connected)/);

    for (const program of ['server', 'watcher'] as const) {
      writeFileSync(
        config(program),
        'log-level = "info,rpc=warn"\n'.replace('rpc', program === 'server' ? 'rpc' : 'status'),
      );
      pair[program].signal('SIGHUP');
      await pair[program].reaches('it is reloaded', () => pair[program].stderr.includes('needs_restart'));
    }
    put(pair.source, 'second');
    await pair.flush();
    for (const program of ['server', 'watcher'] as const) {
      expect(pair[program].stderr).to.include('put first').and.not.include('put second');
    }
  });

  it('takes over what is to be left out, and what no longer is', async () => {
    const pair = pairs.prepare({
      prepare: ({ source, base }) => {
        put(source, 'directory/a.tmp', 'first');
        put(source, 'b.txt');
        put(source, 'hidden/deep/file');
        writeFileSync(join(base, 'config.toml'), 'exclude = ["hidden/"]\n');
      },
    });
    const inReplica = (path: string) => join(pair.replica, path);
    await pair.startServer();
    await pair.startWatcher(['--config', join(pair.base, 'config.toml')]);
    expect(existsSync(inReplica('hidden'))).to.equal(false);

    writeFileSync(join(pair.base, 'config.toml'), 'exclude = ["*.tmp"]\ntimeout = "5s"\nmetrics = "127.0.0.1:0"\n');
    pair.watcher.signal('SIGHUP');
    const line = await pair.watcher.reaches('it is reloaded', () => /.*needs_restart.*/.exec(pair.watcher.stderr)?.[0]);
    expect(JSON.parse(line)).to.deep.include({ reloaded: ['exclude'], needs_restart: ['timeout', 'metrics'] });
    await pair.flush();
    expect(readFileSync(inReplica('hidden/deep/file'), 'utf8')).to.equal('hidden/deep/file');
    // What is below a directory that was left out is watched from now on; what is left out now stays as it was.
    put(pair.source, 'hidden/deep/later');
    put(pair.source, 'directory/a.tmp', 'second');
    await pair.flush();
    expect(existsSync(inReplica('hidden/deep/later'))).to.equal(true);
    expect(readFileSync(inReplica('directory/a.tmp'), 'utf8')).to.equal('first');
    const { rescans } = (await pair.status()) as { rescans: { whole: Record<string, number> } };
    expect(rescans.whole).to.deep.equal({ start: 1, excludes: 1 });
  });

  it('of a terminal that is closed is a clean stop, wherever the log goes', async function () {
    const python = spawnSync('python3', ['-c', 'import pty'], { stdio: 'ignore' });
    if (python.status !== 0) skipBecause(this, 'there is no python3 to make a terminal');
    const pair = pairs.prepare();
    const ready = join(pair.base, 'ready');
    const args = [
      join(REPOSITORY, 'bin/sync-server'),
      '--dir',
      pair.replica,
      '--listen',
      '127.0.0.1:0',
      '--http',
      'off',
    ];
    for (const log of [[], ['--log-file', join(pair.base, 'log')]]) {
      const { stdout, stderr } = spawnSync(
        'python3',
        ['-c', CLOSED_TERMINAL, ready, ...args, '--ready-file', ready, ...log],
        {
          encoding: 'utf8',
          timeout: 30_000,
        },
      );
      expect(stdout, stderr).to.equal('0\n');
    }
    expect(readFileSync(join(pair.base, 'log'), 'utf8')).not.to.include('"level":"error"');
  });
});

/** Starts a program on a terminal of its own, closes that when the program is ready, and prints its exit status. */
const CLOSED_TERMINAL = `
import os, pty, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[2], sys.argv[2:])
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;
