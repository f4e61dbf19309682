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

  function start(): ChildProcess {
    run = spawn(process.execPath, [join(REPOSITORY, 'scripts/run-pair.ts')], {
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
});
