import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { placeOf, relationOf } from '../../../common/fs/place.ts';
import { failingCalls } from '../../support/failing-calls.ts';

describe('place of a directory', () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lockstep-place-'));
    mkdirSync(join(directory, 'a/b'), { recursive: true });
    mkdirSync(join(directory, 'c'));
    symlinkSync('a/b', join(directory, 'link'));
  });

  afterEach(() => rmSync(directory, { recursive: true }));

  const relation = (own: string, other: string) =>
    relationOf(placeOf(join(directory, own)), placeOf(join(directory, other)));

  it('tells the same, inside, around and apart from each other (E11)', () => {
    expect(relation('a', 'a')).to.equal('same');
    expect(relation('a/b', 'a')).to.equal('inside');
    expect(relation('a', 'a/b')).to.equal('around');
    expect(relation('a', 'c')).to.equal('apart');
  });

  it('is not deceived by links', () => {
    expect(relation('link', 'a/b')).to.equal('same');
  });

  it('says nothing where the other says nothing', () => {
    expect(relationOf(placeOf(directory), [])).to.equal('apart');
    expect(placeOf(join(directory, 'missing'))).to.deep.equal([]);
    using _ = failingCalls('readFileSync', 'ENOENT');
    expect(placeOf(directory)).to.deep.equal([]);
  });
});
