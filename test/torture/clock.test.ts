/**
 * Wall clocks that jump, on either side and apart from each other: nothing waits by them, and nothing is newer by them.
 */
import { expect } from 'chai';
import { join } from 'node:path';
import { BinProgram } from '../support/bin-program.ts';
import type { Pair } from '../support/pair.ts';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { put } from '../support/writing.ts';
import { Faults, faultsUnavailable } from './faults.ts';
import { fillForRounds, playRound } from './rounds.ts';
import { Witness } from './witness.ts';

const DAY_MS = 24 * 3_600_000;
const AT_ONCE_MS = 4000;

describe('a clock that jumps', function () {
  this.timeout(90_000);
  const pairs = usePairs();
  let server: Faults;
  let watcher: Faults;

  before(function () {
    const reason = faultsUnavailable();
    if (reason !== undefined) skipBecause(this, reason);
  });
  afterEach(() => {
    server.close();
    watcher.close();
  });

  function startedPair(): Promise<Pair> {
    return pairs.start({
      watcherFlags: ['--max-delete', '100%'],
      serverEnvironment: () => server.environment,
      watcherEnvironment: () => watcher.environment,
      prepare: (pair) => {
        server = new Faults(join(pair.base, 'server-faults'), [pair.replica]);
        watcher = new Faults(join(pair.base, 'watcher-faults'), [pair.watcherState, pair.source]);
        fillForRounds(pair);
      },
    });
  }

  it('by a day, forth and back, on either side, changes neither what arrives nor when (E117, F43)', async () => {
    const pair = await startedPair();
    const witness = new Witness(pair.source);
    let round = 0;
    for (const [program, offsetMs] of [
      [server, DAY_MS],
      [watcher, -DAY_MS],
      [server, -DAY_MS],
      [watcher, DAY_MS],
      [server, 0],
      [watcher, 0],
    ] as const) {
      program.setClockOffset(offsetMs);
      const startMs = performance.now();
      put(pair.source, `at-once-${round}`, 'at once');
      witness.note();
      await pair.follows({}, AT_ONCE_MS);
      expect(performance.now() - startMs).to.be.below(AT_ONCE_MS);
      expect(await playRound(pair, witness, round++, () => false)).to.equal(true);
      await pair.inStep();
    }
    const tomorrow = new Date(Date.now() + DAY_MS).toISOString().slice(0, 11);
    expect(pair.server.stderr, 'its clock did jump').to.include(`"time":"${tomorrow}`);
    const { problem_count } = await pair.status();
    expect(problem_count).to.equal(0);
  });

  it('while both are away leaves them in step, and the older edit of the later hour wins nothing (E117, F43)', async () => {
    const pair = await startedPair();
    const witness = new Witness(pair.source);
    for (const [round, offsetMs] of [DAY_MS, -DAY_MS].entries()) {
      await pair.server.end('SIGKILL');
      await pair.watcher.end('SIGKILL');
      server.setClockOffset(offsetMs);
      watcher.setClockOffset(-offsetMs);
      put(pair.source, 'kept/file-1', `edited while both were away in round ${round}`);
      // Somebody changes the replica, later, as its own clock and mtime say.
      put(pair.replica, 'kept/file-1', `drift in round ${round}`);
      witness.note();
      await pair.startServer();
      await pair.startWatcher();
      await pair.follows();
      await pair.inStep();
    }
  });

  it('keeps the lease with the one who has it (E117)', async () => {
    const pair = await startedPair();
    server.setClockOffset(30 * DAY_MS);
    const other = pair.copyOf(pair.source);
    const second = new BinProgram('sync-watcher', {
      arguments: ['--dir', other, '--state', join(pair.base, 'other-state'), '--server', pair.address, '--once'],
    });
    const { code, stderr } = await second.ended();
    expect(code, stderr).to.equal(4);
    put(pair.source, 'still', 'the writer');
    await pair.follows();
  });
});
