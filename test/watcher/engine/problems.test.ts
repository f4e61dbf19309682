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
    expect(problems.addTime(p('a'), 'out of range')).to.equal(true);
    expect(problems.addTime(p('a'), 'out of range')).to.equal(false);
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
