import { expect } from 'chai';
import fc from 'fast-check';
import { parse, stringify } from 'smol-toml';
import { tomlLines } from '../../../common/ops/toml-lines.ts';

describe('tomlLines', () => {
  it('finds keys and tables, and nothing inside of values and comments', () => {
    const text = [
      '# a = 1', // 1
      'a = "x = 1 # no comment"  # b = 2', // 2
      '', // 3
      'list = [', // 4
      '  "one = 1", # [two]', // 5
      "  '[[three]]',", // 6
      ']', // 7
      'long = """', // 8
      'inside = 1', // 9
      '[[inside]]\\"""', // 10
      '"""" ', // 11
      '"quoted key" = { x = 1, y = [2] }', // 12
      '[[folder]]', // 13
      'name = "n"', // 14
      '  [[ folder ]] # again', // 15
      "dir = '''d", // 16
      "''' # end", // 17
      'state = 1', // 18
      '[table.sub]', // 19
      'z = 1979-05-27', // 20
    ].join('\r\n');
    parse(text);
    expect(Object.fromEntries(tomlLines(text))).to.deep.equal({
      a: 2,
      list: 4,
      long: 8,
      'quoted key': 12,
      folder: 13,
      'folder.0': 13,
      'folder.0.name': 14,
      'folder.1': 15,
      'folder.1.dir': 16,
      'folder.1.state': 18,
      table: 19,
      'table.z': 20,
    });
  });

  it('finds exactly the keys that the parser finds, each on the line that defines it', () => {
    const key = fc.stringMatching(/^[a-z][a-z-]{0,8}$/);
    const value = fc.oneof(
      fc.string({ unit: fc.constantFrom('a', '"', "'", '\\', '\n', '#', '=', '[', ']', '{', '}', ' ', 'ä') }),
      fc.integer(),
      fc.boolean(),
      fc.array(fc.string(), { maxLength: 3 }),
    );
    fc.assert(
      fc.property(
        fc.dictionary(key, value, { noNullPrototype: true }),
        fc.array(fc.dictionary(key, value, { noNullPrototype: true }), { maxLength: 3 }),
        (top, tables) => {
          const text = stringify({ ...top, ...(tables.length > 0 ? { '0table': tables } : {}) });
          const lines = text.split('\n');
          const found = tomlLines(text);
          const expected = [
            ...Object.keys(top),
            ...tables.flatMap((table, index) => Object.keys(table).map((name) => `0table.${index}.${name}`)),
          ];
          const keys = [...found.keys()].filter((name) => !/^0table(\.\d+)?$/.test(name));
          expect(keys.toSorted()).to.deep.equal(expected.toSorted());
          for (const name of expected) {
            expect(lines[(found.get(name) ?? 0) - 1]).to.match(new RegExp(`^${name.split('.').at(-1)} = `));
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('ends for whatever it is given', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', '"', "'", '\\', '\n', '#', '=', '[', ']', ' ') }), (text) => {
        tomlLines(text);
      }),
    );
  });
});
