/**
 * Writes docs/reliability.md: the promises, and which test holds which case of E…, F… and S… by the ids in the tests' names.
 * With `--check` it writes nothing, and exits 1 when the page is not what it would write.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const page = join(root, 'docs', 'reliability.md');

interface Case {
  readonly id: string;
  readonly title: string;
  readonly file: string;
}

function casesOf(file: string): Case[] {
  const source = readFileSync(join(root, file), 'utf8');
  const titles = source.matchAll(/\b(?:it|describe)\(\s*(['"`])(.*?)\1\s*,/gs);
  return [...titles].flatMap(([, , title = '']) => {
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

const HEAD = `# Reliability

What Lockstep promises, and the tests that hold it to that. This page is written by \`scripts/list-cases.ts\` from the names of the tests;
ids of one letter and a number name cases that a synchronizer must get right (E), faults that it must survive (F) and attacks (S).

- A path in the replica is always wholly old or wholly new, also across a crash (E18, E81, E85).
- What was acknowledged as durable is there after a crash (E85, E90, F01).
- Both sides come back into step by themselves, without sending again what is there (E94, E97, E111, F03).
- Nothing is deleted because of an error, a lost index, or a root that is gone (E49, E52, E54, E55).
- Names are bytes, and every name that Linux accepts round-trips (E01, E06).
`;

const cases = globSync('test/**/*.test.ts', { cwd: root }).flatMap(casesOf).sort(order);
const text = [HEAD, table('E', cases), table('F', cases), table('S', cases)].join('\n');
if (!process.argv.includes('--check')) writeFileSync(page, text);
else if (readFileSync(page, 'utf8') !== text) {
  console.error('docs/reliability.md is not up to date: run scripts/node scripts/list-cases.ts');
  process.exitCode = 1;
}
