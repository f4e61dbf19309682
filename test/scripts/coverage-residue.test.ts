/**
 * Why a branch is not tested is said of a line that is there.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import { RESIDUE } from '../../scripts/coverage-residue.ts';

const root = resolve(import.meta.dirname, '../..');

describe('branches that no test takes', () => {
  it('are lines of their files', () => {
    const gone = RESIDUE.filter(({ file, text }) => !readFileSync(join(root, file), 'utf8').includes(text));
    expect(gone).to.deep.equal([]);
  });

  it('are on their page', () => {
    const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts/coverage-page.ts'), '--check']);
    expect(status, String(stderr)).to.equal(0);
  });
});
