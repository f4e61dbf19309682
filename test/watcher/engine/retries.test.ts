import { expect } from 'chai';
import { Retries } from '../../../clients/watcher/engine/retries.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';

const MAX_PATHS = 50_000;

describe('tries that fail in a row', () => {
  let nowMs: number;
  let retries: Retries;
  beforeEach(() => {
    nowMs = 0;
    retries = new Retries(() => nowMs);
  });

  /** How many of so many different paths may be tried once more without a word. */
  function mayDrift(count: number): number {
    let may = 0;
    for (let at = 0; at < count; at++) if (retries.mayDriftAgain(`path-${at}` as TreePath)) may++;
    return may;
  }

  it('have a limit for each path, whatever becomes of the others', () => {
    const path = 'a' as TreePath;
    const answers = Array.from({ length: 12 }, () => retries.mayDriftAgain(path));
    expect(answers.map((may, at) => (may ? 0 : at + 1)).filter((at) => at > 0)).to.deep.equal([10]);
    retries.forget(path);
    expect(Array.from({ length: 5 }, () => retries.mayPlanAgain(path))).to.deep.equal([true, true, true, true, false]);
    retries.forget(path);
    expect(Array.from({ length: 21 }, () => retries.isBusy(path)).indexOf(true)).to.equal(20);
    expect(retries.isBusy(path)).to.equal(false);
  });

  it('come to an end also of more paths than are counted (E123)', () => {
    for (let time = 1; time < 10; time++) expect(mayDrift(MAX_PATHS + 100)).to.equal(MAX_PATHS);
    expect(mayDrift(MAX_PATHS + 100)).to.equal(0);
    expect(retries.isBusy('other' as TreePath)).to.equal(true);
  });

  it('are forgotten after a while: of what is gone nobody says that it went well', () => {
    mayDrift(MAX_PATHS);
    expect(retries.mayPlanAgain('other' as TreePath)).to.equal(false);
    nowMs = 600_000;
    expect(retries.mayPlanAgain('other' as TreePath)).to.equal(true);
    expect(mayDrift(100)).to.equal(100);
  });
});
