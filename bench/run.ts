/**
 * `make bench`: runs the cases, prints the table, keeps the results, and writes docs/benchmarks.md from them.
 *
 *   scripts/node bench/run.ts [CASE...]
 *
 * The environment says the rest: RUNS=n (how often each contender runs), SCALE=0.01 (smaller data), DIR=… (where the
 * data goes), PROFILE=1 (CPU profiles of our processes, no peers, no results kept).
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { CASES } from './cases/index.ts';
import { type Bench, Skipped } from './harness/bench.ts';
import type { BenchCase } from './harness/case.ts';
import { compareFirstSyncs } from './harness/compare.ts';
import { ours } from './harness/contenders/ours.ts';
import { writeTree } from './harness/data/tree-writer.ts';
import { describeMachine } from './harness/machine.ts';
import { ProcessRegistry } from './harness/process/running-process.ts';
import { summarizeProfiles } from './harness/profile-summary.ts';
import { PICTURE_DIRECTORY, pageOf } from './harness/report/page.ts';
import {
  type CaseResult,
  mergeResult,
  NO_RESULTS,
  readResults,
  type Results,
  writeResults,
} from './harness/report/results.ts';
import { textTable } from './harness/report/table.ts';
import { defaultDataDirectory, Rooms } from './harness/rooms.ts';

const OUT = join(import.meta.dirname, 'out');
/** Kept with the sources, so that a case measured in another checkout leaves the others on the page. */
const FULL_RESULTS = join(import.meta.dirname, 'results.json');
const DOCS = join(import.meta.dirname, '../docs');
const EXIT_USAGE = 2;
const EXIT_INTERRUPTED = 130;

interface Settings {
  readonly cases: readonly BenchCase[];
  readonly scale: number;
  readonly runs: number | null;
  readonly isProfiling: boolean;
  readonly dataDirectory: string;
}

class UsageError extends Error {}

function readSettings(args: readonly string[], environment: NodeJS.ProcessEnv): Settings {
  const names = args.flatMap((arg) => arg.split(/[\s,]+/)).filter((name) => name !== '');
  const known = new Map(CASES.map((benchCase) => [benchCase.name, benchCase]));
  const cases = names.map((name) => {
    const found = known.get(name);
    if (found === undefined)
      throw new UsageError(`there is no case ${name}; there are: ${[...known.keys()].join(' ')}`);
    return found;
  });
  const positive = (name: string): number | null => {
    const text = environment[name] ?? '';
    if (text === '') return null;
    if (!(Number(text) > 0)) throw new UsageError(`${name}=${text} is not a number above 0`);
    return Number(text);
  };
  const isProfiling = !['', '0'].includes(environment['PROFILE'] ?? '');
  const runs = positive('RUNS') ?? (isProfiling ? 1 : null);
  return {
    cases: cases.length === 0 ? CASES : cases,
    scale: positive('SCALE') ?? 1,
    runs: runs === null ? null : Math.ceil(runs),
    isProfiling,
    dataDirectory: environment['DIR'] || defaultDataDirectory(),
  };
}

async function runCase(bench: Bench, benchCase: BenchCase): Promise<CaseResult> {
  const circumstances = {
    at: new Date().toISOString(),
    scale: bench.scale,
    machine: describeMachine(bench.rooms.isInMemory),
    loadBefore: loadavg()[0] ?? 0,
  };
  bench.say(`${benchCase.name}: ${benchCase.summary}`);
  try {
    return { status: 'measured', ...circumstances, outcome: await benchCase.run(bench) };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const status = error instanceof Skipped ? 'skipped' : 'broken';
    bench.say(`  ${status}: ${reason}`);
    return { status, ...circumstances, reason };
  }
}

/** Both programs once, on next to nothing: Node keeps their compiled code, and what does not run shows before the cases. */
async function warmUp(bench: Bench): Promise<void> {
  const source = bench.rooms.make('warm-up');
  await writeTree(source, { seed: 'warm-up', files: 10, minSizeBytes: 10, maxSizeBytes: 10, content: 'text' });
  const contenders = [ours({ ...bench, profileDirectory: null })];
  await compareFirstSyncs({ ...bench, say: () => {} }, { source, contenders, runs: 1, rooms: bench.rooms });
}

/** Full-size results make the page; what was not measured is named there. */
function writePage(results: Results): string {
  const { markdown, pictures } = pageOf(results, CASES);
  const directory = join(DOCS, PICTURE_DIRECTORY);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  for (const [name, text] of pictures) writeFileSync(join(directory, name), text);
  writeFileSync(join(DOCS, 'benchmarks.md'), markdown);
  const missing = CASES.filter(({ name }) => results.cases[name] === undefined).map(({ name }) => name);
  return `wrote docs/benchmarks.md${missing.length === 0 ? '' : `; not measured yet: ${missing.join(', ')}`}`;
}

async function main(): Promise<number> {
  const settings = readSettings(process.argv.slice(2), process.env);
  // Settings of the user's own programs would change ours.
  for (const name of Object.keys(process.env)) if (name.startsWith('LOCKSTEP_')) delete process.env[name];
  const processes = new ProcessRegistry();
  const rooms = new Rooms(settings.dataDirectory);
  const diskRooms = new Rooms(tmpdir());
  // Whatever ends this process, nothing is left behind.
  process.on('exit', () => {
    processes.killAll();
    rooms.removeAll();
    diskRooms.removeAll();
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(EXIT_INTERRUPTED));
  }
  mkdirSync(OUT, { recursive: true });
  const bench: Bench = {
    scale: settings.scale,
    runs: settings.runs,
    profileDirectory: null,
    rooms,
    diskRooms,
    processes,
    cacheDirectory: OUT,
    say: (line) => console.log(line),
  };
  await warmUp(bench);
  // Trials are kept apart from what the page is made of, and profiled runs are not kept at all.
  const resultsFile = settings.scale === 1 ? FULL_RESULTS : join(OUT, 'trial.json');
  let results = settings.isProfiling ? NO_RESULTS : readResults(resultsFile);
  let broken = 0;
  for (const benchCase of settings.cases) {
    const profileDirectory = settings.isProfiling ? join(OUT, 'profiles', benchCase.name) : null;
    if (profileDirectory !== null) rmSync(profileDirectory, { recursive: true, force: true });
    const result = await runCase({ ...bench, profileDirectory }, benchCase);
    if (result.status === 'broken') broken += 1;
    results = mergeResult(results, benchCase.name, result);
    if (profileDirectory === null) writeResults(resultsFile, results);
    else console.log(summarizeProfiles(profileDirectory).join('\n'));
  }
  console.log(
    `\n${textTable(
      results,
      settings.cases.map(({ name }) => name),
    )}\n`,
  );
  if (settings.scale === 1 && !settings.isProfiling) console.log(writePage(results));
  return broken === 0 ? 0 : 1;
}

try {
  process.exit(await main());
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`bench: ${error.message}`);
  process.exit(EXIT_USAGE);
}
