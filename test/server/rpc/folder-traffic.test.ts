/**
 * What a server remembers of a folder's traffic for those who look at it.
 */
import { expect } from 'chai';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { CompressedBatch } from '../../../gen/lockstep/sync/v1/change.ts';
import type { AppliedBatch, AppliedProblem } from '../../../services/sync-server/replica/replica.ts';
import { type ChangeSummary, plainBatchBytes } from '../../../services/sync-server/rpc/batch-summary.ts';
import { FolderProblems } from '../../../services/sync-server/rpc/folder-problems.ts';
import { type AnsweredBatch, FolderTraffic } from '../../../services/sync-server/rpc/folder-traffic.ts';

const put = (path: string): ChangeSummary => ({ operation: 'put', path, from: undefined, sizeBytes: 1 });
const problem = (index: number, path: string, kind: AppliedProblem['kind'] = 'failed'): AppliedProblem => {
  return { index, kind, path: path as TreePath, reason: 'NO_SPACE', message: `no room for ${path}` };
};
const applied = (revision: bigint, ...problems: readonly AppliedProblem[]): AppliedBatch => {
  return { batchId: Buffer.alloc(16), revision, durable: true, problems };
};

describe('folder traffic', () => {
  it('knows what waits, and for how long the oldest has been waiting', () => {
    const traffic = new FolderTraffic('default');
    expect([traffic.lagMs, traffic.queuedBytes]).to.deep.equal([0, 0]);
    const leave = [traffic.queued(10), traffic.queued(5)];
    expect(traffic.queuedBytes).to.equal(15);
    expect(traffic.lagMs).to.be.at.least(0);
    leave[0]?.();
    leave[0]?.();
    expect(traffic.queuedBytes).to.equal(5);
    leave[1]?.();
    expect([traffic.lagMs, traffic.queuedBytes]).to.deep.equal([0, 0]);
  });

  it('tells listeners what was applied, and asks for paths only while there are any', () => {
    const traffic = new FolderTraffic('default');
    expect(traffic.needsPaths).to.equal(false);
    const heard: AnsweredBatch[] = [];
    const stop = traffic.onAnswered((batch) => heard.push(batch));
    expect(traffic.needsPaths).to.equal(true);
    traffic.answered([put('a'), put('b')], applied(1n, problem(0, 'a', 'content-needed')), 2);
    stop();
    traffic.answered([put('c')], applied(2n), 2);
    expect(heard.map(({ changes }) => changes.map(({ path }) => path))).to.deep.equal([['b']]);
    expect(traffic.totals.changes).to.equal(2);
    expect(traffic.needsPaths).to.equal(false);
  });

  it('keeps a problem until a change of its path was applied', () => {
    const traffic = new FolderTraffic('default');
    traffic.answered([put('a%FF'), put('b')], applied(1n, problem(0, 'a\u{ff}'), problem(1, 'b')), 1);
    expect(traffic.problems.map(({ path }) => path)).to.deep.equal(['b', 'a\u{ff}']);
    expect(traffic.needsPaths).to.equal(true);
    traffic.answered([put('a%FF')], applied(2n), 1);
    expect(traffic.problems.map(({ path }) => path)).to.deep.equal(['b']);
  });

  it('shows verifications that run, and the last one when none does', () => {
    const traffic = new FolderTraffic('default');
    const running = traffic.beginVerification();
    running.reached({ entries: 3, contentBytes: 4, mismatches: 1 });
    expect(traffic.verifications).to.have.length(1);
    expect(traffic.verifications[0]).to.deep.include({ endedAtMs: undefined });
    running.end();
    expect(traffic.verifications[0]?.endedAtMs).to.be.a('number');
    expect(traffic.verifications[0]?.counts.entries).to.equal(3);
  });
});

describe('folder problems', () => {
  it('are counted by path, bounded, and forgotten after an hour without another', () => {
    let nowMs = 0;
    const problems = new FolderProblems(() => nowMs);
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 150; i++) problems.add(problem(0, `path-${i}`));
      nowMs += 1000;
    }
    expect(problems.list()).to.have.length(100);
    problems.add(problem(0, 'path-149'));
    expect(problems.list()[0]).to.deep.include({ path: 'path-149', count: 2, firstMs: 1000, lastMs: 2000 });
    nowMs += 3_600_001;
    expect(problems.list()).to.have.length(0);
  });
});

describe('plain length of a batch', () => {
  it('is the one that its sender names, and never more than a batch may have', () => {
    const lengthOf = (size: bigint) =>
      plainBatchBytes(
        CompressedBatch.encode({ compressor: 1, size, data: Buffer.alloc(9) }).finish(),
        'compressed',
        100,
      );
    expect(lengthOf(50n)).to.equal(50);
    expect(lengthOf(1n << 60n)).to.equal(100);
    expect(plainBatchBytes(Buffer.alloc(7), 'batch', 100)).to.equal(7);
    expect(plainBatchBytes(Buffer.from([255, 255]), 'compressed', 100)).to.equal(2);
  });
});
