/**
 * Limits of the kernel reached by the real programs, and sources that do not hold still: a queue of events that runs over,
 * no watches and no descriptors left, files that are replaced while they are read. What a user does to directories in one
 * go is in end-to-end/watching.test.ts.
 */
import { expect } from 'chai';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { skipBecause, usePairs } from '../support/pair-hooks.ts';
import { put, putMany } from '../support/writing.ts';
import { durationMs } from './budget.ts';

const QUEUE_FILE = '/proc/sys/fs/inotify/max_queued_events';
const DIRECTORIES = 60;
/** What Node itself needs, and some. */
const FEW_DESCRIPTORS = 96;
const HOT_FILES = 4;
const HOT_BYTES = 1_500_000;

describe('a limit', function () {
  this.timeout(120_000);
  const pairs = usePairs();

  it('of events that wait: what ran over is found by a scan, nothing is asked of anybody (E27, F25)', async () => {
    const pair = await pairs.start({
      watcherFlags: ['--max-delete', '100%'],
      prepare: ({ source }) => putMany(source, 'before', 300, 100),
    });
    const queued = existsSync(QUEUE_FILE) ? Number(readFileSync(QUEUE_FILE, 'utf8')) : 16_384;
    expect(queued, 'the queue is larger than a test can fill').to.be.below(100_000);
    pair.watcher.signal('SIGSTOP');
    for (let number = 0; number < 200; number++) rmSync(join(pair.source, 'before', `file-${number}`));
    // A new file is three events: made, written, and its directory changed.
    for (let number = 0; number < queued / 2; number++) put(pair.source, `burst/${number}`, '');
    // Nobody is told of these.
    renameSync(join(pair.source, 'before'), join(pair.source, 'after'));
    put(pair.source, 'after/file-250', 'edited after the queue was full');
    rmSync(join(pair.source, 'after', 'file-251'));
    pair.watcher.signal('SIGCONT');
    await pair.follows({}, 60_000);
    await pair.inStep();
  });

  it('of watches: what cannot be watched is polled, it is shown, and all follows (E28, F26)', async function () {
    const limited = 'echo 40 > /proc/sys/user/max_inotify_watches && exec "$0" "$@"';
    try {
      execFileSync('unshare', ['-Ur', 'sh', '-c', limited, 'true'], { stdio: 'ignore' });
    } catch {
      return skipBecause(this, 'user namespaces with limits of their own are not permitted here');
    }
    const pair = await pairs.start({
      watcherWrapper: ['unshare', '-Ur', 'sh', '-c', limited],
      prepare: ({ source }) => {
        for (let number = 0; number < DIRECTORIES; number++) put(source, `d${number}/file`, 'old');
      },
    });
    const { degraded } = await pair.statusWhere('it is shown', (status) => status['degraded'] !== '');
    expect(String(degraded)).to.include('max_user_watches');
    for (let number = 0; number < DIRECTORIES; number++) put(pair.source, `d${number}/file`, `new ${number}`);
    await pair.follows({}, 60_000);
    rmSync(join(pair.source, 'd59'), { recursive: true });
    put(pair.source, 'd58/deep/er/file', 'in a directory that nobody watches');
    await pair.follows({}, 60_000);
    await pair.inStep();
  });

  it('of descriptors: both get along with few, over many directories and large files (E50, F36)', async function () {
    const few = ['prlimit', `--nofile=${FEW_DESCRIPTORS}`];
    try {
      execFileSync('prlimit', ['--nofile=64', 'true'], { stdio: 'ignore' });
    } catch {
      return skipBecause(this, 'there is no prlimit here');
    }
    const pair = await pairs.start({
      serverWrapper: few,
      watcherWrapper: few,
      prepare: ({ source }) => {
        for (let number = 0; number < 300; number++) put(source, `d${number}/e/file`, `${number}`);
      },
    });
    for (let number = 0; number < 300; number += 3) put(pair.source, `d${number}/e/f/file`, `again ${number}`);
    putMany(pair.source, 'large', 12, 400_000);
    renameSync(join(pair.source, 'd1'), join(pair.source, 'd2', 'moved'));
    await pair.follows({}, 60_000);
    await pair.inStep();
  });

  it('of stillness: files replaced, shrunk and removed while they are read never arrive torn (E37, E38, E81, F53)', async () => {
    const pair = await pairs.start();
    const endMs = performance.now() + durationMs(3000);
    let version = 0;
    let seen = 0;
    // Each version is of one byte only: whatever is mixed shows.
    while (performance.now() < endMs) {
      const file = join(pair.source, `hot-${version % HOT_FILES}`);
      writeFileSync(join(pair.base, 'next'), Buffer.alloc(HOT_BYTES - (version % 7) * 100_000, version % 251));
      renameSync(join(pair.base, 'next'), file);
      if (version % 11 === 5) rmSync(file);
      if (version % 11 === 8) truncateSync(file, HOT_BYTES / 3);
      version++;
      await new Promise((resolve) => setTimeout(resolve, 7));
      for (let number = 0; number < HOT_FILES; number++) {
        const there = readIfThere(join(pair.replica, `hot-${number}`));
        if (there === undefined || there.length === 0) continue;
        seen++;
        const first = there[0] ?? 0;
        if (!there.equals(Buffer.alloc(there.length, first))) throw new Error(`hot-${number} is torn`);
      }
    }
    expect(seen).to.be.above(0);
    await pair.follows({}, 30_000);
    await pair.inStep();
  });
});

function readIfThere(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
