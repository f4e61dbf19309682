import { mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { MassDeleteGuard } from '../../../clients/watcher/observe/mass-delete-guard.ts';
import { judgeRoot, RootGuard } from '../../../clients/watcher/observe/root-guard.ts';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { LockstepError } from '../../../common/ops/errors.ts';

const SAME = { indexEntries: 100, listedEntries: 10, identityBefore: 'a', identityNow: 'a', sameRun: true };

function reasonOf(run: () => void): string | undefined {
  try {
    run();
  } catch (error) {
    return error instanceof LockstepError ? error.reason : String(error);
  }
  return undefined;
}

describe('judgeRoot', () => {
  it('is content with the same directory', () => {
    expect(judgeRoot(SAME)).to.equal('fine');
    expect(judgeRoot({ ...SAME, sameRun: false })).to.equal('fine');
    expect(judgeRoot({ ...SAME, indexEntries: 0, identityBefore: undefined })).to.equal('fine');
  });

  it('stops when the root is gone or another one within a run (E52)', () => {
    expect(judgeRoot({ ...SAME, identityNow: undefined })).to.equal('missing');
    expect(judgeRoot({ ...SAME, identityNow: 'b' })).to.equal('replaced');
  });

  it('compares fully when it is another one after a restart, or when nothing is remembered (E53)', () => {
    expect(judgeRoot({ ...SAME, identityNow: 'b', sameRun: false })).to.equal('compare-fully');
    expect(judgeRoot({ ...SAME, identityBefore: undefined })).to.equal('compare-fully');
  });

  it('suspects a root that was emptied, but not one that held a handful (E52)', () => {
    expect(judgeRoot({ ...SAME, listedEntries: 0 })).to.equal('suspicious-empty');
    expect(judgeRoot({ ...SAME, listedEntries: 0, sameRun: false, identityNow: 'b' })).to.equal('suspicious-empty');
    expect(judgeRoot({ ...SAME, listedEntries: 0, indexEntries: 5 })).to.equal('fine');
    expect(judgeRoot({ ...SAME, listedEntries: undefined })).to.equal('fine');
  });
});

describe('RootGuard', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'root-guard-'));
    mkdirSync(join(directory, 'root'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  it('notices that the root was moved away or replaced (E52)', () => {
    using root = SafeRoot.open(join(directory, 'root'));
    const guard = new RootGuard(root);
    expect(reasonOf(() => guard.check())).to.equal(undefined);
    renameSync(join(directory, 'root'), join(directory, 'away'));
    expect(reasonOf(() => guard.check())).to.equal('ROOT_MISSING');
    mkdirSync(join(directory, 'root'));
    expect(reasonOf(() => guard.check())).to.equal('ROOT_REPLACED');
    rmSync(join(directory, 'root'), { recursive: true });
    renameSync(join(directory, 'away'), join(directory, 'root'));
    expect(reasonOf(() => guard.check())).to.equal(undefined);
  });

  it('stops at an empty listing of a tree that was not empty', () => {
    using root = SafeRoot.open(join(directory, 'root'));
    const guard = new RootGuard(root);
    expect(reasonOf(() => guard.checkListing(0, 1000))).to.equal('ROOT_REPLACED');
    expect(reasonOf(() => guard.checkListing(0, 3))).to.equal(undefined);
    expect(reasonOf(() => guard.checkListing(1, 1000))).to.equal(undefined);
  });

  it('knows itself again in the next run (E53)', () => {
    using root = SafeRoot.open(join(directory, 'root'));
    using other = SafeRoot.open(directory);
    const { identity } = new RootGuard(root);
    expect(new RootGuard(root).judgeRemembered(identity, 10, 10)).to.equal('fine');
    expect(new RootGuard(other).judgeRemembered(identity, 10, 10)).to.equal('compare-fully');
  });
});

describe('MassDeleteGuard', () => {
  it('holds more than half of the tree, but never less than 1,000 by default (E54)', () => {
    expect(new MassDeleteGuard().admit(1000, 1000, 0)).to.equal('go');
    expect(new MassDeleteGuard().admit(1001, 1500, 0)).to.equal('hold');
    expect(new MassDeleteGuard().admit(5000, 10_000, 0)).to.equal('go');
    expect(new MassDeleteGuard().admit(5001, 10_000, 0)).to.equal('hold');
  });

  it('tells the limit in entries', () => {
    const limitOf = (guard: MassDeleteGuard, count: number, total: number) => {
      expect(guard.admit(count, total, 0)).to.equal('hold');
      return guard.limitEntries;
    };
    expect(limitOf(new MassDeleteGuard(), 5000, 5001)).to.equal(2500);
    expect(limitOf(new MassDeleteGuard(), 1500, 1500)).to.equal(1000);
    expect(limitOf(new MassDeleteGuard({ limit: { kind: 'entries', entries: 3 }, floorEntries: 0 }), 4, 9)).to.equal(3);
  });

  it('adds small rounds up, and forgets them after a minute', () => {
    const guard = new MassDeleteGuard({ limit: { kind: 'entries', entries: 10 }, floorEntries: 0 });
    expect(guard.admit(6, 100, 0)).to.equal('go');
    expect(guard.admit(4, 94, 1000)).to.equal('go');
    expect(guard.admit(1, 90, 2000)).to.equal('hold');
    expect(guard.admit(6, 90, 60_500)).to.equal('go');
    expect(guard.admit(1, 84, 60_600)).to.equal('hold');
  });

  it('measures the share by the tree as it was when the deletes began', () => {
    const guard = new MassDeleteGuard({ limit: { kind: 'percent', percent: 50 }, floorEntries: 0 });
    let left = 100;
    while (guard.admit(1, left, 0) === 'go') left--;
    expect(left).to.equal(50);
  });

  it('lets go what a person confirmed, and no more', () => {
    const guard = new MassDeleteGuard({ limit: { kind: 'entries', entries: 10 }, floorEntries: 0 });
    expect(guard.admit(50, 100, 0)).to.equal('hold');
    expect(guard.heldCount).to.equal(50);
    guard.confirm();
    expect(guard.admit(30, 100, 1)).to.equal('go');
    expect(guard.admit(31, 70, 2)).to.equal('hold');
    expect(guard.admit(30, 70, 2)).to.equal('go');
    expect(guard.admit(1, 70, 3)).to.equal('hold');
  });

  it('counts what was let go and refused by the server when it is tried again, and not twice (E54)', () => {
    const guard = new MassDeleteGuard({ limit: { kind: 'entries', entries: 1000 }, floorEntries: 0 });
    expect(guard.admit(300, 5000, 0)).to.equal('go');
    expect(guard.admit(600, 4700, 1)).to.equal('go');
    guard.notMade(600);
    expect(guard.admit(600, 4700, 2)).to.equal('go');
    expect(guard.admit(101, 4100, 3)).to.equal('hold');
    guard.confirm();
    expect(guard.admit(101, 4100, 4)).to.equal('go');
    guard.notMade(101);
    expect(guard.admit(101, 4100, 5)).to.equal('go');
    expect(guard.admit(101, 4000, 6)).to.equal('hold');
  });

  it('goes on by itself when the files came back', () => {
    const guard = new MassDeleteGuard({ limit: { kind: 'entries', entries: 10 }, floorEntries: 0 });
    expect(guard.admit(50, 100, 0)).to.equal('hold');
    expect(guard.admit(2, 100, 1)).to.equal('go');
    expect(guard.heldCount).to.equal(0);
  });
});
