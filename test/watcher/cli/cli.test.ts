import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { defaultStateDirectory } from '../../../clients/watcher/status/state-directory.ts';
import { digestOf } from '../../../common/content/digest.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { ChangeProblemKind } from '../../../gen/lockstep/sync/v1/change.ts';
import { MismatchKind } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { EntryKind } from '../../../gen/lockstep/sync/v1/entry.ts';
import { eventually } from '../../support/eventually.ts';
import { FakeServer, type FakeServerScript } from '../../support/fake-server.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
import { WatcherProcess } from './run-watcher.ts';

describe('sync-watcher', function () {
  this.timeout(40_000);
  let base: string;
  let directory: string;
  let environment: Record<string, string>;
  let server: FakeServer | undefined;
  const processes: WatcherProcess[] = [];

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-cli-'));
    directory = join(base, 'watched');
    mkdirSync(directory);
    environment = { XDG_STATE_HOME: join(base, 'state') };
  });

  afterEach(async () => {
    for (const started of processes.splice(0)) await started.kill('SIGKILL');
    await server?.stop();
    server = undefined;
    rmSync(base, { recursive: true, force: true });
  });

  /** An empty folder that takes everything. */
  async function serve(script: FakeServerScript = {}): Promise<string> {
    server = new FakeServer({ onCompare: () => [{}], ...script });
    return (await server.start()).text;
  }

  function start(args: readonly string[], more: Record<string, string> = {}): WatcherProcess {
    const started = new WatcherProcess(args, { ...environment, ...more });
    processes.push(started);
    return started;
  }

  const run = (args: readonly string[], more?: Record<string, string>) => start(args, more).finished;

  describe('refuses with one sentence', () => {
    const usage: [string, () => string[], RegExp][] = [
      ['without a server', () => ['--dir', directory], /--server is required/],
      ['without a directory', () => ['--server', ':1'], /--dir is required/],
      ['with an unknown flag', () => ['--sever', ':1'], /--server/],
      ['with an address that is none', () => ['--dir', directory, '--server', 'nonsense'], /not an address/],
      ['a file for a directory (E10)', () => ['--dir', '/etc/hostname', '--server', ':1'], /not a directory/],
      [
        'a state directory inside the tree (E11)',
        () => ['--dir', directory, '--server', ':1', '--state', join(directory, 's')],
        /inside/,
      ],
      [
        'a directory for the ready file',
        () => ['--dir', directory, '--server', ':1', '--once', '--ready-file', base],
        /^sync-watcher: cannot replace the ready file .* \(E[A-Z]+\); give another --ready-file\n$/,
      ],
    ];
    for (const [when, args, text] of usage) {
      it(`${when}: exit 2`, async () => {
        const { code, stderr } = await run(args());
        expect(stderr).to.match(text);
        expect(stderr).not.to.match(/\n {4}at /);
        expect(code).to.equal(2);
      });
    }

    it('a replica, or what lies in one (E11): exit 2', async () => {
      mkdirSync(join(directory, '.lockstep'));
      writeFileSync(join(directory, '.lockstep', 'index.db'), '');
      mkdirSync(join(directory, 'inner'));
      for (const dir of [directory, join(directory, 'inner')]) {
        const { code, stderr } = await run(['--dir', dir, '--server', ':1']);
        expect(stderr).to.contain('replica');
        expect(code).to.equal(2);
      }
    });

    it('a directory that is not there (E52): exit 5, unless --create', async () => {
      const missing = join(base, 'missing');
      expect((await run(['--dir', missing, '--server', ':1', '--once'])).code).to.equal(5);
      const address = await serve();
      expect((await run(['--dir', missing, '--server', address, '--once', '--create'])).code).to.equal(0);
      expect(existsSync(missing)).to.equal(true);
    });

    it('what is not there, with the reason once', async () => {
      const missing = join(base, 'missing');
      const server = ['--server', ':1'];
      const file = join(missing, 'file');
      const why = `${file}: ENOENT: no such file or directory`;
      const sentences: [readonly string[], string][] = [
        [['--dir', directory, ...server, '--token-file', file], `cannot read --token-file ${why}`],
        [['--dir', directory, ...server, '--ca', file], `cannot read --ca ${why}`],
        [['--dir', directory, ...server, '--log-file', file], `cannot open --log-file ${why}`],
        [['--config', file], `cannot read the configuration file ${why}`],
        [['verify', '--dir', missing, ...server], `${missing} does not exist`],
      ];
      for (const [args, sentence] of sentences) {
        expect((await run(args)).stderr).to.equal(`sync-watcher: ${sentence}\n`);
      }
    });

    it('a token that others can read (S41): exit 2', async () => {
      const file = join(base, 'token');
      writeFileSync(file, 'secret\n');
      chmodSync(file, 0o644);
      const { code, stderr } = await run(['--dir', directory, '--server', ':1', '--token-file', file]);
      expect(stderr).to.contain('chmod 600');
      expect(code).to.equal(2);
    });

    it('a server that is not there: exit 3 after --timeout', async () => {
      for (const command of ['--once', 'verify']) {
        const args = [command, '--dir', directory, '--server', '127.0.0.1:1', '--timeout', '300ms'];
        const { code, stderr } = await run(args);
        expect(stderr).to.match(/ within 300 ms \(connect ECONNREFUSED 127\.0\.0\.1:1\); is it running\?\n$/);
        expect(code).to.equal(3);
      }
    });

    it('a server that refuses: exit 4', async () => {
      const refusals: [FakeServerScript, RegExp][] = [
        [{ token: 'secret' }, /token/],
        [{ folders: ['photos'] }, /"default".*"photos"/],
        [{ onAcquire: () => new LockstepError('LEASE_HELD', 'held by host2:/x:9') }, /host2/],
      ];
      for (const [script, text] of refusals) {
        const address = await serve(script);
        const { code, stderr } = await run(['--dir', directory, '--server', address]);
        expect(stderr).to.match(text);
        expect(code).to.equal(4);
        await server?.stop();
      }
    });
  });

  it('gets its options from the environment and a file as well', async () => {
    const address = await serve({ token: 'secret' });
    const file = join(base, 'watcher.toml');
    writeFileSync(file, `dir = "${directory}"\nonce = true\n`);
    const { code } = await run(['--config', file], { LOCKSTEP_SERVER: address, LOCKSTEP_TOKEN: 'secret' });
    expect(code).to.equal(0);
  });

  describe('where its output cannot be written', () => {
    const FULL = '>/dev/full';
    /** A pipe whose reader has ended before the program begins. */
    const UNREAD = '>&3';
    const runInto = (output: string, args: readonly string[]) =>
      new Promise<{ code: number | null; stderr: string }>((resolve, reject) => {
        const script = `exec 3> >(:); wait $!; exec "$@" ${output}`;
        const main = join(import.meta.dirname, '../../../clients/watcher/main.ts');
        const child = spawn('bash', ['-c', script, 'bash', process.execPath, main, ...args], {
          env: { ...process.env, ...environment },
          stdio: ['ignore', 'ignore', 'pipe'],
        });
        let stderr = '';
        child.stderr.on('data', (data) => (stderr += String(data)));
        child.once('error', reject);
        child.once('close', (code) => resolve({ code, stderr }));
      });

    const commands = [['verify'], ['--dry-run', '--log-level', 'silent'], ['--help']];

    beforeEach(() => {
      for (let number = 0; number < 20; number++) writeFileSync(join(directory, `file-${number}`), '');
    });

    for (const command of commands) {
      it(`${command[0]} ends silently when nobody reads any more`, async () => {
        const address = await serve();
        const { code, stderr } = await runInto(UNREAD, [...command, '--dir', directory, '--server', address]);
        expect({ code, stderr }).to.deep.equal({ code: 141, stderr: '' });
      });

      it(`${command[0]} says in one sentence that the disk is full`, async function () {
        if (!existsSync('/dev/full')) skipBecause(this, 'there is no /dev/full here');
        const address = await serve();
        const { code, stderr } = await runInto(FULL, [...command, '--dir', directory, '--server', address]);
        expect(stderr).to.equal('sync-watcher: cannot write to standard output: ENOSPC\n');
        expect(code).to.equal(1);
      });
    }

    it('--progress json says so once, and the work goes on', async function () {
      if (!existsSync('/dev/full')) skipBecause(this, 'there is no /dev/full here');
      const address = await serve();
      const args = ['--once', '--progress', 'json', '--log-level', 'silent', '--dir', directory, '--server', address];
      const { code, stderr } = await runInto(FULL, args);
      expect(stderr).to.equal(
        'sync-watcher: the progress cannot be written to standard output: ENOSPC; the work goes on without it\n',
      );
      expect(code).to.equal(0);
    });
  });

  it('--once sends what the server lacks and ends with 0', async () => {
    writeFileSync(join(directory, 'small'), 'content');
    const large = Buffer.alloc(300_000, 'x');
    writeFileSync(join(directory, 'large'), large);
    const address = await serve();
    const ready = join(base, 'ready');
    const { code, stderr } = await run(['--dir', directory, '--server', address, '--once', '--ready-file', ready]);
    expect(stderr).to.contain('"op":"put","path":"small"');
    expect(code).to.equal(0);
    expect(server?.contents.has(digestOf('blake3', large).toString('hex'))).to.equal(true);
    expect(JSON.parse(readFileSync(ready, 'utf8')).revision).to.match(/^\d+$/);
    expect(server?.halfCloses).to.equal(1);
  });

  it('--once begins another session for what an answer has made necessary', async () => {
    writeFileSync(join(directory, 'small'), 'content');
    const kind = ChangeProblemKind.CHANGE_PROBLEM_KIND_CONTENT_NEEDED;
    const problem = { index: 0, kind, path: 'small', reason: 'CONTENT_NOT_FOUND', message: 'made to be missing' };
    const address = await serve({
      answersAtEnd: true,
      onBatch: (_batch, number) => (number === 1 ? { problems: [problem] } : undefined),
    });
    const { code, stderr } = await run(['--dir', directory, '--server', address, '--once']);
    expect(code, stderr).to.equal(0);
    expect(stderr).to.contain('"op":"put","path":"small"').and.not.contain('trying again');
    expect(server?.acquisitions).to.have.length(2);
    expect(server?.halfCloses).to.equal(2);
  });

  it('--once sends what the server finds drifted again and again some times, and names it then', async () => {
    writeFileSync(join(directory, 'small'), 'content');
    const kind = ChangeProblemKind.CHANGE_PROBLEM_KIND_DRIFTED;
    const problem = { index: 0, kind, path: 'small', reason: 'DRIFTED', message: 'small is not what it should be' };
    const address = await serve({ onBatch: () => ({ problems: [problem] }) });
    const { code, stderr } = await run(['--dir', directory, '--server', address, '--once']);
    expect(code, stderr).to.equal(1);
    expect(stderr).to.contain('small is not what it should be');
    expect(server?.batches).to.have.length.within(2, 20);
  });

  it('--dry-run prints the plan, takes no lease and sends nothing', async () => {
    writeFileSync(join(directory, 'a.txt'), 'hello\n');
    mkdirSync(join(directory, 'd'));
    const address = await serve();
    const { code, stdout } = await run(['--dir', directory, '--server', address, '--dry-run', '--log-level', 'warn']);
    expect(stdout).to.match(/^>f\+{9} a\.txt$/m);
    expect(stdout).to.match(/^cd\+{9} d\/$/m);
    expect(code).to.equal(0);
    expect(server?.batches).to.have.length(0);
    expect(server?.acquisitions).to.have.length(0);
  });

  it('watches, answers status and flush, and stops at SIGTERM with its lease given back (E116)', async () => {
    const address = await serve();
    const ready = join(base, 'ready');
    const watcher = start(['--dir', directory, '--server', address, '--ready-file', ready]);
    await eventually('the ready file', () => existsSync(ready), 15_000);
    writeFileSync(join(directory, 'new'), 'content');
    const flushed = await run(['flush', '--dir', directory]);
    expect(flushed.stderr).to.equal('');
    expect(flushed.stdout).to.match(/^in step · rev \d+\n$/);
    expect(flushed.code).to.equal(0);
    const status = await run(['status', '--dir', directory, '--json']);
    expect(JSON.parse(status.stdout)).to.include({ state: 'in step', in_step: true, entries: 1, problem_count: 0 });
    const second = await run(['--dir', directory, '--server', address]);
    expect(second.stderr).to.contain(`process id ${watcher.child.pid}`);
    expect(second.code).to.equal(4);
    const startedMs = performance.now();
    expect((await watcher.kill('SIGTERM')).code).to.equal(0);
    expect(performance.now() - startedMs).to.be.lessThan(10_000);
    expect(server?.halfCloses).to.equal(1);
  });

  it('waits for a server that comes later, and comes back to one that was restarted (E111)', async () => {
    const address = await serve();
    const port = Number(address.split(':')[1]);
    await server?.stop();
    const watcher = start(['--dir', directory, '--server', address]);
    await watcher.logged('trying again');
    await server?.start(port);
    await eventually('a lease', () => (server?.acquisitions.length ?? 0) > 0, 15_000);
    await eventually('a stream', () => (server?.openChanges ?? 0) > 0);
    await server?.stop();
    await server?.start(port);
    await eventually('a second lease', () => (server?.acquisitions.length ?? 0) > 1, 15_000);
    writeFileSync(join(directory, 'after'), 'content');
    await watcher.logged('"path":"after"');
  });

  it('stops with 4 when another watcher has taken over (E106, E108)', async () => {
    const watcher = start(['--dir', directory, '--server', await serve()]);
    await eventually('a stream', () => (server?.openChanges ?? 0) > 0, 15_000);
    server?.endChanges(new LockstepError('LEASE_STALE', 'a newer lease was given out'));
    const { code, stderr } = await watcher.finished;
    expect(stderr).to.contain('--take-over');
    expect(code).to.equal(4);
  });

  it('says that no watcher runs: exit 3', async () => {
    for (const command of ['status', 'flush', 'pause', 'resume', 'rescan']) {
      const { code, stderr } = await run([command, '--dir', directory]);
      expect(stderr).to.contain('no watcher is running');
      expect(code).to.equal(3);
    }
  });

  describe('verify', () => {
    const file = (path: string, content: string) => ({
      path,
      kind: EntryKind.ENTRY_KIND_FILE,
      mode: 0o644,
      mtimeNs: 1_000_000_000_000_000_000n,
      size: BigInt(content.length),
      digest: digestOf('blake3', Buffer.from(content)),
      target: Buffer.alloc(0),
      owner: undefined,
    });

    function write(path: string, content: string): void {
      writeFileSync(join(directory, path), content);
      chmodSync(join(directory, path), 0o644);
      utimesSync(join(directory, path), 1e9, 1e9);
    }

    beforeEach(() => {
      write('a', 'same');
      write('b', 'same');
      chmodSync(directory, 0o755);
    });

    it('is silent about equal trees', async () => {
      utimesSync(directory, 0, 0);
      const address = await serve({ entries: [file('a', 'same'), file('b', 'same')] });
      const { code, stdout, stderr } = await run(['verify', '--dir', directory, '--server', address]);
      expect(stdout).to.equal('');
      expect(stderr).to.contain('2 entries and 8 B compared: no difference');
      expect(code).to.equal(0);
    });

    it('prints each difference and ends with 1', async () => {
      write('c', 'only here');
      symlinkSync('there', join(directory, 'e'));
      write('x.tmp', 'not managed');
      utimesSync(directory, 0, 0);
      const link = {
        ...file('e', ''),
        kind: EntryKind.ENTRY_KIND_SYMLINK,
        digest: Buffer.alloc(0),
        target: Buffer.from('here'),
      };
      const entries = [
        file('a', 'other'),
        { ...file('b', 'same'), mode: 0o600 },
        file('d', 'only there'),
        link,
        file('y.tmp', ''),
      ];
      const mismatches = [
        { kind: MismatchKind.MISMATCH_KIND_CONTENT, path: 'n\n', message: 'n\n has another content' },
      ];
      const address = await serve({ entries, mismatches });
      const { code, stdout } = await run(['verify', '--dir', directory, '--server', address, '--exclude', '*.tmp']);
      const lines = stdout
        .trim()
        .split('\n')
        .map((line) => line.replace(/ +/g, ' '));
      expect(lines).to.deep.equal([
        'replica n\\x0a (n\\x0a has another content)',
        'content a',
        'mode b (644 here, 600 there)',
        'only here c',
        'only there d',
        'target e',
      ]);
      expect(code).to.equal(1);
    });
  });

  it('finds the same state directory by every name of the watched one', () => {
    symlinkSync(directory, join(base, 'link'));
    const byLink = defaultStateDirectory(join(base, 'link'), environment);
    expect(byLink).to.equal(defaultStateDirectory(`${directory}/../watched/`, environment));
    expect(byLink).to.match(/\/state\/lockstep\/watched-[0-9a-f]{16}$/);
    const local = { ...environment, LOCALAPPDATA: '/users/me/AppData/Local' };
    expect(defaultStateDirectory(directory, local, 'win32')).to.match(
      /^\/users\/me\/AppData\/Local\/lockstep\/watched-/,
    );
    expect(defaultStateDirectory(directory, environment, 'win32')).to.match(/\/AppData\/Local\/lockstep\/watched-/);
  });
});
