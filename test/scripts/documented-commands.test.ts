/**
 * Every command that a page shows is run, as it stands there, once; those that cannot be are in one list, with the reason.
 */
import { expect } from 'chai';
import { DocumentedStage } from '../support/documented-stage.ts';
import { blocksOf, commandsOf, type DocumentedCommand, pages } from '../support/documents.ts';
import { programOnPath } from '../support/on-path.ts';

interface NotRun {
  /** Default: on every page. */
  readonly page?: string;
  readonly command: RegExp;
  readonly because: string;
}

const NOT_RUN: readonly NotRun[] = [
  { command: /^make test$/, because: 'it would run itself' },
  { command: /^ssh /, because: 'it needs another machine' },
  { page: 'docs/benchmarks.md', command: /^make bench/, because: 'it takes long; test/bench holds its parts' },
  {
    page: 'docs/benchmarks.md',
    command: /REPLICA|SOURCE|STATE|CONFIG|^rsync /,
    because: 'the page is written by make bench, from what it has run',
  },
];

const isNotRun = ({ page, text }: DocumentedCommand) =>
  NOT_RUN.some((rule) => (rule.page ?? page) === page && rule.command.test(text));

describe('the commands of the pages', function () {
  this.timeout(60_000);
  const all = pages().map((page) => ({ page, blocks: blocksOf(page) }));
  const commands = all.flatMap(({ blocks }) => blocks.filter(({ language }) => language === 'sh').flatMap(commandsOf));
  /** The same words twice are run once. */
  const seen = new Set<string>();

  for (const { page, blocks } of all) {
    if (!blocks.some(({ language }) => language === 'sh')) continue;

    it(`${page.path}: all of them do what they are for`, async () => {
      const stage = await DocumentedStage.open();
      try {
        for (const block of blocks) {
          if (block.language === 'toml') stage.writeFile(block.content);
          if (block.language !== 'sh') continue;
          stage.beginBlock();
          for (const command of commandsOf(block)) {
            if (isNotRun(command) || seen.has(command.text)) continue;
            seen.add(command.text);
            if (command.text.startsWith('grpcurl') && programOnPath('grpcurl') === undefined) {
              // The rest of the page is run nevertheless.
              process.stderr.write(`      skipped: there is no grpcurl here for ${command.text}\n`);
              continue;
            }
            await stage.run(command.text).catch((error: unknown) => {
              throw new Error(`${page.path}:${command.line}: ${command.text}\n${String(error)}`);
            });
          }
        }
      } finally {
        await stage.close();
      }
    });
  }

  it('are left out only where the list says why', () => {
    for (const rule of NOT_RUN) {
      const named = commands.filter(({ page, text }) => (rule.page ?? page) === page && rule.command.test(text));
      expect(named, `${String(rule.command)} is for nothing`).not.to.have.lengthOf(0);
    }
  });
});
