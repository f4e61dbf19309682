/**
 * What a person sees: the living line, on a pseudo-terminal of util-linux' `script`.
 */
import { expect } from 'chai';
import { BinProgram } from '../support/bin-program.ts';
import { programOnPath } from '../support/on-path.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { noise, put, putMany } from '../support/writing.ts';

/** `$1` columns, the rest is the command. */
const ON_TERMINAL = 'columns=$1; shift; exec script -qec "stty cols $columns; exec ${*@Q}" /dev/null';
const FRAME = '\r\u001b[K';

/** Bytes of "1.2 MB". */
function bytesOf(amount: string, unit: string): number {
  return Number(amount) * 1000 ** ['B', 'kB', 'MB'].indexOf(unit);
}

describe('sync-watcher on a terminal', function () {
  this.timeout(60_000);
  const pairs = usePairs();

  before(function () {
    if (process.platform !== 'linux' || programOnPath('script') === undefined)
      skipBecause(this, "there is no util-linux' script here");
  });

  for (const columns of [80, 40]) {
    it(`shows a first sync that converges, then one living line, in ${columns} columns`, async () => {
      const fill = (source: string) => {
        putMany(source, 'small', 300, 1000);
        for (let number = 0; number < 6; number++) put(source, `large-${number}`, noise(600_000, number));
      };
      const pair = pairs.prepare({ prepare: ({ source }) => fill(source) });
      await pair.startServer();
      const watcher = new BinProgram('sync-watcher', {
        arguments: [...pair.watcherArguments, '--bandwidth-limit', '1500kB/s', '--log-level', 'warn'],
        environment: { NO_COLOR: '1', TERM: 'xterm' },
        wrapper: ['bash', '-c', ON_TERMINAL, 'terminal', String(columns)],
      });
      const frames = () => watcher.stdout.split(FRAME).map((frame) => frame.trim());
      const stepAt = () => /^in step · .*\brev (\d+)/.exec(frames().at(-1) ?? '')?.[1];
      const first = await watcher.reaches('in step', stepAt);
      put(pair.source, 'later');
      await watcher.reaches('the later change', () => Number(stepAt()) > Number(first));
      if (columns === 80)
        expect(frames().at(-1)).to.match(/ · last change (just now|1 s ago) · .* · latency [\d.]+ m?s/);
      await watcher.end('SIGTERM');
      const shown = frames().filter((frame) => frame !== '');

      for (const frame of shown) expect(frame.length, frame).to.be.lessThan(columns);
      expect(watcher.stdout).not.to.match(/\u001b\[[\d;]*m/);
      const sending = shown.filter((frame) => frame.startsWith('sending · '));
      expect(sending.filter((frame) => / · \d+ (s|m.*) left$/.test(frame)).length).to.be.greaterThan(3);
      const done = sending.flatMap((frame) => {
        const [, amount = '', unit = ''] = / · ([\d.]+) (k?M?B) of /.exec(frame) ?? [];
        return amount === '' ? [] : [bytesOf(amount, unit)];
      });
      expect(done.length).to.be.greaterThan(3);
      expect(done).to.deep.equal(done.toSorted((a, b) => a - b));
      expect(done.at(-1)).to.be.greaterThan(2_000_000);
    });
  }

  it('cuts nothing where the width is not known', async () => {
    const pair = pairs.prepare({ prepare: ({ source }) => put(source, 'file') });
    await pair.startServer();
    const watcher = new BinProgram('sync-watcher', {
      arguments: [...pair.watcherArguments, '--once', '--log-level', 'warn'],
      wrapper: ['bash', '-c', ON_TERMINAL, 'terminal', '0'],
    });
    const { code, stdout } = await watcher.ended();
    expect(code, stdout).to.equal(0);
    expect(stdout.split(FRAME).at(-1)).to.match(/^in step · .* · 1 entry/);
    expect(stdout).not.to.include('…');
  });

  it('lists what a dry run would send on lines of their own, and claims nothing', async () => {
    const pair = pairs.prepare({ prepare: ({ source }) => putMany(source, 'files', 3, 10) });
    await pair.startServer();
    const watcher = new BinProgram('sync-watcher', {
      arguments: [...pair.watcherArguments, '--dry-run', '--log-level', 'warn'],
      wrapper: ['bash', '-c', ON_TERMINAL, 'terminal', '80'],
    });
    const { code, stdout } = await watcher.ended();
    expect(code, stdout).to.equal(0);
    const lines = stdout.split(/\r?\n/).map((line) => line.split(FRAME).at(-1));
    expect(lines).to.include('cd+++++++++ files/').and.to.include('>f+++++++++ files/file-2');
    expect(stdout).not.to.include('in step');
  });
});
