/** The wire spelling: every name survives it, and a peer has one way to name an entry. */
import { expect } from 'chai';
import fc from 'fast-check';
import { LockstepError } from '../../../common/ops/errors.ts';
import { fromWirePath, ROOT, toWirePath } from '../../../common/tree/tree-path.ts';
import { treePath, treePathText } from './paths.ts';

function reasonOf(text: string, limits?: { maxPathBytes: number; maxDepth: number }): string {
  try {
    fromWirePath(text, limits);
    return 'accepted';
  } catch (error) {
    if (error instanceof LockstepError) return error.reason;
    throw error;
  }
}

describe('WirePath', () => {
  it('carries every path exactly (E01, E02)', () => {
    fc.assert(
      fc.property(treePathText, (path) => {
        const wire = toWirePath(path);
        expect(wire.isWellFormed()).to.equal(true);
        expect(fromWirePath(wire)).to.equal(path);
      }),
      { numRuns: 1_000 },
    );
  });

  it('accepts a text only when it is the canonical spelling of a path (E02)', () => {
    const pieces = ['%', '%2', '%25', '%2F', '%2e', '%FF', '%ff', '%E2%82%AC', '€', '/', '.', '..', 'a', '\0', '%00'];
    const wireText = fc.oneof(
      fc.array(fc.constantFrom(...pieces), { maxLength: 8 }).map((parts) => parts.join('')),
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.string({ maxLength: 20 }),
    );
    fc.assert(
      fc.property(wireText, (text) => {
        if (reasonOf(text) === 'accepted') expect(toWirePath(fromWirePath(text))).to.equal(text);
        else expect(reasonOf(text)).to.equal('INVALID_PATH');
      }),
      { numRuns: 2_000 },
    );
  });

  it('stays readable: escapes are only for % and for bytes that are no UTF-8 (E01)', () => {
    const spelled: readonly (readonly [string, string])[] = [
      ['', ''],
      ['a b/c', 'a b/c'],
      ['100%', '100%25'],
      ['\xff\xfeA', '%FF%FEA'],
      ['\xe2\x82\xac', '€'],
      ['\xe2\x82A', '%E2%82A'],
      ['\xe2\x82\xac%\xff', '€%25%FF'],
      ['\xed\xa0\x80', '%ED%A0%80'],
      ['\xc0\xaf', '%C0%AF'],
      ['\xf4\x90\x80\x80', '%F4%90%80%80'],
      ['\xf0\x9f\x98\x80', '😀'],
      ['\xef\xbb\xbfa', '\ufeffa'],
      ['a\nb\tc\x7f', 'a\nb\tc\x7f'],
      ['__proto__', '__proto__'],
    ];
    for (const [path, wire] of spelled) {
      expect(toWirePath(treePath(path))).to.equal(wire);
      expect(fromWirePath(wire)).to.equal(path);
    }
  });

  it('takes the empty text for the root', () => {
    expect(fromWirePath('')).to.equal(ROOT);
  });

  it('refuses what escapes the tree, hidden or not (E02, S04)', () => {
    const hostile = [
      ['/', '/a', 'a/', 'a//b', '.', '..', './a', 'a/.', 'a/..', '../a', 'a/../b', 'a/./b'],
      ['\0', 'a\0b', '%00', 'a%00', '%2F', 'a%2Fb', '%2E%2E', '%2E', '%2E%2E/a', '..%2Fa', 'a/%2e%2e'],
      ['%', 'a%', '%2', '%zz', '%ff', '%fF', '%41', '%C3%A9', '%E2%82%AC', '%0A', '%%', '%2525%'],
      ['\ud800', 'a\udc00', '\ud800/x', 'x'.repeat(256), `a/${'x'.repeat(256)}`, '%FF'.repeat(256), 'é'.repeat(128)],
      ['\n/..', 'é/../x', '%FF/..', '%FF//a'],
    ].flat();
    for (const text of hostile) expect(reasonOf(text), JSON.stringify(text)).to.equal('INVALID_PATH');
  });

  it('accepts names of up to 255 bytes however long they are spelled', () => {
    for (const text of ['x'.repeat(255), '%FF'.repeat(255), `${'é'.repeat(127)}x`, '...', '..a', 'a..', '.a']) {
      expect(reasonOf(text)).to.equal('accepted');
    }
  });

  it('enforces the announced limits on bytes and depth', () => {
    const limits = { maxPathBytes: 10, maxDepth: 3 };
    expect(reasonOf('a/b/c', limits)).to.equal('accepted');
    expect(reasonOf('a/b/c/d', limits)).to.equal('LIMIT_EXCEEDED');
    expect(reasonOf('%FF'.repeat(10), limits)).to.equal('accepted');
    expect(reasonOf('12345678901', limits)).to.equal('LIMIT_EXCEEDED');
    expect(reasonOf('x'.repeat(1_000_000), limits)).to.equal('LIMIT_EXCEEDED');
    expect(reasonOf(Array(1_000).fill('d').join('/'))).to.equal('accepted');
  });

  it('names the path in its error without letting it steer a terminal (S27)', () => {
    expect(() => fromWirePath('\u001b[31m/..')).to.throw(LockstepError, "path '\\x1b[31m/..' has an empty");
  });
});
