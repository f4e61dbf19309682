/**
 * What `make torture` is asked for in the environment.
 */
import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { REPOSITORY } from '../support/bin-program.ts';

const SHOW = `
  import { casesOf, durationMs, seedsOf } from './test/torture/budget.ts';
  console.log(JSON.stringify({ seeds: seedsOf(600), cases: casesOf(8), durationMs: durationMs(5_000) }));
`;

function budgetFor(environment: Readonly<Record<string, string>>): {
  readonly status: number | null;
  readonly said: string;
} {
  const clean = { SEEDS: '', ROUNDS: '', MINUTES: '', LOCKSTEP_TEST_SEED: '' };
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', SHOW], {
    cwd: REPOSITORY,
    env: { ...process.env, NODE_V8_COVERAGE: '', ...clean, ...environment },
    encoding: 'utf8',
  });
  return { status, said: status === 0 ? stdout.trim() : stderr };
}

describe('the budget of torture', function () {
  this.timeout(20_000);

  it('is the same each time when nothing is given', () => {
    const expected = { seeds: { first: 1, count: 600 }, cases: 8, durationMs: 5_000 };
    expect(budgetFor({}).said).to.equal(JSON.stringify(expected));
  });

  it('has SEEDS for the simulation alone, ROUNDS for the real processes alone, MINUTES for random faults', () => {
    const given = { SEEDS: '20000', LOCKSTEP_TEST_SEED: '7', MINUTES: '0.5' };
    const expected = { seeds: { first: 7, count: 20_000 }, cases: 8, durationMs: 30_000 };
    expect(budgetFor(given).said).to.equal(JSON.stringify(expected));
    expect(budgetFor({ SEEDS: '700' }).said).to.include('"first":1,"count":700');
    expect(budgetFor({ ROUNDS: '2.5' }).said)
      .to.include('"count":600')
      .and.to.include('"cases":20');
    expect(budgetFor({ ROUNDS: '0.01' }).said).to.include('"cases":1');
  });

  for (const [name, value, wanted] of [
    ['SEEDS', 'abc', 'a whole number is needed, 1 or more'],
    ['SEEDS', '0', 'a whole number is needed, 1 or more'],
    ['SEEDS', '2.5', 'a whole number is needed, 1 or more'],
    ['ROUNDS', '5x', 'a number is needed, 0 or more'],
    ['MINUTES', '-1', 'a number is needed, 0 or more'],
    ['LOCKSTEP_TEST_SEED', 'seed', 'a whole number is needed, 0 or more'],
  ] as const) {
    it(`refuses ${name}=${value}, and says what is needed`, () => {
      const { status, said } = budgetFor({ [name]: value });
      expect(status).to.equal(1);
      expect(said).to.include(`${name}=${value}: ${wanted}`);
    });
  }
});
