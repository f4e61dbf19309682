import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const shutdownModule = fileURLToPath(new URL('../../../common/ops/shutdown.ts', import.meta.url));
const commandLineModule = fileURLToPath(new URL('../../../common/ops/command-line.ts', import.meta.url));

/** A program that says "ready", does what is to be done at once, and what `handler` says when it is asked to stop. */
const startProgram = async (
  handler: string,
  atOnce = '',
): Promise<{ child: ChildProcess; said: (text: string) => Promise<void> }> => {
  const script = `
    const { onTermination } = await import(${JSON.stringify(shutdownModule)});
    const alive = setInterval(() => {}, 1000);
    const dispose = onTermination(${handler});
    console.log('ready');
    ${atOnce}`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += String(chunk);
  });
  const said = async (text: string) => {
    while (!output.includes(text)) await once(child.stdout, 'data');
  };
  await said('ready');
  return { child, said };
};

const exitOf = async (child: ChildProcess) => (await once(child, 'exit'))[0];

describe('termination', () => {
  it('lets the handler end the program cleanly (E116)', async () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const { child, said } = await startProgram(
        `async (signal) => { console.log(signal); clearInterval(alive); dispose(); }`,
      );
      child.kill(signal);
      const exited = exitOf(child);
      await said(signal);
      expect(await exited).to.equal(0);
    }
  });

  it('insists at the second signal: 130 for Ctrl-C twice, 143 for SIGTERM (E116)', async () => {
    for (const [second, status] of [
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      const { child, said } = await startProgram(
        `async () => { console.log('stopping'); await new Promise(() => {}); }`,
      );
      child.kill('SIGINT');
      await said('stopping');
      const exited = exitOf(child);
      child.kill(second);
      expect(await exited).to.equal(status);
    }
  });

  it('listens to Ctrl-Break as to Ctrl-C, which only Windows has (E116)', async () => {
    const { child, said } = await startProgram(
      `async (signal) => { console.log(signal); clearInterval(alive); dispose(); }`,
      `process.emit('SIGBREAK', 'SIGBREAK')`,
    );
    const exited = exitOf(child);
    await said('SIGBREAK');
    expect(await exited).to.equal(0);
  });

  it('ends with status 1 when the handler fails', async () => {
    const { child } = await startProgram(`async () => { process.stderr.write = () => true; throw new Error('no'); }`);
    const exited = exitOf(child);
    child.kill('SIGTERM');
    expect(await exited).to.equal(1);
  });
});

describe('a wrong command line', () => {
  const run = async (...argv: string[]) => {
    const script = `
      const { Command } = await import('commander');
      const { addOptions, exitOnUsageError } = await import(${JSON.stringify(commandLineModule)});
      const { z } = await import('zod');
      const program = exitOnUsageError(new Command('sync-server')).version('1.2.3');
      const declarations = { listen: { flag: '--listen <addr>', description: '', schema: z.string() } };
      addOptions(program.command('serve'), declarations).action(() => console.log('served'));
      await program.parseAsync(${JSON.stringify(argv)}, { from: 'user' });`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: 'pipe',
      cwd: fileURLToPath(new URL('../../..', import.meta.url)),
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += String(chunk)));
    const [status] = await once(child, 'close');
    return { status, output };
  };

  it('ends with status 2 and a suggestion, help and version with 0', async () => {
    expect(await run('serve', '--lisen', 'x'))
      .to.deep.include({ status: 2 })
      .with.property('output')
      .that.includes('--listen');
    expect(await run('serv')).to.deep.include({ status: 2 });
    expect(await run('serve', '--listen')).to.deep.include({ status: 2 });
    expect(await run('--version')).to.deep.equal({ status: 0, output: '1.2.3\n' });
    expect(await run('serve', '--help')).to.deep.include({ status: 0 });
    expect(await run('serve', '--listen', ':1')).to.deep.equal({ status: 0, output: 'served\n' });
  });
});
