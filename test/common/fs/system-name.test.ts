import { expect } from 'chai';
import fc from 'fast-check';
import {
  fromSystemName,
  fromSystemTarget,
  nameProblem,
  toSystemName,
  toSystemTarget,
} from '../../../common/fs/system-name.ts';

/** As a component of a tree path has it: one char for each byte. */
const latin1 = (text: string): string => Buffer.from(text).toString('latin1');

const component = fc
  .uint8Array({ minLength: 1, maxLength: 255, min: 1 })
  .map((bytes) => Buffer.from(bytes.filter((byte) => byte !== 0x2f)).toString('latin1'))
  .filter((name) => name !== '' && name !== '.' && name !== '..');

describe('names of the system', () => {
  it('are any bytes on Linux', () => {
    fc.assert(
      fc.property(component, (name) => {
        expect(nameProblem(name, 'linux')).to.equal(undefined);
        expect(fromSystemName(toSystemName(name, 'linux'), 'linux')).to.equal(name);
      }),
    );
  });

  it('make the round trip wherever they are not refused', () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 }).filter((name) => !/[/\0]/.test(name));
    fc.assert(
      fc.property(fc.oneof(component, text.map(latin1)), fc.constantFrom('darwin', 'win32'), (name, platform) => {
        if (nameProblem(name, platform) !== undefined) {
          expect(() => toSystemName(name, platform))
            .to.throw()
            .with.property('reason', 'NAME_UNSUPPORTED');
          return;
        }
        expect(fromSystemName(toSystemName(name, platform), platform)).to.equal(name);
      }),
    );
  });

  it('are UTF-8 on macOS, and as it is written: composed, decomposed, of any case', () => {
    for (const fine of ['a', '\u00e9', 'e\u0301', 'A:b', 'CON', 'trailing.', '\u{1f600}', '\u0001']) {
      expect(nameProblem(latin1(fine), 'darwin'), fine).to.equal(undefined);
    }
    for (const wrong of ['\xff', '\xc3', 'a\xe9b', '\xed\xa0\x80', '\xc0\xaf']) {
      expect(nameProblem(wrong, 'darwin'), wrong).to.match(/^is not UTF-8/);
    }
  });

  it('have no forbidden character on Windows', () => {
    for (const char of '<>:"|?*\\\u0001\u001f\n') {
      expect(nameProblem(`a${char}b`, 'win32')).to.equal(`holds ${JSON.stringify(char)}, which Windows does not allow`);
    }
  });

  it('do not end in what Windows takes away', () => {
    for (const wrong of ['a.', 'a ', '...', '. ']) expect(nameProblem(wrong, 'win32'), wrong).to.match(/^ends in/);
    for (const fine of ['.a', ' a', 'a.b', '.gitignore']) expect(nameProblem(fine, 'win32'), fine).to.equal(undefined);
  });

  it('are not those of devices of Windows, whatever their case and extension', () => {
    const devices = ['CON', 'con', 'Prn', 'AUX.txt', 'nul.tar.gz', 'COM1', 'com9.x', 'LPT0', 'COM\u00b2', 'CONIN$'];
    for (const wrong of [...devices, 'CON .txt']) {
      expect(nameProblem(latin1(wrong), 'win32'), wrong).to.equal('is that of a device of Windows');
    }
    for (const fine of ['CONSOLE', 'COM', 'COM10', 'xCON', 'a.CON', 'LPTX']) {
      expect(nameProblem(fine, 'win32'), fine).to.equal(undefined);
    }
  });

  it('are counted in the units of Windows', () => {
    // 255 bytes of UTF-8 are at most 255 units; a component has no more bytes than that.
    expect(nameProblem('n'.repeat(255), 'win32')).to.equal(undefined);
    expect(nameProblem('n'.repeat(256), 'win32')).to.equal('is longer than Windows allows');
  });

  it('say which name it was, without a character that could steer a terminal (S27)', () => {
    expect(() => toSystemName('a\x1b\xff', 'darwin')).to.throw(/^the name "a[^\x1b]+" is not UTF-8/);
  });
});

describe("targets of the system's links", () => {
  it('are any bytes, but on Windows', () => {
    const bytes = Buffer.from([0xff, 0x5c, 0x2f]);
    expect(toSystemTarget(bytes, 'linux')).to.equal(bytes);
    expect(fromSystemTarget(bytes, 'darwin')).to.equal(bytes);
  });

  it('come back from Windows with the slashes that Node had turned', () => {
    const target = Buffer.from('../ü/b');
    expect(toSystemTarget(target, 'win32')).to.equal(target);
    expect(fromSystemTarget(Buffer.from('..\\ü\\b'), 'win32').toString()).to.equal('../ü/b');
  });

  it('are refused where Windows would keep another one', () => {
    for (const fine of ['a/../b', 'C:/Users/ü', '']) {
      expect(toSystemTarget(Buffer.from(fine), 'win32').toString()).to.equal(fine);
    }
    const wrongTexts = ['a\\b', '/etc', '//host/share', 'C:/a/../b', 'C:/a/'];
    for (const wrong of [Buffer.from([0xff]), ...wrongTexts.map((text) => Buffer.from(text))]) {
      expect(() => toSystemTarget(wrong, 'win32'))
        .to.throw(/is none that Windows keeps as it is$/)
        .that.includes({ reason: 'NAME_UNSUPPORTED', code: 'EILSEQ' });
    }
  });
});
