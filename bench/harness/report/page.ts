/**
 * docs/benchmarks.md and its pictures, from the results and nothing else. Pure.
 */
import type { BenchCase } from '../case.ts';
import { isMet, ratioOf, type Resources, type Row, type Unit } from '../outcome.ts';
import { formatBytes, formatNumber, formatOr, formatValue } from './format.ts';
import { lineChart } from './line-chart.ts';
import { type RatioBar, ratioChart } from './ratio-chart.ts';
import type { CaseResult, Machine, Results } from './results.ts';
import { cellsOf } from './table.ts';

export interface Page {
  readonly markdown: string;
  /** Text by file name; the page refers to them below PICTURE_DIRECTORY. */
  readonly pictures: ReadonlyMap<string, string>;
}

/** Seen from docs/. */
export const PICTURE_DIRECTORY = 'images/benchmarks';
const BUSY_LOAD_PER_CORE = 0.5;

const INTRODUCTION = `# Benchmarks

Written by \`make bench\` from what it measured; change \`bench/\`, not this page. Ours and its peer run in turn
(A B A B …) on the same data, made from a seed, on a memory file system with warm caches unless a case says otherwise;
the figures are medians. Both sides run on one machine and share its cores. Absolute times belong to that machine; the
ratios are what to look at. Every replica is compared with its source after the clock has stopped. Peak memory is the
resident memory of all processes of a side together, shared libraries and file mappings included.

\`\`\`sh
make bench                          # all cases; needs about 12 GB of memory for its largest trees
make bench CASE='bulk small'        # some of them
make bench CASE=small SCALE=0.01    # a quick trial; leaves this page alone
make bench CASE=small PROFILE=1     # CPU profiles of both processes in bench/out/profiles
make bench RUNS=9 DIR=/somewhere    # more runs, data elsewhere
\`\`\`
`;

export function pageOf(results: Results, cases: readonly BenchCase[]): Page {
  const pictures = new Map<string, string>();
  const bars = cases.flatMap(({ name }) => barsOf(name, results.cases[name]));
  const overview = bars.length === 0 ? '' : `![Ours beside its peers](${PICTURE_DIRECTORY}/overview.svg)\n`;
  if (bars.length > 0) pictures.set('overview.svg', ratioChart(bars));
  const sections = cases.flatMap((benchCase) => {
    const result = results.cases[benchCase.name];
    if (result === undefined) return [];
    if (result.status === 'measured') {
      for (const picture of result.outcome.pictures) pictures.set(`${picture.id}.svg`, lineChart(picture));
    }
    return [sectionOf(benchCase, result)];
  });
  const parts = [
    INTRODUCTION,
    '## All cases\n',
    summaryTable(results, cases),
    overview,
    ...sections,
    machines(results),
  ];
  return { markdown: parts.filter((part) => part !== '').join('\n'), pictures };
}

function markdownTable(head: readonly string[], lines: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return `${[line(head), line(head.map(() => '---')), ...lines.map(line)].join('\n')}\n`;
}

/** Only what has a target; the rest is in the sections. */
function summaryTable(results: Results, cases: readonly BenchCase[]): string {
  const lines = cases.flatMap(({ name }): (readonly string[])[] => {
    const result = results.cases[name];
    const link = `[${name}](#${name})`;
    if (result === undefined) return [[name, 'not measured', '', '', '', '', '']];
    if (result.status !== 'measured') return [[link, result.status, '', '', '', '', '']];
    return result.outcome.rows.filter(({ targets }) => targets.length > 0).map((row) => [link, ...cellsOf(row)]);
  });
  return markdownTable(['case', 'measure', 'ours', 'peer', 'ratio', 'target', 'met?'], lines);
}

function barsOf(name: string, result: CaseResult | undefined): RatioBar[] {
  if (result?.status !== 'measured') return [];
  return result.outcome.rows.flatMap((row: Row): RatioBar[] => {
    const ratio = ratioOf(row);
    const target = row.targets.find(({ kind }) => kind === 'ratio');
    if (ratio === null || row.peer === null || target?.kind !== 'ratio') return [];
    const label = row.label === 'wall time' ? name : `${name}: ${row.label}`;
    return [{ label, peer: row.peer.name, ratio, target: target.atMost }];
  });
}

function sectionOf(benchCase: BenchCase, result: CaseResult): string {
  const head = `## ${benchCase.name}\n\n${benchCase.summary[0]?.toUpperCase() ?? ''}${benchCase.summary.slice(1)}.\n`;
  if (result.status !== 'measured') return `${head}\nNot measured (${result.status}): ${result.reason}\n`;
  const { rows, resources, pictures, notes, commands } = result.outcome;
  const parts = [
    head,
    markdownTable(
      ['measure', 'ours', 'peer', 'ratio', 'target', 'met?', 'spread of ours', 'of the peer'],
      rows.map((row) => [...cellsOf(row), spreadOf(row.samples.ours, row.unit), spreadOf(row.samples.peer, row.unit)]),
    ),
    resourceTable(resources),
    ...pictures.map(({ id, title }) => `![${title}](${PICTURE_DIRECTORY}/${id}.svg)\n`),
    notes.length === 0 ? '' : `${notes.map((note) => `- ${note}`).join('\n')}\n`,
    missed(rows),
    `\`\`\`sh\n${commands.join('\n')}\n\`\`\`\n`,
    circumstances(result),
  ];
  return parts.filter((part) => part !== '').join('\n');
}

/** Least and largest, where there was more than one run. */
function spreadOf(samples: readonly number[], unit: Unit): string {
  if (samples.length < 2) return '–';
  return `${formatValue(Math.min(...samples), unit)} … ${formatValue(Math.max(...samples), unit)}`;
}

function resourceTable(resources: readonly Resources[]): string {
  if (resources.length === 0) return '';
  const seconds = (value: number | null): string => formatOr(value, (known) => `${formatNumber(known)} s`);
  const bytes = (value: number | null): string => formatOr(value, formatBytes);
  return markdownTable(
    ['', 'processor, sender', 'processor, receiver', 'peak, sender', 'peak, receiver'],
    resources.map((use) => [
      `${use.contender}, ${use.label}`,
      seconds(use.clientCpuSeconds),
      seconds(use.serverCpuSeconds),
      bytes(use.clientPeakBytes),
      bytes(use.serverPeakBytes),
    ]),
  );
}

function missed(rows: readonly Row[]): string {
  const labels = rows.filter((row) => isMet(row) === false).map(({ label }) => label);
  return labels.length === 0 ? '' : `Short of its target: ${labels.join('; ')}.\n`;
}

function circumstances({ at, loadBefore, machine }: CaseResult): string {
  const busy =
    loadBefore > BUSY_LOAD_PER_CORE * machine.cores
      ? ` The machine was busy with other things (load ${loadBefore.toFixed(1)} on ${machine.cores} cores).`
      : '';
  return `Measured on ${at.slice(0, 10)} with ${machine.versions['lockstep'] ?? 'this version'} on ${machine.processor}.${busy}\n`;
}

/** One line for each different machine; usually there is one. */
function machines(results: Results): string {
  const lines = new Set(Object.values(results.cases).map(({ machine }) => machineLine(machine)));
  const versions = new Map<string, Set<string>>();
  for (const { machine } of Object.values(results.cases)) {
    for (const [name, version] of Object.entries(machine.versions)) {
      if (name !== 'lockstep') versions.set(name, (versions.get(name) ?? new Set()).add(version));
    }
  }
  const versionLines = [...versions].map(([name, found]) => [name, [...found].join(', ')]);
  return `## Machine and versions\n\n${[...lines].map((line) => `- ${line}`).join('\n')}\n\n${markdownTable(['program', 'version'], versionLines)}`;
}

function machineLine(machine: Machine): string {
  const place = machine.dataIsInMemory ? 'data in memory' : 'data on disk';
  return `${machine.cores} cores of ${machine.processor}, ${formatBytes(machine.memoryBytes)} of memory, ${machine.system}, ${place}`;
}
