/**
 * What has been measured, case by case, as it is kept in a file: a case that is run again replaces only itself.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { caseOutcomeSchema } from '../outcome.ts';

const machineSchema = z.object({
  processor: z.string(),
  cores: z.number(),
  memoryBytes: z.number(),
  system: z.string(),
  /** Where the data was. */
  dataIsInMemory: z.boolean(),
  /** Versions of ours, Node and the peers that were there. */
  versions: z.record(z.string(), z.string()),
});
export type Machine = z.infer<typeof machineSchema>;

const circumstances = {
  /** ISO 8601. */
  at: z.string(),
  scale: z.number(),
  machine: machineSchema,
  /** The load average over a minute at the start: how busy the machine was with other things. */
  loadBefore: z.number(),
};
const caseResultSchema = z.discriminatedUnion('status', [
  z.object({ status: z.literal('measured'), ...circumstances, outcome: caseOutcomeSchema }),
  z.object({ status: z.literal('skipped'), ...circumstances, reason: z.string() }),
  z.object({ status: z.literal('broken'), ...circumstances, reason: z.string() }),
]);
export type CaseResult = z.infer<typeof caseResultSchema>;

const resultsSchema = z.object({ version: z.literal(1), cases: z.record(z.string(), caseResultSchema) });
export type Results = z.infer<typeof resultsSchema>;

export const NO_RESULTS: Results = { version: 1, cases: {} };

export function mergeResult(results: Results, name: string, result: CaseResult): Results {
  return { ...results, cases: { ...results.cases, [name]: result } };
}

/** Throws when the file is of another version or no results at all. */
export function readResults(path: string): Results {
  if (!existsSync(path)) return NO_RESULTS;
  return resultsSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
}

/** In one step: whoever reads meanwhile sees the old results or the new ones. */
export function writeResults(path: string, results: Results): void {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.new`;
  writeFileSync(temporary, `${JSON.stringify(results, null, 1)}\n`);
  renameSync(temporary, path);
}
