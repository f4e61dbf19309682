import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { BurstDetector } from '../../../clients/watcher/observe/burst-detector.ts';
import { DirtySet } from '../../../clients/watcher/observe/dirty-set.ts';
import { IgnoreRules } from '../../../clients/watcher/observe/ignore-rules.ts';
import { eventQueueLength, watchLimitAdvice } from '../../../clients/watcher/observe/inotify-limits.ts';
import { NativeSource } from '../../../clients/watcher/observe/native-source.ts';
import { type ObserverTurn, TurnGatherer } from '../../../clients/watcher/observe/turn-gatherer.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { until } from './observing.ts';

describe('BurstDetector', () => {
  function burst(detector: BurstDetector, events: number): void {
    for (let n = 0; n < events; n++) detector.count();
  }

  it('reports a turn with more than a quarter of the queue, and no smaller one', () => {
    const detector = new BurstDetector(100);
    burst(detector, 24);
    expect(detector.endTurn(0)).to.equal(undefined);
    burst(detector, 24);
    expect(detector.endTurn(1)).to.equal(undefined);
    burst(detector, 25);
    expect(detector.isBursting).to.equal(true);
    expect(detector.endTurn(2)).to.equal(0);
    expect(detector.isBursting).to.equal(false);
    expect(detector.endTurn(3)).to.equal(undefined);
  });

  it('reports once a second while it goes on, and once more at the end', () => {
    const detector = new BurstDetector(100);
    const reportedAtMs: number[] = [];
    for (let nowMs = 0; nowMs <= 3000; nowMs += 100) {
      if (nowMs <= 1500) burst(detector, 50);
      if (detector.endTurn(nowMs) === 0) reportedAtMs.push(nowMs);
    }
    expect(reportedAtMs).to.deep.equal([0, 1000, 2000]);
  });
});

describe('TurnGatherer', () => {
  const turns: ObserverTurn[] = [];
  const gatherer = new TurnGatherer((turn) => turns.push(turn), 16_384);
  const dir = 'd' as TreePath;
  after(() => gatherer.close());

  it('makes one message of what one turn of the loop brings', async () => {
    for (const name of ['a', 'b', 'a']) gatherer.onHint(dir, name);
    gatherer.onCookie(7);
    gatherer.beforeTurnEnd(() => gatherer.onHint(dir, 'c'));
    await until(() => turns.length > 0, 'a turn');
    expect(turns[0]?.hints.directories).to.deep.equal([{ dir, names: ['a', 'b', 'c'] }]);
    expect(turns[0]?.cookies).to.deep.equal([{ id: 7, scanNeeded: false }]);
    gatherer.onTurnTaken();
  });

  it('holds hints back, bounded, while nobody takes them (E34)', async () => {
    turns.length = 0;
    for (let n = 0; n < 1000; n++) {
      gatherer.onHint(dir, `f${n}`);
      await nextTurn();
    }
    expect(turns.length).to.equal(64);
    gatherer.onTurnTaken();
    await until(() => turns.length === 65, 'the rest');
    expect(turns[64]?.hints.directories).to.deep.equal([{ dir, names: 'all' }]);
  });
});

describe('the kernel limits', function () {
  this.timeout(60_000);
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'overflow-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it('are told of with commands that the system has', () => {
    expect(watchLimitAdvice('ENOSPC', 2, 'linux')).to.match(/^the limit of inotify watches .* run: sysctl/);
    expect(watchLimitAdvice('EMFILE', 2, 'darwin')).to.equal(
      'the system refuses further watches (EMFILE), 2 directories are polled every few seconds; raise ulimit -n',
    );
  });

  it('asks for a scan of everything when the event queue ran over (E27)', async () => {
    using root = SafeRoot.open(directory);
    const dirty = new DirtySet();
    const gatherer = new TurnGatherer(({ hints }) => {
      dirty.addBatch(hints);
      gatherer.onTurnTaken();
    }, eventQueueLength());
    const source = new NativeSource({ root, rules: new IgnoreRules([]), events: gatherer });
    await source.start();
    writeFileSync(join(directory, 'one'), '');
    await until(() => !dirty.isEmpty, 'a hint');
    expect(dirty.takeAll().everything).to.equal(undefined);
    // This thread is the observer's here, and blocked meanwhile. Two events for each file: more than the queue holds.
    const files = eventQueueLength() / 2 + 1000;
    for (let n = 0; n < files; n++) writeFileSync(join(directory, `f${n}`), '');
    await until(() => dirty.everything !== undefined, 'a scan of everything');
    expect(dirty.everything?.cause.detail).to.contain('dropped');
    await source.close();
    gatherer.close();
  });

  it('lets go of the watches of deleted directories by itself', async () => {
    for (let n = 0; n < 50; n++) mkdirSync(join(directory, `d${n}`, 'sub'), { recursive: true });
    using root = SafeRoot.open(directory);
    const gatherer = new TurnGatherer(() => gatherer.onTurnTaken(), eventQueueLength());
    const source = new NativeSource({ root, rules: new IgnoreRules([]), events: gatherer, pollIntervalMs: 20 });
    await source.start();
    expect(source.watchCount).to.equal(101);
    for (let n = 0; n < 49; n++) rmSync(join(directory, `d${n}`), { recursive: true });
    await until(() => source.watchCount === 3, 'only what is left is watched');
    await source.close();
    expect(source.watchCount).to.equal(0);
    gatherer.close();
  });

  it('takes up a directory again that was elsewhere for a long time', async () => {
    const outside = mkdtempSync(join(tmpdir(), 'lockstep-outside-'));
    mkdirSync(join(directory, 'd', 'sub'), { recursive: true });
    using root = SafeRoot.open(directory);
    const dirty = new DirtySet();
    const gatherer = new TurnGatherer(({ hints }) => {
      dirty.addBatch(hints);
      gatherer.onTurnTaken();
    }, eventQueueLength());
    const source = new NativeSource({ root, rules: new IgnoreRules([]), events: gatherer, pollIntervalMs: 20 });
    await source.start();
    renameSync(join(directory, 'd'), join(outside, 'd'));
    await until(() => source.watchCount === 1, 'only the root is watched');
    dirty.takeAll();
    renameSync(join(outside, 'd'), join(directory, 'd'));
    await until(() => source.watchCount === 2, 'it is watched again');
    // All below: its watches are gone, and the inode says nothing new.
    await until(() => dirty.takeAll().directories.some(({ scope }) => scope === 'subtree'), 'a look at all below');
    await source.close();
    gatherer.close();
    rmSync(outside, { recursive: true });
  });

  it('polls what it cannot watch, says what to do, and recovers (E28)', async function () {
    try {
      execFileSync('unshare', ['-Ur', 'sh', '-c', 'echo 40 > /proc/sys/user/max_inotify_watches'], { stdio: 'ignore' });
    } catch {
      process.stdout.write('      skipped: user namespaces with limits of their own are not permitted here\n');
      this.skip();
    }
    const script = fileURLToPath(new URL('./limited-watches.ts', import.meta.url));
    const command = 'echo 40 > /proc/sys/user/max_inotify_watches && exec "$0" "$@"';
    const child = spawn('unshare', ['-Ur', 'sh', '-c', command, process.execPath, script, directory]);
    let output = '';
    child.stdout.on('data', (chunk) => (output += String(chunk)));
    child.stderr.on('data', (chunk) => (output += String(chunk)));
    const status = await new Promise((resolve) => child.once('close', resolve));
    expect(status, output).to.equal(0);
    expect(output).to.match(/native: .*sysctl fs\.inotify\.max_user_watches=\d+/);
    expect(output).to.match(/chokidar: .*sysctl fs\.inotify\.max_user_watches=\d+/);
  });
});
