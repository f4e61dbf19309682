/** Paths for humans: readable and harmless. */
import { expect } from 'chai';
import fc from 'fast-check';
import { displayText } from '../../../common/tree/display-path.ts';
import { displayPath } from '../../../common/tree/tree-path.ts';
import { treePath, treePathText } from './paths.ts';

describe('displayPath', () => {
  it('shows text as text', () => {
    expect(displayPath(treePath('docs/a b.txt'))).to.equal('docs/a b.txt');
    expect(displayPath(treePath(Buffer.from('grüße/😀/日本').toString('latin1')))).to.equal('grüße/😀/日本');
    expect(displayPath(treePath(''))).to.equal('.');
  });

  it('escapes invalid bytes, controls, bidirectional controls and line separators (E06, S27)', () => {
    const utf8 = (text: string) => treePath(Buffer.from(text).toString('latin1'));
    expect(displayPath(treePath('\xff\xfeA'))).to.equal('\\xff\\xfeA');
    expect(displayPath(utf8('a\nb\x1b[2J\x7f'))).to.equal('a\\x0ab\\x1b[2J\\x7f');
    expect(displayPath(utf8('\u0085\u009b'))).to.equal('\\u{85}\\u{9b}');
    expect(displayPath(utf8('\u202egpj.exe'))).to.equal('\\u{202e}gpj.exe');
    for (const code of [0x61c, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x2066, 0x2069]) {
      expect(displayPath(utf8(String.fromCodePoint(code)))).to.equal(`\\u{${code.toString(16)}}`);
    }
  });

  it('never lets a control through, whatever the bytes', () => {
    fc.assert(
      fc.property(treePathText, (path) => {
        expect(displayPath(path)).to.not.match(/[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/);
        expect(displayPath(path).isWellFormed()).to.equal(true);
      }),
    );
  });

  it('escapes halves of surrogate pairs in text of a peer', () => {
    expect(displayText('a\ud800b😀')).to.equal('a\\u{d800}b😀');
  });
});
