/**
 * SIGHUP, as logrotate and `systemctl reload` send it: to both programs, in the middle of their work.
 */
import { expect } from 'chai';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BinProgram } from '../support/bin-program.ts';
import { usePairs } from '../support/pair-hooks.ts';
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
});
