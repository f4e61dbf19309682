/**
 * What scripts rely on: `--once`, `--dry-run`, `flush`, `status` and `verify`, their output and their exit statuses.
 */
import { expect } from 'chai';
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, utimesSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { BinProgram, type Exit, runToEnd } from '../support/bin-program.ts';
import type { Pair } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { noise, put, putMany, run } from '../support/writing.ts';

function fill({ source }: Pair): void {
  putMany(source, 'files', 20, 3000);
  put(source, 'large.bin', noise(400_000, 'large'));
  mkdirSync(join(source, 'empty'));
  symlinkSync('large.bin', join(source, 'link'));
}

/** One sentence that names the thing, and no stack. */
function expectOneSentence({ stderr }: Exit, ...words: readonly string[]): void {
  const lines = stderr.trim().split('\n');
  expect(lines, stderr).to.have.lengthOf(1);
  for (const word of words) expect(stderr).to.include(word);
}

describe('sync-watcher --once', () => {
  const pairs = usePairs();

  async function serverOnly(prepare: (pair: Pair) => void = fill): Promise<Pair> {
    const pair = pairs.prepare({ prepare });
    await pair.startServer();
    return pair;
  }

  it('brings the server to exactly this tree and ends with 0, again and again', async () => {
    const pair = await serverOnly();
    for (let round = 0; round < 3; round++) {
      put(pair.source, `round-${round}`);
      rmSync(join(pair.source, 'files', `file-${round}`));
      const { code, stderr } = await pair.command(...pair.watcherArguments, '--once');
      expect(code, stderr).to.equal(0);
      expect(pair.differences()).to.deep.equal([]);
    }
  });

  it('does the same with --no-durable', async () => {
    const pair = await serverOnly();
    const { code, stderr } = await pair.command(...pair.watcherArguments, '--once', '--no-durable');
    expect(code, stderr).to.equal(0);
    expect(pair.differences()).to.deep.equal([]);
  });

  it('ends with 0 where only FIFOs were skipped, and names them (E15)', async () => {
    const pair = await serverOnly();
    run('mkfifo', [join(pair.source, 'pipe')]);
    const { code, stderr } = await pair.command(...pair.watcherArguments, '--once');
    expect(code, stderr).to.equal(0);
    expect(stderr).to.include('pipe');
    expect(pair.differences()).to.deep.equal([]);
  });

  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    it(`ends with ${status} when ${signal} ends it before all is in step, and so does --dry-run`, async () => {
      const pair = pairs.prepare({ prepare: fill });
      for (const flag of ['--once', '--dry-run']) {
        const args = ['--dir', pair.source, '--server', '127.0.0.1:1', '--state', join(pair.base, flag), flag];
        const program = new BinProgram('sync-watcher', { arguments: args });
        await program.reaches('looking', () => program.stderr.includes('looking once'));
        const { code, stderr } = await program.end(signal);
        expect(code, stderr).to.equal(status);
      }
    });
  }

  it('ends with 2 for a misspelt flag, and proposes the right one', async () => {
    const pair = pairs.prepare();
    const exit = await pair.command('--dir', pair.source, '--server', 'localhost:1', '--onec');
    expect(exit.code).to.equal(2);
    expect(exit.stderr).to.include('--onec').and.include('--once');
  });

  it('ends with 2 without --server, and without --dir', async () => {
    const pair = pairs.prepare();
    const exit = await pair.command('--dir', pair.source, '--once');
    expect(exit.code).to.equal(2);
    expectOneSentence(exit, '--server');
    const other = await pair.command('--server', '127.0.0.1:1', '--once');
    expect(other.code).to.equal(2);
    expectOneSentence(other, '--dir');
  });

  it('ends with 2 where --dir is a file', async () => {
    const pair = pairs.prepare();
    const file = put(pair.source, 'file');
    const exit = await pair.command('--dir', file, '--server', '127.0.0.1:1', '--once');
    expect(exit.code).to.equal(2);
    expectOneSentence(exit, file);
  });

  it('ends with 2 for values that make no sense, and names the flag', async () => {
    const pair = pairs.prepare();
    const cases: readonly (readonly string[])[] = [
      ['--watcher', 'psychic'],
      ['--scan-interval', 'often'],
      ['--max-delete', 'lots'],
      ['--log-level', 'loud'],
      ['--timeout', '-3s'],
    ];
    for (const [flag, value] of cases) {
      const exit = await pair.command('--dir', pair.source, '--server', '127.0.0.1:1', '--once', `${flag}=${value}`);
      expect(exit.code, `${flag}: ${exit.stderr}`).to.equal(2);
      expectOneSentence(exit, flag ?? '');
    }
  });

  it('ends with 3 where nobody listens, after --timeout', async () => {
    const pair = pairs.prepare({ prepare: fill });
    const exit = await pair.command('--dir', pair.source, '--server', '127.0.0.1:9', '--once', '--timeout', '2s');
    expect(exit.code, exit.stderr).to.equal(3);
    expect(exit.milliseconds).to.be.within(1500, 10_000);
    expect(exit.stderr).to.include('127.0.0.1:9');
  });

  it('ends with 3 where somebody listens and never answers, after --timeout', async () => {
    const pair = pairs.prepare({ prepare: fill });
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const address = silent.address();
    const port = typeof address === 'object' ? address?.port : 0;
    try {
      const exit = await pair.command(
        ...['--dir', pair.source, '--server', `127.0.0.1:${port}`, '--once', '--timeout', '2s'],
      );
      expect(exit.code, exit.stderr).to.equal(3);
      expect(exit.milliseconds).to.be.below(10_000);
    } finally {
      silent.close();
    }
  });

  it('ends with 4 for a folder that the server does not have', async () => {
    const pair = await serverOnly();
    const exit = await pair.command(...pair.watcherArguments, '--folder', 'no-such-folder', '--once');
    expect(exit.code, exit.stderr).to.equal(4);
    expect(exit.stderr).to.include('no-such-folder');
  });

  it('ends with 5 where the directory does not exist, and makes it only with --create', async () => {
    const pair = await serverOnly();
    const missing = join(pair.base, 'not-here');
    const flags = ['--dir', missing, '--state', join(pair.base, 'state'), '--server', pair.address, '--once'];
    const exit = await pair.command(...flags);
    expect(exit.code, exit.stderr).to.equal(5);
    expectOneSentence(exit, missing, '--create');
    expect(existsSync(missing)).to.equal(false);
    const created = await pair.command(...flags, '--create');
    expect(created.code, created.stderr).to.equal(0);
    expect(readdirSync(missing)).to.deep.equal([]);
  });
});

describe('sync-watcher --dry-run', () => {
  const pairs = usePairs();

  it('lists what would be sent and sends nothing', async () => {
    const pair = pairs.prepare({ prepare: fill, counting: true });
    await pair.startServer();
    const first = await pair.command(...pair.watcherArguments, '--dry-run');
    expect(first.code, first.stderr).to.equal(0);
    for (const path of ['files/file-0', 'files/file-19', 'large.bin', 'empty', 'link']) {
      expect(first.stdout).to.include(path);
    }
    expect(readdirSync(pair.replica)).to.deep.equal(['.lockstep']);
    expect(pair.proxy.sentBytes).to.be.below(20_000);

    const once = await pair.command(...pair.watcherArguments, '--once');
    expect(once.code, once.stderr).to.equal(0);
    put(pair.source, 'files/file-3', 'edited');
    rmSync(join(pair.source, 'files', 'file-4'));
    const second = await pair.command(...pair.watcherArguments, '--dry-run');
    expect(second.code, second.stderr).to.equal(0);
    expect(second.stdout)
      .to.match(/^>fcst\.{6} files\/file-3$/m)
      .and.match(/^\*deleting {3}files\/file-4$/m);
    expect(second.stdout).to.not.include('large.bin');
    expect(pair.differences()).to.have.length.above(0);

    const third = await pair.command(...pair.watcherArguments, '--once');
    expect(third.code, third.stderr).to.equal(0);
    expect(pair.differences()).to.deep.equal([]);
  });
});

describe('sync-watcher flush', () => {
  const pairs = usePairs();

  it('returns with 0 when all that was on disk is in the replica (E124)', async () => {
    const pair = await pairs.start({ prepare: fill });
    for (let round = 0; round < 5; round++) {
      putMany(pair.source, `flushed-${round}`, 40, 2000);
      const { code, stdout, stderr } = await pair.command('flush', ...pair.controlArguments);
      expect(code, stderr).to.equal(0);
      expect(stdout).to.match(/rev \d+/);
      expect(pair.differences()).to.deep.equal([]);
    }
  });

  it('ends with 3 where no watcher runs, and where it is paused, or the server away, for --timeout', async () => {
    const pair = await pairs.start();
    await pair.command('pause', ...pair.controlArguments);
    put(pair.source, 'gathered.txt');
    const paused = await pair.command('flush', ...pair.controlArguments, '--timeout', '1s');
    expect(paused.code, paused.stderr).to.equal(3);
    expectOneSentence(paused, 'sync-watcher resume');
    await pair.command('resume', ...pair.controlArguments);
    await pair.server.end('SIGKILL');
    put(pair.source, 'late.txt');
    const offline = await pair.command('flush', ...pair.controlArguments, '--timeout', '1s');
    expect(offline.code, offline.stderr).to.equal(3);
    await pair.watcher.end('SIGKILL');
    const nobody = await pair.command('flush', ...pair.controlArguments);
    expect(nobody.code, nobody.stderr).to.equal(3);
    expectOneSentence(nobody, pair.source);
  });
});

describe('sync-watcher status', () => {
  const pairs = usePairs();

  it('tells people and programs whether the pair is in step, and since when', async () => {
    const pair = await pairs.start({ prepare: fill });
    await pair.inStep();
    const status = await pair.statusWhere('in step', ({ in_step }) => in_step === true);
    expect(status).to.include({
      ...{ state: 'in step', directory: pair.source, server: pair.address, folder: 'default', change_source: 'native' },
      ...{
        pending_changes: 0,
        pending_bytes: 0,
        held_deletes: 0,
        problem_count: 0,
        pid: pair.watcher.pid,
        entries: 24,
      },
    });
    expect(status['revision']).to.match(/^[1-9]\d*$/);
    const { code, stdout } = await pair.command('status', ...pair.controlArguments);
    expect(code).to.equal(0);
    expect(stdout)
      .to.match(/^in step for /)
      .and.include(pair.source);
  });

  it('tells what a first sync is doing, how far it is and how long it still takes', async () => {
    const watcherFlags = ['--bandwidth-limit', '200kB/s'];
    const pair = pairs.prepare({ watcherFlags, prepare: ({ source }) => putMany(source, 'files', 200, 20_000) });
    await pair.startServer();
    const watcher = pair.launchWatcher();
    await watcher.reaches('its control socket', () => existsSync(join(pair.watcherState, 'control.sock')));
    const isGoingOn = ({ activity, left_seconds }: Readonly<Record<string, unknown>>) =>
      activity === 'sending' && left_seconds !== null;
    const status = await pair.statusWhere('sending', isGoingOn);
    expect(status).to.include({ first_sync_done: false, scanned_entries: 201 });
    expect(status['bytes_per_second']).to.be.within(20_000, 2_000_000);
    expect(status['left_seconds']).to.be.within(1, 600);
    const { stdout } = await pair.command('status', ...pair.controlArguments);
    expect(stdout).to.match(/^ {2}doing {8}sending · \d+ of 201 entries · \S+ \w+ of 4 MB · .+\/s · .+ left$/m);
  });

  it('says that the server is away, and that it is back', async () => {
    const pair = await pairs.start();
    await pair.server.end('SIGKILL');
    put(pair.source, 'meanwhile.txt');
    const away = await pair.statusWhere('offline', ({ state }) => state === 'offline');
    expect(away['in_step']).to.equal(false);
    expect(away['reason']).to.include(pair.address);
    await pair.startServer();
    await pair.statusWhere('in step', ({ in_step }) => in_step === true);
    expect(pair.differences()).to.deep.equal([]);
  });

  it('ends with 3 where no watcher runs', async () => {
    const pair = pairs.prepare();
    const exit = await pair.command('status', ...pair.controlArguments);
    expect(exit.code).to.equal(3);
    expectOneSentence(exit, pair.source);
  });
});

describe('sync-watcher pause and resume', () => {
  const pairs = usePairs();

  it('hold changes back and let them go', async () => {
    const pair = await pairs.start();
    expect((await pair.command('pause', ...pair.controlArguments)).code).to.equal(0);
    await pair.statusWhere('paused', ({ state }) => state === 'paused');
    put(pair.source, 'gathered.txt');
    await pair.statusWhere('still paused', ({ state }) => state === 'paused');
    expect(existsSync(join(pair.replica, 'gathered.txt'))).to.equal(false);
    expect((await pair.command('resume', ...pair.controlArguments)).code).to.equal(0);
    await pair.follows();
  });
});

describe('verify', () => {
  const pairs = usePairs();

  it('by the watcher ends with 0 where the trees are equal, and with 1 and the differences where not', async () => {
    const pair = await pairs.start({ prepare: fill });
    await pair.inStep();
    const equal = await pair.command('verify', ...pair.watcherArguments);
    expect(equal.code, equal.stdout).to.equal(0);
    await pair.watcher.end();
    put(pair.source, 'files/file-0', 'edited while nobody watches');
    put(pair.source, 'only-here.txt');
    rmSync(join(pair.source, 'files', 'file-1'));
    const different = await pair.command('verify', ...pair.watcherArguments);
    expect(different.code, different.stderr).to.equal(1);
    for (const path of ['files/file-0', 'only-here.txt', 'files/file-1']) expect(different.stdout).to.include(path);
    expect(different.stdout).to.not.include('files/file-2');
  });

  it('by the watcher has the replica read again, and names what somebody else changed there (E95)', async () => {
    const pair = await pairs.start({ prepare: fill });
    await pair.inStep();
    put(pair.replica, 'files/file-0', noise(3000, 'bit rot'));
    rmSync(join(pair.replica, 'files', 'file-1'));
    put(pair.replica, 'files/extra');
    const { code, stdout, stderr } = await pair.command('verify', ...pair.watcherArguments);
    expect(code, stderr).to.equal(1);
    for (const name of ['file-0', 'file-1', 'extra'])
      expect(stdout).to.match(new RegExp(`^replica +files/${name} `, 'm'));
    expect(stdout).to.not.include('files/file-2');
  });

  it('by the server reports what is not as its index says, and --repair makes the next sync bring it back', async () => {
    const pair = await pairs.start({ prepare: fill });
    await pair.inStep();
    await pair.server.end();
    const clean = await serverVerify(pair);
    expect(clean.code, clean.stdout + clean.stderr).to.equal(0);
    // Same size and time: only reading it shows the difference (E98).
    put(pair.replica, 'files/file-0', noise(3000, 'bit rot'));
    utimesSync(join(pair.replica, 'files', 'file-0'), 1, 1);
    rmSync(join(pair.replica, 'files', 'file-1'));
    chmodSync(join(pair.replica, 'files', 'file-2'), 0o700);
    put(pair.replica, 'files/extra');
    const damaged = await serverVerify(pair);
    expect(damaged.code, damaged.stderr).to.equal(1);
    for (const name of ['file-0', 'file-1', 'file-2', 'extra']) expect(damaged.stdout).to.include(`files/${name}`);
    expect(damaged.stdout).to.not.include('files/file-3');
    await serverVerify(pair, '--repair');
    await pair.startServer();
    await pair.follows();
  });
});

async function serverVerify(pair: Pair, ...flags: readonly string[]): Promise<Exit> {
  return runToEnd('sync-server', { arguments: ['verify', '--dir', pair.replica, ...flags] });
}

describe('a state directory below /proc', () => {
  const pairs = usePairs();

  it('is refused with one sentence and status 2 by both programs, instead of being tried for ever', async function () {
    if (!existsSync('/proc/self')) skipBecause(this, 'there is no /proc here');
    const pair = pairs.prepare();
    for (const [name, flags] of [
      ['sync-server', ['--dir', pair.replica, '--listen', '127.0.0.1:0', '--http', 'off']],
      ['sync-watcher', ['--dir', pair.source, '--server', '127.0.0.1:1']],
    ] as const) {
      const exit = await runToEnd(name, { arguments: [...flags, '--state', '/proc/lockstep/state'] });
      expect(exit.code, exit.stderr).to.equal(2);
      expectOneSentence(exit, 'cannot make the state directory /proc/lockstep/state', '--state');
    }
    const token = ['token', 'create', '--scope', 'write', '--dir', pair.replica, '--state', '/proc/lockstep/state'];
    const exit = await runToEnd('sync-server', { arguments: token });
    expect(exit.code, exit.stderr).to.equal(2);
    expectOneSentence(exit, 'cannot make the state directory /proc/lockstep/state', '--state');
  });
});

describe('help and version', () => {
  const pairs = usePairs();

  it('are there for every command', async () => {
    const pair = pairs.prepare();
    const names = ['watch', 'status', 'flush', 'wait', 'events', 'verify', 'doctor', 'pause', 'resume', 'rescan'];
    for (const command of [[], ...names.map((name) => [name])]) {
      const help = await pair.command(...command, '--help');
      expect(help.code).to.equal(0);
      expect(help.stdout).to.include('--dir');
    }
    const version = await pair.command('--version');
    expect(version.stdout).to.match(/^\d+\.\d+\.\d+/);
  });
});
