import { expect } from 'chai';
import { Problems } from '../../../clients/watcher/engine/problems.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';

const p = (path: string): TreePath => path as TreePath;

describe('times that cannot be carried', () => {
  let problems: Problems;
  beforeEach(() => {
    problems = new Problems();
  });
  const told = (): readonly string[] => problems.list(10_000).map(({ path, reason }) => `${path} ${reason}`);

  it('stay told of while their entries are in step otherwise, which they do not keep anybody from', () => {
    expect(problems.addTime(p('a'), 'out of range')).to.equal('new');
    expect(problems.addTime(p('a'), 'out of range')).to.equal('known');
    problems.add(p('a'), 'BUSY', 'it changes', 0);
    expect(problems.count).to.equal(1);
    problems.solve(p('a'));
    expect(problems.count).to.equal(0);
    expect(told()).to.deep.equal(['a INVALID_TIME']);
    expect(problems.nextRetryMs).to.equal(undefined);
    problems.solveTime(p('a'));
    expect(told()).to.deep.equal([]);
  });

  it('go with their entries, and with directories above them', () => {
    for (const path of ['d', 'd/a', 'd/e/f', 'd-', 'x']) problems.addTime(p(path), '');
    problems.solveTime(p('d'));
    expect(told()).to.have.lengthOf(4);
    problems.solveTime(p('d'), true);
    expect(told()).to.deep.equal(['d- INVALID_TIME', 'x INVALID_TIME']);
    problems.forget(p('x'));
    problems.forgetAll();
    expect(told()).to.deep.equal([]);
  });

  it('take no room from problems that are waited for', () => {
    for (let at = 0; at < 20_000; at++) problems.addTime(p(`f${at}`), '');
    expect(told()).to.have.lengthOf(1_000);
    problems.add(p('a'), 'BUSY', 'it changes', 0);
    expect(problems.count).to.equal(1);
    problems.solve(p('a'));
    expect(problems.count).to.equal(0);
  });
});

describe('problems', () => {
  let problems: Problems;
  beforeEach(() => {
    problems = new Problems();
  });

  /** Says so of so many paths. Returns how often there was something to tell. */
  function report(count: number, reason = 'PERMISSION_DENIED', nowMs = 0): number {
    let told = 0;
    for (let at = 0; at < count; at++)
      if (problems.add(p(`path-${at}`), reason, 'not to be synced', nowMs) !== 'known') told++;
    return told;
  }

  function solve(count: number): void {
    for (let at = 0; at < count; at++) problems.solve(p(`path-${at}`));
  }

  it('are counted once each, also those that are too many to be named, and told of once (E123)', () => {
    expect(report(10_100)).to.equal(10_001);
    expect(problems.count).to.equal(10_100);
    expect(report(10_100)).to.equal(0);
    expect(problems.count).to.equal(10_100);
    solve(10_099);
    expect(problems.count).to.equal(1);
    solve(10_100);
    expect(problems.count).to.equal(0);
  });

  it('of kinds that are left out are no failures, however many there are (E123)', () => {
    expect(report(10_050, 'UNSUPPORTED_KIND')).to.equal(10_001);
    expect(problems.count).to.equal(0);
    expect(report(10_050, 'UNSUPPORTED_KIND')).to.equal(0);
    problems.forgetAll();
    expect(report(10_050, 'UNSUPPORTED_KIND')).to.equal(0);
    expect(problems.nextRetryMs).to.equal(undefined);
    report(1);
    expect(problems.count).to.equal(1);
  });

  it('beyond those that can be told apart are over when a whole scan has not found them any more (E123)', () => {
    report(110_100);
    expect(problems.count).to.be.within(110_000, 110_100);
    solve(110_100);
    expect(problems.count).to.be.greaterThan(0);
    problems.forgetAll();
    expect(problems.count).to.equal(0);
  });

  it('that a whole scan finds again are no news, and their pauses go on growing', () => {
    expect(report(3, 'PERMISSION_DENIED', 0)).to.equal(3);
    expect(problems.nextRetryMs).to.equal(1_000);
    problems.forgetAll();
    expect(problems.count).to.equal(0);
    expect(report(2, 'PERMISSION_DENIED', 500)).to.equal(0);
    expect(problems.nextRetryMs).to.equal(2_500);
    solve(3);
    expect(report(3, 'PERMISSION_DENIED', 600)).to.equal(3);
    expect(problems.nextRetryMs).to.equal(1_600);
  });

  it('are tried again with growing pauses, whatever comes of a try', () => {
    const pauses: number[] = [];
    report(1);
    for (let nowMs = 0; pauses.length < 8; ) {
      const nextMs = problems.nextRetryMs ?? 0;
      pauses.push(nextMs - nowMs);
      nowMs = nextMs;
      expect(problems.takeDue(nowMs)).to.have.lengthOf(1);
      if (pauses.length % 2 === 0) report(1, 'PERMISSION_DENIED', nowMs);
    }
    expect(pauses).to.deep.equal([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
  });

  it('pause what they are about, named or not, until they are solved', () => {
    report(10_001);
    for (const at of [0, 10_000]) expect(problems.isPaused(p(`path-${at}`))).to.equal(true);
    expect(problems.isPaused(p('path-10001'))).to.equal(false);
    solve(10_001);
    for (const at of [0, 10_000]) expect(problems.isPaused(p(`path-${at}`))).to.equal(false);
  });
});
