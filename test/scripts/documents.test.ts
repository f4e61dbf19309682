/**
 * What the pages refer to is there: files, headings, commands, options. Nothing is run and nothing is asked of a network.
 */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { status } from '@grpc/grpc-js';
import { expect } from 'chai';
import { parse } from 'smol-toml';
import { buildProgram as buildWatcher } from '../../clients/watcher/cli.ts';
import { type CommandModel, commandModel } from '../../common/ops/completion/model.ts';
import { isReason } from '../../common/ops/errors.ts';
import { CODE_OF_REASON } from '../../common/rpc/errors.ts';
import { buildProgram as buildServer } from '../../services/sync-server/cli.ts';
import { REPOSITORY } from '../support/bin-program.ts';
import { anchorsOf, blocksOf, commandsOf, pages, proseOf, wordsOf } from '../support/documents.ts';

const all = pages();
const anchors = new Map(all.map((page) => [page.path, anchorsOf(page)]));

const watcher = buildWatcher(async () => {});
const server = buildServer({ environment: {}, openFolder: neverOpened, version: '0' }, () => async () => {});
const models = {
  'sync-watcher': commandModel(watcher.program, watcher.defaultCommand),
  'sync-server': commandModel(server.program, server.defaultCommand),
};

async function neverOpened(): Promise<never> {
  throw new Error('nothing is served here');
}

describe('the pages', () => {
  for (const page of all) {
    it(`${page.path} has no dead link`, () => {
      for (const [, target = ''] of proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^[a-z]+:/.test(target)) continue;
        const [file = '', anchor] = target.split('#');
        const path = file === '' ? page.path : normalize(join(dirname(page.path), file));
        expect(existsSync(join(REPOSITORY, path)), `${page.path}: ${target}`).to.equal(true);
        if (anchor !== undefined) expect(anchors.get(path)?.has(anchor), `${page.path}: ${target}`).to.equal(true);
      }
    });
  }

  it('name files of this project that are there', () => {
    for (const { path, text } of all) {
      const named = text.matchAll(/`((?:bin|clients|common|deploy|docs|gen|proto|scripts|services|test)\/[\w./-]+)`/g);
      for (const [, name = ''] of named) {
        expect(existsSync(join(REPOSITORY, name)), `${path}: ${name}`).to.equal(true);
      }
    }
  });

  it('call the programs by commands and options that they have', () => {
    for (const page of all) {
      const blocks = blocksOf(page).filter(({ language }) => language === 'sh');
      for (const { line, text } of blocks.flatMap(commandsOf)) {
        const words = wordsOf(text);
        const at = words.findIndex((word) => /^(bin\/)?sync-(server|watcher)$/.test(word));
        if (at < 0) continue;
        const name = words[at]?.endsWith('server') === true ? 'sync-server' : 'sync-watcher';
        const place = `${page.path}:${line}: ${text}`;
        const { model, rest } = commandNamed(models[name], words.slice(at + 1));
        const known = new Set(model.options.flatMap(({ names }) => names));
        for (const word of rest)
          if (/^--?[a-z]/.test(word)) expect(known.has(word), `${place}: ${word}`).to.equal(true);
      }
    }
  });

  it('README.md names every command', () => {
    const readme = all.find(({ path }) => path === 'README.md')?.text ?? '';
    const tables = readme.split('\n').filter((line) => line.startsWith('|'));
    for (const model of Object.values(models)) {
      for (const { name } of model.commands) {
        if (name === 'help') continue;
        expect(
          tables.some((row) => row.split('|')[1]?.includes(`\`${name}`)),
          name,
        ).to.equal(true);
      }
    }
  });

  it('show configuration that is TOML', () => {
    for (const block of all.flatMap(blocksOf)) if (block.language === 'toml') parse(block.content);
  });

  it('docs/troubleshooting.md shows messages that the programs have', () => {
    const page = all.find(({ path }) => path === 'docs/troubleshooting.md');
    const shown = (page === undefined ? [] : blocksOf(page))
      .filter(({ language }) => language === 'text')
      .flatMap(({ content }) => content.split('\n'))
      .map((line) => /^sync-(?:server|watcher): (.+)/.exec(line)?.[1])
      .filter((message) => message !== undefined);
    expect(shown).not.to.have.lengthOf(0);
    const words = wordsOfSources();
    for (const message of shown) {
      expect(
        words.some((text) => message.includes(text)),
        message,
      ).to.equal(true);
    }
  });

  it('docs/protocol.md tells every reason that the protocol names, with its code', () => {
    const page = all.find(({ path }) => path === 'docs/protocol.md')?.text ?? '';
    const told = new Map<string, string>();
    for (const [, reasons = '', code = ''] of page.matchAll(/^\| ((?:`[A-Z_]+`(?:, )?)+) \| ([A-Za-z_ ]+) \|/gm)) {
      for (const [, reason = ''] of reasons.matchAll(/`([A-Z_]+)`/g))
        told.set(reason, code === 'same names' ? reason : code);
    }
    for (const [reason, code] of told) {
      expect(isReason(reason) && status[CODE_OF_REASON[reason]], reason).to.equal(code);
    }
    const files = globSync('proto/lockstep/sync/v1/*.proto', { cwd: REPOSITORY });
    const proto = files.map((file) => readFileSync(join(REPOSITORY, file), 'utf8')).join('\n');
    for (const [, reason = ''] of proto.matchAll(/`([A-Z_]{2,})`/g)) {
      if (isReason(reason)) expect([...told.keys()], reason).to.include(reason);
    }
  });

  it('docs/operations.md tells of each alert what to do', () => {
    const rules = readFileSync(join(REPOSITORY, 'deploy/prometheus/alerts.yml'), 'utf8');
    const alerts = Array.from(rules.matchAll(/- alert: (\w+)/g), ([, name]) => name);
    const page = all.find(({ path }) => path === 'docs/operations.md')?.text ?? '';
    const told = Array.from(page.matchAll(/^\| (Lockstep\w+) \|/gm), ([, name]) => name);
    expect(told).to.have.members(alerts);
  });
});

/** The command that these words choose, and the words behind it. */
function commandNamed(
  program: CommandModel,
  words: readonly string[],
): { model: CommandModel; rest: readonly string[] } {
  let model = program;
  let at = 0;
  for (;;) {
    const next = model.commands.find(({ name }) => name === words[at]);
    if (next === undefined) break;
    model = next;
    at++;
  }
  return { model, rest: words.slice(at) };
}

/** What the sources say between quotes, without what they put in; long enough to be told apart. */
function wordsOfSources(): readonly string[] {
  const files = globSync(['common/**/*.ts', 'services/**/*.ts', 'clients/**/*.ts'], { cwd: REPOSITORY });
  return files.flatMap((file) => {
    const text = readFileSync(join(REPOSITORY, file), 'utf8').replaceAll(/\/\*[\s\S]*?\*\/|\/\/ .*$/gm, '');
    const quoted = Array.from(
      text.matchAll(/'([^'\n]*)'|"([^"\n]*)"|`([^`\n]*)`/g),
      ([, a, b, c]) => a ?? b ?? c ?? '',
    );
    return quoted.flatMap((words) => words.split(/\$\{[^}]*\}+/)).filter((words) => words.length >= 16);
  });
}
