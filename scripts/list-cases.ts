/**
 * Writes docs/reliability.md: the promises, and which test holds which case of E…, F… and S… by the ids in the tests' names.
 * With `--check` it writes nothing, and exits 1 when the page is not what it would write.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { FAULTS, PROMISES } from './fault-table.ts';

const root = resolve(import.meta.dirname, '..');
const page = join(root, 'docs', 'reliability.md');

interface Case {
  readonly id: string;
  readonly title: string;
  readonly file: string;
}

function casesOf(file: string): Case[] {
  const source = readFileSync(join(root, file), 'utf8');
  const titles = [
    ...source.matchAll(/\b(?:it|describe)\(\s*(['"`])(.*?)\1\s*,/gs),
    // Rows of tests that are made from a table.
    ...source.matchAll(/^\s*(?:what:|\[)\s*(['"`])(.*?)\1,/gm),
  ];
  return titles.flatMap(([, , title = '']) => {
    const ids = [...title.matchAll(/\b[EFS]\d{2,3}\b/g)].map(([id]) => id);
    const words = title.replace(/\s*\((?:[EFS]\d{2,3}(?:,\s*)?)+\)/g, '').trim();
    return ids.map((id) => ({ id, title: words.replaceAll('|', '\\|'), file }));
  });
}

function order(a: Case, b: Case): number {
  const number = (id: string): number => Number(id.slice(1));
  return (a.id[0] ?? '').localeCompare(b.id[0] ?? '') || number(a.id) - number(b.id) || a.file.localeCompare(b.file);
}

const KINDS = { E: 'Cases', F: 'Faults', S: 'Security' } as const;

function table(kind: keyof typeof KINDS, cases: readonly Case[]): string {
  const rows = cases
    .filter(({ id }) => id.startsWith(kind))
    .map(({ id, title, file }) => `| ${id} | ${title} | \`${file}\` |`);
  return `## ${KINDS[kind]}\n\n| id | what the test says | where |\n| --- | --- | --- |\n${[...new Set(rows)].join('\n')}\n`;
}

function files(ids: readonly string[], cases: readonly Case[]): readonly string[] {
  return [...new Set(cases.filter(({ id }) => ids.includes(id)).map(({ file }) => file))];
}

const unheld: string[] = [];

function promises(cases: readonly Case[]): string {
  return PROMISES.map(({ promise, ids }) => {
    unheld.push(...ids.filter((id) => files([id], cases).length === 0));
    return `- ${promise} (${ids.join(', ')}).`;
  }).join('\n');
}

function faults(cases: readonly Case[]): string {
  const rows = FAULTS.map(({ id, fault, provoked, expected, alsoIds = [], untested }) => {
    const found = files([id, ...alsoIds], cases);
    // The tests that are about the fault come before those that meet it among other things.
    const shown = [...found].sort((a, b) => Number(b.includes('torture')) - Number(a.includes('torture'))).slice(0, 4);
    if (found.length === 0 && untested === undefined) unheld.push(id);
    const result =
      found.length === 0 ? `not provoked: ${untested ?? ''}` : shown.map((file) => `\`${file}\``).join(', ');
    return `| ${id} | ${fault} | ${provoked} | ${expected} | ${result} |`;
  });
  return `## Fault table\n\n| id | fault | how it is provoked | what has to come of it | held by |\n| --- | --- | --- | --- | --- |\n${rows.join('\n')}\n`;
}

const HEAD = `# Reliability

What Lockstep promises, and the tests that hold it to that. This page is written by \`scripts/list-cases.ts\` from \`scripts/fault-table.ts\` and
the names of the tests; ids of one letter and a number name cases that a synchronizer must get right (E), faults that it must survive (F) and attacks (S).
Tests under \`test/torture\` are run by \`make torture\`: SEEDS=… for
more seeds of the simulation, ROUNDS=… for so many times the cases of each enumeration, MINUTES=… for longer random faults.
`;

const cases = globSync('test/**/*.test.ts', { cwd: root }).flatMap(casesOf).sort(order);
const text = [
  HEAD,
  `${promises(cases)}\n`,
  faults(cases),
  table('E', cases),
  table('F', cases),
  table('S', cases),
].join('\n');
for (const id of new Set(unheld)) console.error(`no test has ${id} in its name`);
if (unheld.length > 0) process.exitCode = 1;
if (!process.argv.includes('--check')) writeFileSync(page, text);
else if (readFileSync(page, 'utf8') !== text) {
  console.error('docs/reliability.md is not up to date: run scripts/node scripts/list-cases.ts');
  process.exitCode = 1;
}
