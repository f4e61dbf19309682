import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { LockstepError } from '../../../common/ops/errors.ts';
import { openReplica } from '../../../services/sync-server/replica/open-replica.ts';
import type { Replica, VerifyItem } from '../../../services/sync-server/replica/replica.ts';
import { Scrub } from '../../../services/sync-server/replica/scrub.ts';
import { eventually } from '../../support/eventually.ts';
import { CollectedLog, encodeBatch, mkdir, p, put, removeDirectory, temporaryDirectory } from './support.ts';

describe('Scrub', () => {
  const counts = { entries: 3, contentBytes: 100, mismatches: 1, revision: 7n };
  const items: readonly VerifyItem[] = [
    { type: 'mismatch', kind: 'content', path: p('a'), message: 'a has another content' },
    { type: 'progress', counts: { ...counts, entries: 1, contentBytes: 10 } },
    { type: 'summary', counts },
  ];

  it('passes again and again, counts over all passes, and names what it finds (E98)', async () => {
    const logger = new CollectedLog();
    const verify = async function* (): AsyncGenerator<VerifyItem> {
      yield* items;
    };
    const scrub = new Scrub({ verify, logger, intervalMs: 1, bytesPerSecond: 1 });
    try {
      const { passes, ...sums } = await eventually('two passes', () => scrub.counts.passes >= 2 && scrub.counts);
      expect(sums).to.deep.equal({ entries: 3 * passes, contentBytes: 100 * passes, mismatches: passes });
      expect(JSON.stringify(logger)).to.include('a has another content');
    } finally {
      scrub.stop();
    }
  });

  it('tries again after a pass that could not be finished', async () => {
    const logger = new CollectedLog();
    let attempts = 0;
    const verify = async function* (): AsyncGenerator<VerifyItem> {
      if (attempts++ === 0) throw new LockstepError('IO', 'not now');
      yield* items;
    };
    const scrub = new Scrub({ verify, logger, intervalMs: 1, bytesPerSecond: 1 });
    try {
      await eventually('a pass', () => scrub.counts.passes > 0);
      expect(JSON.stringify(logger)).to.include('not now');
    } finally {
      scrub.stop();
    }
  });

  it('ends in the middle of a pass, which then does not count, and of a pause', async () => {
    const stopped: Scrub[] = [];
    let signalOfPass: AbortSignal | undefined;
    const verify = async function* (signal: AbortSignal): AsyncGenerator<VerifyItem> {
      signalOfPass = signal;
      yield* items;
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    };
    for (const intervalMs of [1, 3_600_000]) {
      stopped.push(new Scrub({ verify, logger: new CollectedLog(), intervalMs, bytesPerSecond: 1 }));
    }
    await eventually('the pass', () => signalOfPass);
    for (const scrub of stopped) scrub.stop();
    expect(signalOfPass?.aborted).to.equal(true);
    for (const scrub of stopped) expect(scrub.counts.passes).to.equal(0);
  });
});

describe('a replica that is scrubbed', () => {
  let directory: string;
  let replica: Replica;
  const logger = new CollectedLog();

  async function start(scrub?: { intervalMs: number; bytesPerSecond: number }): Promise<void> {
    directory = temporaryDirectory('/dev/shm');
    replica = await openReplica({ folder: 'default', directory, logger, driftIntervalMs: 3_600_000, scrub });
    const encoded = encodeBatch([mkdir('d'), put('d/a', 'x'.repeat(9000)), put('d/b', 'y')]);
    await replica.applyBatch({ lease: await replica.nextLease(), encoded, form: 'batch', acknowledgement: 'durable' });
  }
  afterEach(async () => {
    await replica.close();
    removeDirectory(directory);
  });

  /** Another content, and nothing else that shows it: as the disk does when it loses bits. */
  function rot(path: string): void {
    const file = join(directory, path);
    const reference = join(directory, '.lockstep', 'reference');
    execFileSync('cp', ['-p', file, reference]);
    const content = readFileSync(file);
    content[0] = (content[0] ?? 0) ^ 1;
    writeFileSync(file, content);
    execFileSync('touch', ['-r', reference, file]);
  }

  it('has what went bad moved to the quarantine, told as drift, and counted (E98)', async () => {
    await start({ intervalMs: 50, bytesPerSecond: 2 ** 30 });
    const drifted: string[] = [];
    replica.onDrift((paths) => drifted.push(...paths));
    rot('d/a');
    await eventually('it is found', () => replica.info().scrub?.mismatches === 1);
    await eventually('it is told', () => drifted.length > 0);
    expect(readdirSync(join(directory, 'd'))).to.deep.equal(['b']);
    const [kept = ''] = readdirSync(join(directory, '.lockstep', 'quarantine'));
    expect(readFileSync(join(directory, '.lockstep', 'quarantine', kept), 'utf8')).to.equal(`y${'x'.repeat(8999)}`);
    expect(await replica.getEntry(p('d/a'))).to.equal(undefined);
    expect(await replica.getEntry(p('d/b'))).to.not.equal(undefined);
    const { passes } = replica.info().scrub ?? { passes: 0 };
    await eventually('another pass', () => (replica.info().scrub?.passes ?? 0) > passes + 1);
    expect(replica.info().scrub?.mismatches).to.equal(1);
  });

  it('leaves what somebody edited where it is: that is drift', async () => {
    await start({ intervalMs: 50, bytesPerSecond: 2 ** 30 });
    writeFileSync(join(directory, 'd', 'a'), 'edited');
    await eventually('it is found', () => replica.info().scrub?.mismatches === 1);
    expect(readFileSync(join(directory, 'd', 'a'), 'utf8')).to.equal('edited');
  });

  it('is read no faster than it may be', async () => {
    await start();
    const startMs = performance.now();
    for await (const _ of replica.verify(
      { path: p(''), repair: false, bytesPerSecond: 100_000 },
      new AbortController().signal,
    ));
    // 9,001 bytes, and 4 KiB for each of three entries.
    expect(performance.now() - startMs).to.be.within(200, 5000);
  });

  it('can be closed while it is read slowly', async () => {
    await start({ intervalMs: 1, bytesPerSecond: 1 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const startMs = performance.now();
    await replica.close();
    expect(performance.now() - startMs).to.be.below(5000);
  });
});
