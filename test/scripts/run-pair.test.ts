import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { REPOSITORY } from '../support/bin-program.ts';
import { eventually } from '../support/eventually.ts';

describe('make run', function () {
  this.timeout(60_000);
  let base: string;
  let run: ChildProcess | undefined;
  let output = '';

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-run-'));
    output = '';
  });

  afterEach(async () => {
    if (run !== undefined && run.exitCode === null) {
      run.kill('SIGINT');
      await new Promise((ended) => run?.once('close', ended));
    }
    rmSync(base, { recursive: true, force: true });
  });

  function start(...args: readonly string[]): ChildProcess {
    run = spawn(process.execPath, [join(REPOSITORY, 'scripts/run-pair.ts'), ...args], {
      cwd: base,
      env: { ...process.env, CDIR: '', SDIR: '', NO_COLOR: '1' },
    });
    for (const stream of [run.stdout, run.stderr]) stream?.on('data', (data) => (output += String(data)));
    return run;
  }

  it('makes both directories, says what to try, keeps them in step, and stops both on Ctrl-C', async () => {
    const child = start();
    await eventually('what to try', () => output.includes('echo hello > dir/client/hello.txt'), 30_000);
    writeFileSync(join(base, 'dir/client/hello.txt'), 'hello\n');
    mkdirSync(join(base, 'dir/client/sub'));
    renameSync(join(base, 'dir/client/hello.txt'), join(base, 'dir/client/sub/hello.txt'));
    const copy = join(base, 'dir/server/sub/hello.txt');
    await eventually('the file in the replica', () => existsSync(copy) && readFileSync(copy, 'utf8') === 'hello\n');
    child.kill('SIGINT');
    const code = await new Promise((ended) => child.once('close', ended));
    expect(code, output).to.equal(0);
    expect(output).to.match(/^server {2}│ /m);
    expect(output).to.match(/^watcher │ /m);
  });

  it('refuses in one sentence what it does not know, and what is no directory', async () => {
    const file = join(base, 'file');
    writeFileSync(file, '');
    const refusals: [readonly string[], RegExp][] = [
      [['--bogus'], /^run-pair: Unknown option '--bogus'; there are --cdir DIR and --sdir DIR\n$/],
      [['--cdir'], /^run-pair: .*; there are --cdir DIR and --sdir DIR\n$/],
      [['--cdir', file], /^run-pair: .*\/file is, or lies below, .* not a directory; give another --cdir\n$/],
      [['--sdir', join(file, 'below')], /^run-pair: .*\/file\/below is, .* not a directory; give another --sdir\n$/],
    ];
    for (const [args, text] of refusals) {
      output = '';
      const child = start(...args);
      const code = await new Promise((ended) => child.once('close', ended));
      expect(output).to.match(text);
      expect(code).to.equal(2);
    }
  });
});
