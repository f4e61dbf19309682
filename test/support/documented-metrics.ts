/**
 * The metrics that docs/metrics.md names.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { REPOSITORY } from './bin-program.ts';

/** By section: the names of the metrics in their tables, as they stand there. */
export function documentedMetrics(...headings: readonly string[]): readonly string[] {
  return headings.flatMap((heading) =>
    [...sectionOf(heading).matchAll(/^\| `(\w+)` \|/gm)].map(([, name = '']) => name),
  );
}

/** The labels that the section's table gives to a metric. */
export function documentedLabels(heading: string, metric: string): readonly string[] {
  const row = sectionOf(heading)
    .split('\n')
    .find((line) => line.startsWith(`| \`${metric}\` |`));
  const labels = row?.split('|')[4] ?? '';
  return labels
    .split(',')
    .map((label) => label.trim())
    .filter((label) => label !== '');
}

function sectionOf(heading: string): string {
  const page = readFileSync(join(REPOSITORY, 'docs/metrics.md'), 'utf8');
  const found = page.split(/^## /m).find((section) => section.startsWith(`${heading}\n`));
  if (found === undefined) throw new Error(`docs/metrics.md has no section "${heading}"`);
  return found;
}
