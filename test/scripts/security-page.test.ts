/**
 * docs/security.md promises a test for each rule: the files are there, and say what the page says they say.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect } from 'chai';

const root = resolve(import.meta.dirname, '../..');
const page = readFileSync(join(root, 'docs/security.md'), 'utf8');
const rows = [...page.matchAll(/^\| (S\d\d(?: S\d\d)*) \| ([^|]+) \| ([^|]+) \|$/gm)].map(
  ([, ids = '', rule = '', tests = '']) => ({
    ids: ids.split(' '),
    rule,
    tests,
  }),
);
/** Without `/proc` there is nothing to test here. */
const WITHOUT_TEST = ['S40'];

describe('the page about security', () => {
  it('has each rule once, and a test for it', () => {
    const expected = Array.from({ length: 42 }, (_, at) => `S${String(at + 1).padStart(2, '0')}`);
    expect(rows.flatMap(({ ids }) => ids)).to.have.members(expected);
    for (const { ids, tests } of rows) {
      if (!ids.some((id) => WITHOUT_TEST.includes(id))) expect(tests, ids.join(' ')).to.match(/`test\//);
    }
    expect(page).not.to.match(/not yet/i);
  });

  it('names tests that are there, in the words that they have', () => {
    for (const { ids, tests } of rows) {
      const named = tests.split(/;\s*(?=`)/).map((part) => /`(test\/[^`]+)`(?:: (.+))?$/.exec(part.trim()));
      for (const match of named) {
        if (match === null) continue;
        const [, file = '', words] = match;
        expect(existsSync(join(root, file)), `${ids.join(' ')}: ${file}`).to.equal(true);
        if (words !== undefined)
          expect(readFileSync(join(root, file), 'utf8'), `${ids.join(' ')}: ${file}`).to.include(words);
      }
    }
  });
});
