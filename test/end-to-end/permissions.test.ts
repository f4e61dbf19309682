/**
 * Both programs under Node's permission model, with the flags that docs/security.md names: no inspector, no native addons, no WASI, and
 * no child processes of the watcher.
 */
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { runToEnd } from '../support/bin-program.ts';
import { pages } from '../support/documents.ts';
import { eventually } from '../support/eventually.ts';
import { usePairs } from '../support/pair-hooks.ts';
import { noise, put } from '../support/writing.ts';

/** As docs/security.md has them. */
const FLAGS = '--permission --allow-fs-read=* --allow-fs-write=* --allow-worker --disable-warning=SecurityWarning';
const CHILDREN = '--allow-child-process';
/** From Node 25 on connections are denied as well, and later no file can be synced without a command. */
const isNewer = process.allowedNodeEnvironmentFlags.has('--allow-net');
const MORE = isNewer ? ' --allow-net' : '';
const SERVER = { NODE_OPTIONS: `${FLAGS} ${CHILDREN}${MORE}` };
const WATCHER = { NODE_OPTIONS: isNewer ? SERVER.NODE_OPTIONS : FLAGS };

describe("both programs under Node's permission model", function () {
  this.timeout(120_000);
  const pairs = usePairs();
  const start = () =>
    pairs.start({
      serverEnvironment: () => SERVER,
      watcherEnvironment: () => WATCHER,
      serverFlags: ['--log-level', 'debug'],
      prepare: ({ source }) => {
        for (let number = 0; number < 200; number++) put(source, `d${number % 10}/f${number}`, `content ${number}`);
        put(source, 'large', noise(3_000_000, 'permissions'));
        symlinkSync('elsewhere', join(source, 'link'));
        chmodSync(join(source, 'd1'), 0o711);
        utimesSync(join(source, 'd2/f2'), 1, 1_000_000_000);
      },
    });

  it('keep a tree in step, also after a crash, and sync the replica in the end', async () => {
    const pair = await start();
    await pair.inStep();
    appendFileSync(join(pair.source, 'large'), noise(300_000, 'more'));
    copyFileSync(join(pair.source, 'large'), join(pair.source, 'copy'));
    renameSync(join(pair.source, 'd3'), join(pair.source, 'moved'));
    rmSync(join(pair.source, 'd4'), { recursive: true });
    chmodSync(join(pair.source, 'd5/f5'), 0o600);
    utimesSync(join(pair.source, 'd6/f6'), 1, 1_100_000_000);
    linkSync(join(pair.source, 'd7/f7'), join(pair.source, 'd7/name'));
    await pair.inStep();
    await pair.server.end('SIGKILL');
    mkdirSync(join(pair.source, 'new/deep'), { recursive: true });
    put(pair.source, 'new/deep/file', 'written while the server was away');
    await pair.startServer();
    await pair.inStep();
    const { code, stdout, stderr } = await pair.server.end();
    expect(code).to.equal(0);
    expect(stdout + stderr).to.not.include('no checkpoint');
  });

  it('let nobody attach a debugger', async () => {
    const pair = await start();
    const programs = [pair.server, pair.watcher];
    for (const program of programs) program.signal('SIGUSR1');
    put(pair.source, 'after', 'the signal');
    await pair.inStep();
    for (const program of programs) expect(program.stderr).to.not.include('Debugger listening');
  });

  it('say what they are missing', async () => {
    const { server, watcher } = {
      server: ['--dir', 'nowhere', '--listen', '127.0.0.1:0', '--http', 'off'],
      watcher: ['--dir', '.', '--server', '127.0.0.1:1'],
    };
    const without = (flag: string) => ({ NODE_OPTIONS: SERVER.NODE_OPTIONS.replace(flag, '') });
    const said = async (...parameters: Parameters<typeof runToEnd>): Promise<string> => {
      const { code, stderr } = await runToEnd(...parameters);
      expect(code).to.equal(2);
      return stderr;
    };
    for (const [flag, missing] of [
      ['--allow-child-process', 'sync-server, which syncs the replica by `sync -f`, needs --allow-child-process'],
      ['--allow-worker', 'sync-server needs --allow-worker'],
    ] as const)
      expect(await said('sync-server', { arguments: server, environment: without(flag) })).to.include(missing);
    const hook = isNewer ? watcher : [...watcher, '--on-synced', 'true'];
    expect(await said('sync-watcher', { arguments: hook, environment: without(CHILDREN) })).to.include(
      `${isNewer ? 'syncing files' : '--on-synced'} needs --allow-child-process`,
    );
  });

  it('are documented with these flags', () => {
    const text = pages().find(({ path }) => path === 'docs/security.md')?.text;
    expect(text).to.include(`NODE_OPTIONS='${FLAGS}' sync-watcher`);
    expect(text).to.include(`NODE_OPTIONS='${FLAGS} ${CHILDREN}' sync-server`);
  });
});

describe("programs without Node's permission model", function () {
  this.timeout(60_000);
  const pairs = usePairs();

  it('do open a debugger when they are told to, which is what the model keeps from happening', async () => {
    const pair = await pairs.start({ serverEnvironment: () => ({ NODE_OPTIONS: '--inspect-port=0' }) });
    pair.server.signal('SIGUSR1');
    await eventually('the debugger listens', () => pair.server.stderr.includes('Debugger listening'));
  });
});
