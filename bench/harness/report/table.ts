/**
 * The table that `make bench` prints. Pure.
 */
import { isMet, ratioOf, type Row } from '../outcome.ts';
import { formatMet, formatNumber, formatOr, formatTargets, formatValue } from './format.ts';
import type { Results } from './results.ts';

const HEAD = ['case', 'measure', 'ours', 'peer', 'ratio', 'target', 'met?'] as const;

export function cellsOf(row: Row): readonly string[] {
  return [
    row.label,
    formatValue(row.ours, row.unit),
    formatOr(row.peer, (peer) => `${peer.name} ${formatValue(peer.value, row.unit)}`),
    formatOr(ratioOf(row), formatNumber),
    formatTargets(row) || '–',
    formatMet(isMet(row)),
  ];
}

/** Columns as wide as they must be. `names` gives the cases and their order. */
export function textTable(results: Results, names: readonly string[]): string {
  const lines: (readonly string[])[] = [HEAD];
  for (const name of names) {
    const result = results.cases[name];
    if (result === undefined) continue;
    if (result.status === 'measured') {
      for (const [index, row] of result.outcome.rows.entries()) lines.push([index === 0 ? name : '', ...cellsOf(row)]);
    } else lines.push([name, `${result.status}: ${result.reason.split('\n')[0] ?? ''}`]);
  }
  const widths = HEAD.map((_, column) =>
    // A line of two cells is a sentence, which may be as long as it likes.
    Math.max(...lines.map((line) => (line.length === 2 && column === 1 ? 0 : (line[column]?.length ?? 0)))),
  );
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
