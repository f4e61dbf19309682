/**
 * Names are bytes: whatever Linux accepts arrives as it is, and nothing that a name contains means anything to the
 * programs.
 */
import { expect } from 'chai';
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { CHANGE_SOURCES } from '../support/pair.ts';
import { useSharedPair } from '../support/pair-hooks.ts';
import { put, within } from '../support/writing.ts';

/** What confuses shells, terminals, other operating systems, path handling, formats of logs, and JavaScript. */
const NAUGHTY_NAMES: readonly string[] = [
  ...[' ', '  leading', 'trailing ', 'trailing.', '...', '. ', '-', '--', '-rf', '--help', '-n', '~', '~root'],
  ...[
    '\n',
    'two\nlines',
    'tab\there',
    'return\r',
    'bell\x07',
    'back\x08space',
    '\x1b[31mred\x1b[0m',
    '\x1b]0;title\x07',
  ],
  ...[
    '\x01',
    '\x1f',
    '\x7f',
    '\x80',
    '\u0085',
    '\u2028',
    '\u202egnp.exe',
    '\u2066isolate\u2069',
    '\ufeffbom',
    '\u200b',
  ],
  ...['CON', 'con.txt', 'NUL', 'COM1', 'LPT1.log', 'aux', 'C:', 'C:\\Windows', 'back\\slash', '\\', '\\\\host\\share'],
  ...['a:b', 'a*b', 'a?b', 'a"b', "a'b", 'a<b>c', 'a|b', '*', '?', '[abc]', '{a,b}', '!important', '#comment', '$HOME'],
  ...[
    '$(touch pwned)',
    '`id`',
    '; ls',
    '&& true',
    '%',
    '%%',
    '%2F',
    '%2e%2e',
    '%00',
    '%41',
    '%s%n',
    '100%',
    '+',
    '=',
    '@',
  ],
  ...['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf', '0', '1', '-1', '007', '1e3'],
  ...['4294967295', '9007199254740993', 'null', 'undefined', 'true', 'NaN', 'Infinity', '[object Object]', '{}', '[]'],
  ...[
    '.lockstep.txt',
    '.lockstep2',
    '.Lockstep',
    'lockstep',
    '.git',
    '.gitignore',
    '.DS_Store',
    'Thumbs.db',
    'desktop.ini',
  ],
  ...['..a', 'a..', '.a', 'a.', '.hidden', 'file.tmp', 'file~', '.#lock', '#auto#', '4913', 'core'],
  ...[
    'ä',
    'a\u0308',
    'Å',
    '\u212b',
    'A\u030a',
    'ß',
    'SS',
    'ı',
    'İ',
    'i',
    'ﬁ',
    'fi',
    '日本語',
    'العربية',
    'עברית',
    '😀',
    '👩‍👩‍👧',
  ],
  ...['\u{10ffff}', '\ufffd', '\ufffe', 'e\u0301\u0301\u0301', 'Z\u0351\u036b\u0343', 'Ⅷ', '½', '１', '\u3000'],
  ...[
    '<script>alert(1)<\\script>',
    "' OR 1=1 --",
    '"; DROP TABLE entries; --',
    '../escaped'.replaceAll('/', '\u2215'),
    '..\u2044up',
  ],
];

/** Not UTF-8: stray, cut off, overlong and surrogate sequences. */
const BYTE_NAMES: readonly Buffer[] = [
  ...[
    [0xff, 0xfe, 0x41],
    [0x80],
    [0xc3],
    [0xc3, 0x28],
    [0xe2, 0x82],
    [0xf0, 0x9f, 0x98],
    [0xc0, 0xae, 0xc0, 0xae],
    [0xc0, 0xaf],
  ],
  ...[
    [0xed, 0xa0, 0x80],
    [0xed, 0xb0, 0x80],
    [0xf4, 0x90, 0x80, 0x80],
    [0xfe],
    [0xff],
    [0x41, 0xff],
    [0xe9, 0x74, 0xe9],
  ],
].map((bytes) => Buffer.from(bytes));

for (const changeSource of CHANGE_SOURCES) {
  describe(`names (${changeSource})`, () => {
    const shared = useSharedPair({ changeSource });
    const directory = (name: string) => {
      const made = within(shared.pair.source, name);
      mkdirSync(made);
      return made;
    };

    it('that are not UTF-8 arrive byte for byte: files, directories, links and their targets (E01)', async () => {
      const root = directory('bytes');
      for (const name of BYTE_NAMES) {
        const [file, child, link] = [
          name,
          Buffer.concat([name, Buffer.from('.d')]),
          Buffer.concat([name, Buffer.from('.l')]),
        ];
        writeFileSync(within(root, file), name);
        mkdirSync(within(root, child));
        writeFileSync(within(within(root, child), name), 'deeper');
        symlinkSync(name, within(root, link));
      }
      await shared.pair.follows();
      const names = readdirSync(within(shared.pair.replica, 'bytes'), { encoding: 'buffer' });
      expect(names).to.have.lengthOf(3 * BYTE_NAMES.length);
    });

    it('of all single bytes arrive', async () => {
      const root = directory('single');
      for (let byte = 1; byte < 256; byte++) {
        if (byte !== 0x2e && byte !== 0x2f) writeFileSync(within(root, Buffer.from([byte])), `byte ${byte}`);
      }
      await shared.pair.follows();
      expect(readdirSync(within(shared.pair.replica, 'single'), { encoding: 'buffer' })).to.have.lengthOf(253);
    });

    it('that confuse programs are only names (E06, E13)', async () => {
      const root = directory('naughty');
      for (const name of NAUGHTY_NAMES) {
        const child = within(root, `${name}.d`);
        mkdirSync(child);
        writeFileSync(within(root, name), name);
        writeFileSync(within(child, name), name);
      }
      await shared.pair.follows();
      for (const name of NAUGHTY_NAMES) renameSync(within(root, name), within(within(root, `${name}.d`), 'moved'));
      await shared.pair.follows();
    });

    it('of 255 bytes arrive, also when they are replaced (E04)', async () => {
      const root = directory('long');
      const [file, child] = ['f'.repeat(255), 'ü'.repeat(127)];
      writeFileSync(within(root, file), 'first');
      mkdirSync(within(root, child));
      writeFileSync(within(within(root, child), 'x'.repeat(255)), 'below');
      await shared.pair.follows();
      writeFileSync(within(root, 'new'), 'second');
      renameSync(within(root, 'new'), within(root, file));
      await shared.pair.follows();
    });

    it('that look the same are two files (E07)', async () => {
      const root = directory('twins');
      writeFileSync(within(root, 'caf\u00e9'), 'composed');
      writeFileSync(within(root, 'cafe\u0301'), 'decomposed');
      writeFileSync(within(root, 'CAF\u00c9'), 'upper case');
      await shared.pair.follows();
      expect(readdirSync(within(shared.pair.replica, 'twins'))).to.have.lengthOf(3);
    });

    it('that differ in case only can be changed into each other (E09)', async () => {
      const root = directory('case');
      writeFileSync(within(root, 'Name'), 'content');
      await shared.pair.follows();
      renameSync(within(root, 'Name'), within(root, 'name'));
      await shared.pair.follows();
    });

    it('lie as deep as they like: paths beyond 4,096 bytes (E05)', async () => {
      let handle = openSync(directory('deep'), constants.O_RDONLY | constants.O_DIRECTORY);
      for (let depth = 0; depth < 120; depth++) {
        const below = `/proc/self/fd/${handle}/level-${depth}-${'x'.repeat(30)}`;
        mkdirSync(below);
        const next = openSync(below, constants.O_RDONLY | constants.O_DIRECTORY);
        closeSync(handle);
        handle = next;
      }
      writeFileSync(`/proc/self/fd/${handle}/at-the-bottom`, 'deep');
      closeSync(handle);
      await shared.pair.inStep();
    });

    it('are escaped in what the programs say', async () => {
      put(shared.pair.source, 'log\x1b[31m\nline');
      await shared.pair.inStep();
      expect(shared.pair.watcher.stderr).to.not.include('\x1b');
      expect(shared.pair.server.stderr).to.not.include('\x1b');
      const lines = shared.pair.server.stderr.trim().split('\n').slice(-20);
      for (const line of lines) expect(() => JSON.parse(line), line).to.not.throw();
    });

    it("of the server's own directory are left alone at the root, and free elsewhere (E03)", async () => {
      put(shared.pair.source, 'inner/.lockstep/file', 'free');
      put(shared.pair.source, '.lockstep/index.db', 'not taken for an index');
      await shared.pair.inStep();
      const status = await shared.pair.status();
      expect(JSON.stringify(status['problems'])).to.include('.lockstep');
    });
  });
}
