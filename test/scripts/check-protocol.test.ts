import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { differencesOf } from '../../scripts/check-protocol.ts';

describe('the comparison of generated code', () => {
  it('names what is missing, different and left over', () => {
    const directory = mkdtempSync(join(tmpdir(), 'lockstep-'));
    const write = (tree: string, file: string, text: string) => {
      mkdirSync(join(directory, tree, 'a'), { recursive: true });
      writeFileSync(join(directory, tree, file), text);
    };
    for (const [file, text] of [
      ['a/same.ts', 'same'],
      ['a/other.ts', 'one'],
      ['missing.ts', ''],
    ] as const) {
      write('expected', file, text);
    }
    write('actual', 'a/same.ts', 'same');
    write('actual', 'a/other.ts', 'two');
    write('actual', 'old.ts', '');
    expect(differencesOf(join(directory, 'expected'), join(directory, 'actual'))).to.deep.equal([
      'a/other.ts differs',
      'missing.ts is missing',
      'old.ts is not generated any more',
    ]);
    expect(differencesOf(join(directory, 'actual'), join(directory, 'actual'))).to.deep.equal([]);
    rmSync(directory, { recursive: true });
  });
});
