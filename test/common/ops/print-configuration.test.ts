import { expect } from 'chai';
import { parse } from 'smol-toml';
import * as z from 'zod/mini';
import { defineOptions, resolveOptions } from '../../../common/ops/configuration.ts';
import { tablesOf, withCommonKeys } from '../../../common/ops/configuration-tables.ts';
import { printedConfiguration } from '../../../common/ops/print-configuration.ts';
import { tomlLines } from '../../../common/ops/toml-lines.ts';

const options = defineOptions({
  listen: { flag: '--listen <addr>', description: '', schema: z.string(), default: ':1' },
  exclude: { flag: '--exclude <p>', description: '', schema: z.array(z.string()), default: [], repeatable: true },
  once: { flag: '--once', description: '', schema: z.boolean(), default: false },
  state: { flag: '--state <dir>', description: '', schema: z.string() },
  token: { description: '', schema: z.string(), file: false, secret: true },
});

const file = (text: string) => ({ path: 'f.toml', content: parse(text), lines: tomlLines(text) });

describe('printedConfiguration', () => {
  it('is a file with the same settings, and tells where each comes from', () => {
    const text = printedConfiguration([
      resolveOptions(options, {
        flags: { once: true },
        environment: { LOCKSTEP_EXCLUDE: 'a "b",c' },
        file: file('\nlisten = ":2"\n'),
      }),
    ]);
    expect(text.split('\n').map((line) => line.split(/ {2,}/))).to.deep.equal([
      ['listen = ":2"', '# f.toml:2'],
      ['exclude = [ "a \\"b\\"", "c" ]', '# LOCKSTEP_EXCLUDE'],
      ['once = true', '# --once'],
      ['# state =', '# default'],
      ['# token =', '# default'],
      [''],
    ]);
    expect(parse(text)).to.deep.equal({ listen: ':2', exclude: ['a "b"', 'c'], once: true });
  });

  it('never shows a secret', () => {
    const resolved = resolveOptions(options, { flags: {}, environment: { LOCKSTEP_TOKEN: 'hidden' } });
    const text = printedConfiguration([resolved]);
    expect(text).to.include('# token = (not shown)').and.include('# LOCKSTEP_TOKEN').and.not.include('hidden');
  });

  it('prints tables as one line, what is in no file as a comment, and lets a long value push nothing away', () => {
    const tables = [{ name: 'a b', until: new Date(0), 'size in MB': 1 }];
    const settings: readonly (readonly [string, unknown, boolean])[] = [
      ['folders', tables, true],
      ['config', 'f.toml', false],
      ['long', 'x'.repeat(100), true],
    ];
    const text = printedConfiguration([
      {
        settings: settings.map(([name, written, isOfFile]) => ({
          name,
          written,
          source: 'flag',
          origin: `--${name}`,
          declaration: { description: '', schema: z.unknown(), ...(isOfFile ? {} : { file: false }) },
        })),
      },
    ]);
    expect(text).to.match(/^# config = "f\.toml" +# --config$/m);
    expect(text.split('\n')[1]?.length).to.be.below(100);
    const { folders, long } = z
      .object({
        folders: z.array(z.object({ name: z.string(), until: z.date(), 'size in MB': z.number() })),
        long: z.string(),
      })
      .parse(parse(text));
    expect(folders.map((folder) => ({ ...folder, until: new Date(folder.until.getTime()) }))).to.deep.equal(tables);
    expect(long).to.equal('x'.repeat(100));
  });

  it('prints tables below what is for all', () => {
    const whole = file('listen = ":2"\n[[watch]]\nstate = "a"\n[[watch]]\nlisten = ":3"\n');
    const tables = (tablesOf(whole, 'watch') ?? []).map((table) => withCommonKeys(table, whole, 'watch'));
    const printed = tables.map((table) => ({
      name: 'watch',
      settings: resolveOptions(options, { flags: {}, environment: {}, file: table }).settings,
    }));
    const text = printedConfiguration([{ settings: [] }, ...printed]);
    expect(parse(text)['watch']).to.deep.equal([
      { listen: ':2', exclude: [], once: false, state: 'a' },
      { listen: ':3', exclude: [], once: false },
    ]);
    expect(text)
      .to.match(/listen = ":2" +# f.toml:1\n/)
      .and.match(/listen = ":3" +# f.toml:5\n/);
  });
});

describe('tablesOf', () => {
  it('refuses what is no table, with its place', () => {
    expect(tablesOf(file('a = 1'), 'watch')).to.equal(undefined);
    for (const text of ['\nwatch = 1', '\n[watch]\ndir = "x"', '\nwatch = []', '\nwatch = ["x"]']) {
      expect(() => tablesOf(file(text), 'watch'), text).to.throw(
        /^watch in f.toml:2 must be tables, each headed \[\[watch\]\]/,
      );
    }
  });
});
