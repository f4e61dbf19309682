/**
 * The documented examples of configuration files: each key that a file can have is in them, and nothing else.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse } from 'smol-toml';
import { resolveWatches } from '../../clients/watcher/commands/configuration.ts';
import { watchOptions } from '../../clients/watcher/commands/options.ts';
import { fileKeysOf, type OptionDeclarations, resolveOptions } from '../../common/ops/configuration.ts';
import { tomlLines } from '../../common/ops/toml-lines.ts';
import { allFolders } from '../../services/sync-server/commands/folders.ts';
import { serveOptions } from '../../services/sync-server/commands/options.ts';

const examples = join(import.meta.dirname, '../../docs/examples');
const pathOf = (program: string) => join(examples, `${program}.toml`);
/** With all that is commented out put in; a folder's name cannot be where the tables are. */
function fullText(program: string): string {
  const text = readFileSync(pathOf(program), 'utf8').replaceAll(/^# ( {2})?(?=[a-z-]+ = )/gm, '');
  return program === 'sync-server' ? text.replace(/^folder = .*$/m, '') : text;
}

/** Above the tables, and in them. */
function keysIn(program: string, table: string): readonly string[] {
  const { [table]: tables, ...top } = parse(fullText(program));
  const inner = Array.isArray(tables) ? tables.flatMap((content) => Object.keys(content)) : [];
  return [...new Set([...Object.keys(top), ...inner])];
}

describe('docs/examples', () => {
  const programs: readonly (readonly [string, string, OptionDeclarations, readonly string[]])[] = [
    ['sync-server', 'folder', serveOptions, ['name']],
    ['sync-watcher', 'watch', watchOptions, []],
  ];
  for (const [program, table, options, more] of programs) {
    it(`${program}.toml has each key, and no other`, () => {
      // Of a switch and its opposite the switch.
      const keys = fileKeysOf(options).filter((key) => !key.startsWith('no-'));
      expect(keysIn(program, table)).to.have.members([...keys, ...more]);
    });

    it(`${program}.toml shows the defaults`, () => {
      const { [table]: _, ...content } = parse(fullText(program));
      const settings = resolveOptions(options, { flags: { dir: 'x' }, environment: {} }).settings;
      const commented = /^# ([a-z-]+) = /gm;
      for (const [, name = ''] of readFileSync(pathOf(program), 'utf8').matchAll(commented)) {
        const byDefault = settings.find((setting) => setting.name === name)?.written;
        if (byDefault !== undefined) expect(content[name], name).to.deep.equal(byDefault);
      }
    });
  }

  it('sync-server.toml is taken as it is', () => {
    const text = readFileSync(pathOf('sync-server'), 'utf8');
    const file = { path: 'sync-server.toml', content: parse(text), lines: tomlLines(text) };
    const { values } = resolveOptions(serveOptions, { flags: {}, environment: {}, file, otherFileKeys: ['folder'] });
    expect(allFolders({ ...values, folder: undefined }, file).map(({ name }) => name)).to.deep.equal([
      'documents',
      'pictures',
    ]);
  });

  it('sync-watcher.toml is taken as it is', () => {
    const watches = resolveWatches({ config: pathOf('sync-watcher') }, { environment: {}, version: '0' });
    expect(watches.map(({ values }) => [values.dir, values.folder, values.exclude])).to.deep.equal([
      ['/home/me/documents', 'documents', ['*.tmp', 'node_modules/']],
      ['/home/me/pictures', 'pictures', ['*.xmp']],
    ]);
  });
});
