/**
 * Every command that a page shows is run, as it stands there, once; those that cannot be are in one list, with the reason.
 */
import { expect } from 'chai';
import { DocumentedStage } from '../support/documented-stage.ts';
import { type Block, blocksOf, commandsOf, type DocumentedCommand, pages } from '../support/documents.ts';
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
  {
    page: 'docs/benchmarks.md',
    command: /./,
    because: 'make bench writes the page, from what it has run, and takes long',
  },
];

const isNotRun = ({ page, text }: DocumentedCommand) =>
  NOT_RUN.some((rule) => (rule.page ?? page) === page && rule.command.test(text));

const isOfShell = ({ language }: Block) => language === 'sh';

describe('the commands of the pages', function () {
  // Programs that start by the dozen, on a machine that may be busy with other things.
  this.timeout(180_000);
  const all = pages()
    .map((page) => ({ path: page.path, blocks: blocksOf(page) }))
    .filter(({ blocks }) => blocks.some(isOfShell));
  const commands = all.flatMap(({ blocks }) => blocks.filter(isOfShell).flatMap(commandsOf));
  /** The same words twice are run once, where they stand first. */
  const chosen = new Set(
    new Map(commands.toReversed().map(({ page, line, text }) => [text, `${page}:${line}`])).values(),
  );
  const isRun = (command: DocumentedCommand) => !isNotRun(command) && chosen.has(`${command.page}:${command.line}`);
  let readme: Promise<void> | undefined;

  before(() => {
    // As long as all the others together: beside them, on a stage of its own.
    readme = runAll(all[0]?.blocks ?? [], isRun);
    readme.catch(() => undefined);
  });

  for (const { path, blocks } of all.slice(1)) {
    it(`${path}: all of them do what they are for`, () => runAll(blocks, isRun));
  }

  it('README.md: all of them do what they are for', () => readme);

  it('are left out only where the list says why', () => {
    for (const rule of NOT_RUN) {
      const named = commands.filter(({ page, text }) => (rule.page ?? page) === page && rule.command.test(text));
      expect(named, `${String(rule.command)} is for nothing`).not.to.have.lengthOf(0);
    }
  });
});

async function runAll(blocks: readonly Block[], isRun: (command: DocumentedCommand) => boolean): Promise<void> {
  const stage = await DocumentedStage.open();
  try {
    for (const block of blocks) {
      if (block.language === 'toml') stage.writeFile(block.content);
      if (!isOfShell(block)) continue;
      stage.beginBlock();
      for (const command of commandsOf(block).filter(isRun)) await runOne(stage, command);
    }
  } finally {
    await stage.close();
  }
}

async function runOne(stage: DocumentedStage, { page, line, text }: DocumentedCommand): Promise<void> {
  if (text.startsWith('grpcurl') && programOnPath('grpcurl') === undefined) {
    // The rest of the page is run nevertheless.
    process.stderr.write(`      skipped: there is no grpcurl here for ${text}\n`);
    return;
  }
  try {
    await stage.run(text);
  } catch (error) {
    throw new Error(`${page}:${line}: ${text}`, { cause: error });
  }
}
