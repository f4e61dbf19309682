/**
 * Branch coverage by room: runs the tests of measured-tests.ts (or those named) with V8's own coverage in every process and thread, names
 * each branch that was not taken, and prints a table with a verdict on each room, which is left in coverage/summary.txt too. Exit status 1
 * when a room is below its floor, or a test failed.
 * `--data DIR`: only reports what a run with NODE_V8_COVERAGE=DIR has left there.
 *
 * Type stripping keeps each character in its place, so that V8's offsets are those of the sources.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { RESIDUE } from './coverage-residue.ts';
import { MEASURED_TESTS } from './measured-tests.ts';

const root = resolve(import.meta.dirname, '..');
const SUMMARY = join(root, 'coverage/summary.txt');
const FLOOR_PERCENT = 95;
const ROOMS = ['common', 'services/sync-server/replica', 'clients/watcher/plan', 'clients/watcher/push'] as const;
/** Parts of `common` are rooms of their own in the table, and share its floor. */
const PARTS_OF_COMMON = globSync('common/*', { cwd: root }).sort();

interface Position {
  readonly line: number;
  readonly column: number;
}

/** What is used of istanbul's format. */
interface FileCoverage {
  readonly path: string;
  readonly b: Readonly<Record<string, readonly number[]>>;
  readonly branchMap: Readonly<Record<string, { readonly loc: { readonly start: Position; readonly end: Position } }>>;
}

interface Missed {
  readonly file: string;
  readonly line: number;
  /** The source's own words, from where the branch begins. */
  readonly text: string;
}

interface Counts {
  taken: number;
  /** Not taken, and known why (coverage-residue.ts). */
  explained: number;
  readonly missed: Missed[];
}

/** @returns the status of the tests */
function runTests(selection: readonly string[], data: string): number {
  for (const old of [data, SUMMARY]) rmSync(old, { recursive: true, force: true });
  mkdirSync(data, { recursive: true });
  // Some tests have processes of another user, and those leave something, too.
  chmodSync(data, 0o1777);
  // Code that comes out of the compile cache is counted less exactly.
  const environment = { ...process.env, NODE_V8_COVERAGE: data, NODE_DISABLE_COMPILE_CACHE: '1' };
  const command = [join(root, 'scripts/run-tests.ts'), ...(selection.length === 0 ? MEASURED_TESTS : selection)];
  return spawnSync(process.execPath, command, { cwd: root, env: environment, stdio: 'inherit' }).status ?? 1;
}

function coverageOf(data: string): readonly FileCoverage[] {
  const reports = join(root, 'coverage');
  const include = ROOMS.flatMap((room) => ['--include', `${room}/**/*.ts`]);
  const command = [join(root, 'node_modules/c8/bin/c8.js'), 'report', '--temp-directory', data, '--reporter', 'json'];
  const report = spawnSync(process.execPath, [...command, '--reports-dir', reports, '--all', ...include], {
    cwd: root,
    env: { ...process.env, NODE_V8_COVERAGE: '' },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (report.status !== 0) throw new Error('c8 could not read what was measured');
  const found = JSON.parse(readFileSync(join(reports, 'coverage-final.json'), 'utf8')) as Record<string, FileCoverage>;
  return Object.values(found);
}

/** Types alone: nothing is left of it that could run. */
function isOnlyTypes(source: string): boolean {
  const rest = stripTypeScriptTypes(source).replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*|export\s*\{\s*\};?/g, '');
  return rest.replaceAll(/import[^;]*;/g, '').trim() === '';
}

/** An index that is in bounds has no other side; the compiler asks for one all the same. */
const ELSE_OF_INDEX = /^\?\? (?:0n?|''|EMPTY|NO_BYTES|\[\])[\s),;\]|<&+*-]/;

function countInto(counts: Counts, coverage: FileCoverage): void {
  const file = relative(root, coverage.path);
  const source = readFileSync(coverage.path, 'utf8');
  if (isOnlyTypes(source)) return;
  const lines = source.split('\n');
  for (const [id, takings] of Object.entries(coverage.b)) {
    const { start } = coverage.branchMap[id]?.loc ?? { start: { line: 1, column: 0 } };
    const ownLine = lines[start.line - 1] ?? '';
    const text = ownLine.slice(start.column).trimStart();
    for (const count of takings) {
      if (count > 0) counts.taken++;
      else if (ELSE_OF_INDEX.test(`${text} `) || isExplained(file, ownLine)) counts.explained++;
      else counts.missed.push({ file, line: start.line, text: ownLine.trim() });
    }
  }
}

function isExplained(file: string, line: string): boolean {
  return RESIDUE.some(
    ({ file: place, text }) => place === file && (text.trim() === '}' ? line === text : line.includes(text)),
  );
}

function percentOf({ taken, explained, missed }: Counts): number {
  const all = taken + explained + missed.length;
  return all === 0 ? 100 : (100 * (taken + explained)) / all;
}

function rowOf(room: string, counts: Counts): string {
  const { taken, explained, missed } = counts;
  const columns = [
    String(taken + explained + missed.length).padStart(10),
    String(taken).padStart(8),
    String(explained).padStart(11),
    String(missed.length).padStart(8),
    percentOf(counts).toFixed(1).padStart(7),
  ];
  return room.padEnd(32) + columns.join('');
}

const { values, positionals } = parseArgs({ options: { data: { type: 'string' } }, allowPositionals: true });
const data = resolve(values.data ?? join(root, 'coverage/v8'));
const testStatus = values.data === undefined ? runTests(positionals, data) : 0;
const rooms = new Map<string, Counts>();
const floored = new Map<string, Counts>(ROOMS.map((room) => [room, { taken: 0, explained: 0, missed: [] }]));
for (const coverage of coverageOf(data)) {
  const file = relative(root, coverage.path);
  const shown = [...PARTS_OF_COMMON, ...ROOMS].find((room) => file.startsWith(`${room}/`)) ?? 'common';
  const counts = rooms.get(shown) ?? { taken: 0, explained: 0, missed: [] };
  rooms.set(shown, counts);
  countInto(counts, coverage);
  const floor = ROOMS.find((room) => file.startsWith(`${room}/`));
  const whole = floor === undefined ? undefined : floored.get(floor);
  if (whole !== undefined) countInto(whole, coverage);
}
for (const { missed } of rooms.values())
  for (const { file, line, text } of missed) console.log(`${file}:${line}  ${text}`);
const verdicts = [...floored].map(([room, counts]) => {
  const percent = percentOf(counts);
  return { room, percent, isEnough: percent >= FLOOR_PERCENT };
});
const summary = [
  `${'room'.padEnd(32)}${'branches'.padStart(10)}${'taken'.padStart(8)}${'explained'.padStart(11)}${'missed'.padStart(8)}     %`,
  ...[...rooms].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([room, counts]) => rowOf(room, counts)),
  ...verdicts.map(
    ({ room, percent, isEnough }) =>
      `${isEnough ? 'pass' : 'FAIL'}: ${room} has ${percent.toFixed(1)} % of its branches, ${FLOOR_PERCENT} % are asked for`,
  ),
].join('\n');
console.log(`\n${summary}`);
writeFileSync(SUMMARY, `${summary}\n`);
process.exitCode = testStatus !== 0 || verdicts.some(({ isEnough }) => !isEnough) ? 1 : 0;
