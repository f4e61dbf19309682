/**
 * What both programs give way to others with, read back from the system for each of their threads.
 */
import { expect } from 'chai';
import { readdirSync } from 'node:fs';
import { programOnPath } from '../support/on-path.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { put, run } from '../support/writing.ts';

describe('--io-priority', () => {
  const pairs = usePairs();

  it('is that of every thread of a server and of a watcher at work', async function () {
    if (process.platform !== 'linux' || programOnPath('ionice') === undefined) skipBecause(this, 'there is no ionice');
    const pair = await pairs.start({
      serverFlags: ['--io-priority', '6'],
      environment: { LOCKSTEP_IO_PRIORITY: 'idle' },
      prepare: ({ source }) => void put(source, 'file'),
    });
    await pair.inStep();
    const prioritiesOf = (pid: number | undefined) => {
      const threads = readdirSync(`/proc/${pid}/task`);
      // The main thread's, and those of workers and pools.
      expect(threads.length).to.be.greaterThan(3);
      const told = run('ionice', ['-p', ...threads])
        .trim()
        .split('\n');
      return [...new Set(told.map((line) => line.replace(/^\d+: /, '')))];
    };
    expect(prioritiesOf(pair.server.pid)).to.deep.equal(['best-effort: prio 6']);
    expect(prioritiesOf(pair.watcher.pid)).to.deep.equal(['idle']);
    const printed = await pair.command('watch', ...pair.watcherArguments, '--print-config');
    expect(printed.stdout).to.match(/^io-priority = "idle" +# .*LOCKSTEP_IO_PRIORITY/m);
    const wrong = await pair.command('watch', ...pair.watcherArguments, '--io-priority', '9');
    expect(wrong.code).to.equal(2);
    expect(wrong.stderr).to.contain('"9" is no I/O priority; write idle, or a number from 0 (first) to 7 (last)');
  });
});
