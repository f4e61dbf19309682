/**
 * `sync-watcher wait` and `events`: what scripts and programs hang on a running watcher.
 */
import { expect } from 'chai';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { BinProgram, REPOSITORY } from '../support/bin-program.ts';
import { usePairs } from '../support/pair-hooks.ts';
import { put, putMany } from '../support/writing.ts';

const linesOf = (text: string) =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('sync-watcher wait', function () {
  this.timeout(60_000);
  const pairs = usePairs();

  it('ends with 0 when the watcher is in step, also when it starts only afterwards', async () => {
    const pair = pairs.prepare({ prepare: ({ source }) => putMany(source, 'files', 20, 1000) });
    await pair.startServer();
    const waiting = pair.command('wait', ...pair.controlArguments, '--timeout', '25s');
    pair.launchWatcher();
    const { code, stdout, stderr } = await waiting;
    expect(code, stderr).to.equal(0);
    expect(stdout).to.match(/^in step · rev \d+\n$/);
    expect(pair.differences()).to.deep.equal([]);
  });

  it('ends with 3 and says what it is instead, when it is not in step in time', async () => {
    const pair = await pairs.start();
    await pair.command('pause', ...pair.controlArguments);
    await pair.statusWhere('paused', ({ state }) => state === 'paused');
    const { code, stderr, milliseconds } = await pair.command('wait', ...pair.controlArguments, '--timeout', '500ms');
    expect(code).to.equal(3);
    expect(stderr).to.equal('sync-watcher: not in step within 500 ms: paused, paused by request\n');
    expect(milliseconds).to.be.greaterThan(500);
    const waiting = pair.command('wait', ...pair.controlArguments);
    await pair.command('resume', ...pair.controlArguments);
    expect((await waiting).code).to.equal(0);
  });

  it('ends with 3 where no watcher runs', async () => {
    const pair = pairs.prepare();
    const { code, stderr } = await pair.command('wait', ...pair.controlArguments, '--timeout', '0');
    expect(code).to.equal(3);
    expect(stderr).to.include('no watcher is running').and.include('--server');
  });

  it('ends with 1 and names what could not be synced', async () => {
    // Root reads everything: then the watcher is somebody else.
    const pair = await pairs.start(process.getuid?.() === 0 ? { watcherUid: 65_534 } : {});
    chmodSync(put(pair.source, 'secret'), 0);
    await pair.statusWhere('a problem', ({ problem_count: count }) => count === 1);
    const { code, stderr } = await pair.command('wait', ...pair.controlArguments);
    expect(code, stderr).to.equal(1);
    expect(stderr).to.include('secret');
  });
});

describe('sync-watcher events', function () {
  this.timeout(60_000);
  const pairs = usePairs();

  it('prints the state, each change, and the end of the watcher (3)', async () => {
    const pair = await pairs.start();
    const events = new BinProgram('sync-watcher', { arguments: ['events', ...pair.controlArguments] });
    await events.reaches('the present state', () => events.stdout.includes('"type":"state"'));
    put(pair.source, 'a file');
    await pair.flush();
    await events.reaches('the change', () => events.stdout.includes('"a file"'));
    const [first, ...others] = linesOf(events.stdout);
    expect(first)
      .to.include({ type: 'state', state: 'in step' })
      .and.have.all.keys('time', 'type', 'state', 'revision', 'reason');
    expect(others.find(({ type }) => type === 'change')).to.include({ operation: 'put', path: 'a file' });
    await pair.watcher.end();
    const { code, stderr } = await events.ended();
    expect(code).to.equal(3);
    expect(stderr).to.match(/^sync-watcher: .*watcher.*\n$/);
  });

  it('ends with 0 when it is told to stop, and when nobody reads any more', async () => {
    const pair = await pairs.start();
    const events = new BinProgram('sync-watcher', { arguments: ['events', ...pair.controlArguments] });
    await events.reaches('the present state', () => events.stdout !== '');
    expect((await events.end('SIGINT')).code).to.equal(0);

    const unread = spawn(join(REPOSITORY, 'bin/sync-watcher'), ['events', ...pair.controlArguments]);
    let stderr = '';
    unread.stderr.on('data', (text) => (stderr += String(text)));
    const ended = once(unread, 'close');
    await once(unread.stdout, 'data');
    unread.stdout.destroy();
    put(pair.source, 'nobody reads this');
    expect(await ended).to.deep.equal([0, null], stderr);
  });
});
