/**
 * Either program may be killed at any moment, and the tree may change while it is away: in step again, without sending
 * what the server has.
 */
import { expect } from 'chai';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CHANGE_SOURCES, type Pair } from '../support/pair.ts';
import { usePairs } from '../support/pair-hooks.ts';
import { differencesOf } from '../support/tree-oracle.ts';
import { noise, put, putMany } from '../support/writing.ts';
import { RandomTree, seedOfRun } from '../support/workloads.ts';

const FILES = 100;
const FILE_BYTES = 20_000;
const LARGE_BYTES = 2_000_000;
const CONTENT_BYTES = FILES * FILE_BYTES + LARGE_BYTES;

function fill(pair: Pair): void {
  putMany(pair.source, 'data/files', FILES, FILE_BYTES);
  put(pair.source, 'data/large.bin', noise(LARGE_BYTES, 'large'));
}

function change(pair: Pair, round: number): void {
  const files = join(pair.source, 'data', 'files');
  put(files, `file-${round}`, `edited in round ${round}`);
  rmSync(join(files, `file-${round + 10}`));
  renameSync(join(files, `file-${round + 20}`), join(pair.source, `renamed-${round}`));
  mkdirSync(join(pair.source, `new-${round}`));
  put(pair.source, `new-${round}/file`);
}

for (const changeSource of CHANGE_SOURCES) {
  describe(`a restart (${changeSource})`, () => {
    const pairs = usePairs();

    it('of a server that was killed: what changed meanwhile follows, and nothing else is sent', async () => {
      const pair = await pairs.start({ changeSource, counting: true, prepare: fill });
      const sentBytes = await pair.proxy.sentDuring(async () => {
        for (let round = 0; round < 3; round++) {
          await pair.server.end('SIGKILL');
          change(pair, round);
          await pair.startServer();
          await pair.follows();
        }
        await pair.inStep();
      });
      expect(sentBytes).to.be.below(CONTENT_BYTES / 10);
    });

    it('of a watcher that was killed: what changed meanwhile follows, and nothing else is sent', async () => {
      const pair = await pairs.start({ changeSource, counting: true, prepare: fill });
      const sentBytes = await pair.proxy.sentDuring(async () => {
        for (let round = 0; round < 3; round++) {
          await pair.watcher.end('SIGKILL');
          change(pair, round);
          await pair.startWatcher();
          expect(pair.differences()).to.deep.equal([]);
        }
        await pair.inStep();
      });
      expect(sentBytes).to.be.below(CONTENT_BYTES / 10);
    });

    it('of both, in either order, while the tree changes', async () => {
      const pair = await pairs.start({ changeSource, counting: true, prepare: fill });
      const sentBytes = await pair.proxy.sentDuring(async () => {
        for (let round = 0; round < 2; round++) {
          await pair.server.end('SIGKILL');
          change(pair, round);
          await pair.watcher.end('SIGKILL');
          change(pair, round + 5);
          if (round === 0) {
            await pair.startServer();
            await pair.startWatcher();
          } else {
            const watcher = pair.launchWatcher();
            await watcher.reaches('offline', () => watcher.stderr.includes(pair.address));
            await pair.startServer();
            await pair.follows();
          }
          await pair.inStep();
        }
      });
      expect(sentBytes).to.be.below(CONTENT_BYTES / 10);
    });

    it('in the middle of a burst, at random moments, loses nothing', async function () {
      const seed = seedOfRun();
      const pair = await pairs.start({ changeSource, prepare: fill });
      const tree = new RandomTree(pair.source, seed);
      try {
        for (let round = 0; round < 6; round++) {
          const killAfterMs = tree.random.below(150);
          const burst = tree.mutateOverTime(300);
          await new Promise((resolve) => setTimeout(resolve, killAfterMs));
          const victim = tree.random.below(3);
          if (victim !== 1) await pair.server.end('SIGKILL');
          if (victim !== 0) await pair.watcher.end('SIGKILL');
          if (victim !== 1) await pair.startServer();
          if (victim !== 0) await pair.startWatcher();
          await burst;
          await pair.inStep();
        }
      } catch (error) {
        throw new Error(`with LOCKSTEP_TEST_SEED=${seed}: ${String(error)}`);
      }
    });
  });
}

describe('a connection that breaks', () => {
  const pairs = usePairs();

  it('in the middle of a large content is taken up where it was', async () => {
    const sizeBytes = 40_000_000;
    const pair = await pairs.start({ counting: true });
    const { proxy } = pair;
    const before = proxy.sentBytes;
    put(pair.source, 'large.bin', noise(sizeBytes, 'cut'));
    for (const share of [0.2, 0.5, 0.8]) {
      await pair.watcher.reaches(`${share} of it are sent`, () => proxy.sentBytes - before > share * sizeBytes);
      proxy.cut();
    }
    await pair.inStep();
    // Each cut may cost what was on its way: the windows of the connection.
    expect(proxy.sentBytes - before).to.be.below(sizeBytes * 1.6);
  });

  it('again and again does not lose a change', async () => {
    const pair = await pairs.start({ counting: true });
    for (let round = 0; round < 8; round++) {
      putMany(pair.source, `round-${round}`, 40, 5000);
      if (round > 0) renameSync(join(pair.source, `round-${round - 1}`), join(pair.source, `moved-${round - 1}`));
      await new Promise((resolve) => setTimeout(resolve, round * 7));
      pair.proxy.cut();
    }
    await pair.inStep();
  });
});

describe('what a flush has answered', () => {
  const pairs = usePairs();

  it('is visible at once and survives the death of the server (E124)', async () => {
    const pair = await pairs.start();
    for (let round = 0; round < 3; round++) {
      putMany(pair.source, `round-${round}`, 30, 3000);
      put(pair.source, `round-${round}/large`, noise(700_000, round));
      await pair.flush();
      await pair.server.end('SIGKILL');
      expect(pair.differences()).to.deep.equal([]);
      const held = pair.copyOfReplica();
      await pair.startServer();
      expect(differencesOf(held, pair.replica)).to.deep.equal([]);
    }
    await pair.inStep();
  });
});
