/**
 * Several directories in one file: which options each gets, and what is refused.
 */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { resolveCommand, resolveWatches } from '../../../clients/watcher/commands/configuration.ts';
import { controlOptions } from '../../../clients/watcher/commands/options.ts';
import { planWatch, requireCompatible } from '../../../clients/watcher/commands/watch-plan.ts';

describe('[[watch]] tables', () => {
  let base: string;
  let config: string;

  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), 'lockstep-tables-'));
    config = join(base, 'watcher.toml');
  });

  afterEach(() => rmSync(base, { recursive: true, force: true }));

  const write = (...lines: readonly string[]) => writeFileSync(config, lines.join('\n'));
  const context = (environment: Record<string, string> = {}) => ({ environment, version: '0' });
  const watches = (flags: Record<string, unknown> = {}, environment: Record<string, string> = {}) =>
    resolveWatches({ config, ...flags }, context(environment));
  const two = () =>
    write('server = ":1"', 'exclude = ["x"]', '[[watch]]', 'dir = "/a"', '[[watch]]', 'dir = "/b"', 'server = ":2"');

  it('inherit what stands above them; flags and the environment win over both', () => {
    two();
    const servers = (all: ReturnType<typeof watches>) => all.map(({ values }) => values.server?.text);
    expect(servers(watches())).to.deep.equal(['127.0.0.1:1', '127.0.0.1:2']);
    expect(watches().map(({ values }) => values.exclude)).to.deep.equal([['x'], ['x']]);
    expect(servers(watches({ server: ':3' }))).to.deep.equal(['127.0.0.1:3', '127.0.0.1:3']);
    expect(servers(watches({}, { LOCKSTEP_SERVER: ':4' }))).to.deep.equal(['127.0.0.1:4', '127.0.0.1:4']);
  });

  it('are chosen with --dir or LOCKSTEP_DIR, however the directory is named', () => {
    two();
    expect(watches({ dir: '/b/../b' }).map(({ values }) => values.server?.text)).to.deep.equal(['127.0.0.1:2']);
    expect(watches({}, { LOCKSTEP_DIR: '/a' })).to.have.lengthOf(1);
    expect(() => watches({ dir: '/c' })).to.throw(/no \[\[watch\]\] in .* is for \/c; there are: \/a, \/b/);
    const link = join(base, 'link');
    symlinkSync('/', link);
    expect(watches({ dir: join(link, 'a') })).to.have.lengthOf(1);
  });

  it('leave a command about one directory in no doubt', () => {
    two();
    expect(() => resolveCommand(controlOptions, { config }, context())).to.throw(
      /tell which directory with --dir: \/a, \/b/,
    );
    expect(resolveCommand(controlOptions, { config, dir: '/a' }, context()).values.dir).to.equal('/a');
    write('[[watch]]', 'dir = "/only"', 'state = "/s"');
    expect(resolveCommand(controlOptions, { config }, context()).values).to.include({ dir: '/only', state: '/s' });
  });

  it('are refused with the place of what is wrong', () => {
    const refusals: readonly (readonly [readonly string[], RegExp])[] = [
      [
        ['[[watch]]', 'dir = "/a"', 'serwer = ":1"'],
        /unknown key "serwer" in .*watcher.toml:3; did you mean "server"\?/,
      ],
      [
        ['serwer = ":1"', '[[watch]]', 'dir = "/a"'],
        /unknown key "serwer" in .*watcher.toml:1; did you mean "server"\?/,
      ],
      [['[[watches]]', 'dir = "/a"'], /unknown key "watches" in .*watcher.toml:1; did you mean "watche?r?"\?/],
      [['[[watch]]', 'server = ":1"'], /watcher.toml:1: each \[\[watch\]\] needs a dir/],
      [['[[watch]]', 'dir = 5'], /watcher.toml:2: dir must be a text/],
      [['[[watch]]', 'dir = "/a"', 'folder = 5'], /folder in .*watcher.toml:3: .*string/],
      [['[[watch]]', 'dir = "/a"', 'log-level = "debug"'], /watcher.toml:3: log-level is for all directories/],
      [['dir = "/a"', '[[watch]]', 'dir = "/b"'], /watcher.toml:1: there are \[\[watch\]\] tables; give dir in them/],
      [['[[watch]]', 'dir = "/a"', 'scan-interval = "often"'], /scan-interval in .*watcher.toml:3: "often"/],
      [['[watch]', 'dir = "/a"'], /must be tables, each headed \[\[watch\]\]/],
    ];
    for (const [lines, message] of refusals) {
      write(...lines);
      expect(() => watches(), lines.join(' '))
        .to.throw(message)
        .with.property('reason', 'USAGE');
    }
  });

  it('are refused where two would get in each other’s way', () => {
    const compatible = () => requireCompatible(watches().map((resolved) => planWatch(resolved, context())));
    const dir = (name: string) => `dir = ${JSON.stringify(join(base, name))}`;
    const state = (name: string) => `state = ${JSON.stringify(join(base, name))}`;
    const other = 'folder = "other"';
    write('server = ":1"', '[[watch]]', dir('a'), '[[watch]]', dir('b'), other);
    compatible();
    write('server = ":1"', '[[watch]]', dir('a'), '[[watch]]', dir('a/below'), 'server = ":2"');
    compatible();
    write('server = ":1"', '[[watch]]', dir('a'), '[[watch]]', dir('b/../a'));
    expect(compatible).to.throw(/watched twice/);
    write('server = ":1"', '[[watch]]', dir('a'), state('s'), '[[watch]]', dir('b'), state('s'));
    expect(compatible).to.throw(/same state directory/);
    write('server = ":1"', '[[watch]]', dir('a'), state('b/s'), '[[watch]]', dir('b'), other);
    expect(compatible).to.throw(/lies inside .*b, which is watched as well/);
    for (const second of ['b', 'a/below']) {
      write('server = ":1"', '[[watch]]', dir('a'), '[[watch]]', dir(second), 'server = "localhost:1"');
      expect(compatible)
        .to.throw(
          /a and .* are both to be kept in step with folder "default" of 127.0.0.1:1, which follows one directory/,
        )
        .with.property('reason', 'USAGE');
    }
  });
});
