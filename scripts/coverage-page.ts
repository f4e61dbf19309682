/**
 * Writes docs/coverage.md: how branches are counted, and which ones no test takes and why (coverage-residue.ts). With `--check` it
 * writes nothing, and exits 1 when the page is not what it would write.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { RESIDUE, WHY } from './coverage-residue.ts';

const root = resolve(import.meta.dirname, '..');
const page = join(root, 'docs', 'coverage.md');

const INTRODUCTION = `# Coverage

\`common/\`, \`services/sync-server/replica\`, \`clients/watcher/plan\` and \`clients/watcher/push\` have 95 % of their branches taken by tests, each
room for itself. \`.ci/run\` holds them to it: it measures while the suite runs, and repeats the verdict on each room at its end.

\`make coverage\` runs \`test/common\`, \`test/server\` and \`test/watcher\` with V8's own coverage in every process and thread, names the branches that were not
taken, prints a table of the rooms, and fails below 95 %. Those tests take hardly longer that way; the end-to-end tests would take half as long
again and are not measured. \`make coverage ONLY=test/path\` measures other tests. This page is written by \`scripts/coverage-page.ts\` from
\`scripts/coverage-residue.ts\`; figures are printed and not kept, because they change with each commit.

Processes that are killed leave nothing behind: what only they do counts as not taken, though \`make torture\` tests it.

Two kinds of branches count as explained. \`?? 0\` behind an index that is in bounds: the compiler asks for it, and nothing can take it. And those below, each with its reason.
What is left is what nobody has written a test for yet; each run names it.
`;

function written(): string {
  const parts = Object.entries<string>(WHY).map(([why, reason]) => {
    const own = RESIDUE.filter((residue) => residue.why === why);
    const files = [...new Set(own.map(({ file }) => file))].sort();
    const rows = files.map((file) => {
      const lines = own
        .filter((residue) => residue.file === file)
        .map(({ text }) => `\`${text.replaceAll('|', '\\|')}\``);
      return `| \`${file}\` | ${lines.join('<br>')} |`;
    });
    return `## ${why}\n\n${reason}\n\n| file | line |\n| --- | --- |\n${rows.join('\n')}\n`;
  });
  return [INTRODUCTION, ...parts].join('\n');
}

if (process.argv.includes('--check')) {
  if (readFileSync(page, 'utf8') !== written()) {
    console.error('docs/coverage.md is not what scripts/coverage-page.ts writes; run it');
    process.exitCode = 1;
  }
} else {
  writeFileSync(page, written());
}
