/**
 * The processes of the benchmark: what they cost, and that none is left behind.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseStat, parseStatus, processTree } from '../../bench/harness/process/proc-files.ts';
import { ProcessRegistry } from '../../bench/harness/process/running-process.ts';
import { reapedCpuSeconds, UsageMeter } from '../../bench/harness/process/usage.ts';
import { eventually } from '../support/eventually.ts';

describe('/proc', () => {
  it('is read right when the name of the program holds spaces and parentheses', () => {
    const fields = Array.from({ length: 50 }, (_, index) => String(index + 4)).join(' ');
    // The fields 14 to 17 hold their own numbers.
    expect(parseStat(`77 (a b) (c) S ${fields}`)).to.deep.equal({ ownSeconds: 0.29, reapedSeconds: 0.33 });
  });

  it('gives memory in bytes, and none for a process that has ended', () => {
    expect(parseStatus('Name:\tx\nVmHWM:\t  200 kB\nVmRSS:\t  100 kB\n')).to.deep.equal({
      residentBytes: 102_400,
      peakBytes: 204_800,
    });
    expect(parseStatus('Name:\tx\nState:\tZ\n')).to.deep.equal({ residentBytes: 0, peakBytes: 0 });
  });
});

describe('a process of the benchmark', () => {
  let room: string;
  let registry: ProcessRegistry;

  beforeEach(() => {
    room = mkdtempSync(join(tmpdir(), 'bench-process-'));
    registry = new ProcessRegistry();
  });

  afterEach(() => {
    registry.killAll();
    rmSync(room, { recursive: true, force: true });
  });

  const node = (program: string) =>
    ({ name: 'node', command: process.execPath, args: ['-e', program], logFile: join(room, 'log') }) as const;

  it('tells its status and the end of what it printed', async () => {
    const running = registry.start(node("console.error('a reason'); process.exitCode = 3"));
    expect(await running.exited).to.equal(3);
    expect(running.output()).to.equal('a reason');
    expect(running.isRunning).to.equal(false);
  });

  it('fails with what it printed when it was to succeed', async () => {
    let message = '';
    await registry.run(node("console.error('a reason'); process.exitCode = 3")).catch((error: Error) => {
      message = error.message;
    });
    expect(message).to.equal('node ended with status 3: a reason');
  });

  it('ends together with what it started itself', async function () {
    if (!existsSync('/proc/self/task')) this.skip();
    const child = `require('node:child_process').spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6)'])`;
    const running = registry.start(node(`${child}; setInterval(() => {}, 1e6)`));
    const tree = await eventually('the child', () => {
      const members = processTree(running.pid);
      return members.length === 2 && members;
    });
    registry.killAll();
    await running.exited;
    await eventually('the end of both', () => tree.every((pid) => !existsSync(`/proc/${pid}/exe`)));
  });

  it('costs about what it computes, and holds what it holds', async function () {
    if (reapedCpuSeconds() === null) this.skip();
    const before = reapedCpuSeconds() ?? 0;
    const program = `const held = Buffer.alloc(200e6, 1);
      while (process.cpuUsage().user < 300e3) held[0]++;`;
    const running = registry.start(node(program));
    const meter = new UsageMeter(running.pid);
    meter.start();
    await running.exited;
    const { peakBytes } = meter.stop();
    expect((reapedCpuSeconds() ?? 0) - before).to.be.within(0.25, 3);
    expect(peakBytes).to.be.within(200e6, 400e6);
  });
});
