/**
 * What a case has found out, as data: rows of the table, resources of both sides, and series for pictures. Pure.
 */
import { z } from 'zod';

export const UNITS = ['s', 'ms', 'B', 'percent', 'files', 'factor'] as const;
const unit = z.enum(UNITS);
export type Unit = z.infer<typeof unit>;

const target = z.discriminatedUnion('kind', [
  /** Ours divided by the peer's. */
  z.object({ kind: z.literal('ratio'), atMost: z.number() }),
  /** Ours alone, in the row's unit. */
  z.object({ kind: z.literal('value'), atMost: z.number() }),
  z.object({ kind: z.literal('least'), atLeast: z.number() }),
]);
export type Target = z.infer<typeof target>;

const row = z.object({
  /** What was measured, within the case. */
  label: z.string(),
  unit,
  ours: z.number(),
  peer: z.object({ name: z.string(), value: z.number() }).nullable(),
  targets: z.array(target),
  /** Each run, in the order of the runs. */
  samples: z.object({ ours: z.array(z.number()), peer: z.array(z.number()) }),
});
export type Row = z.infer<typeof row>;

const side = z.object({
  clientCpuSeconds: z.number().nullable(),
  clientPeakBytes: z.number().nullable(),
  serverCpuSeconds: z.number().nullable(),
  serverPeakBytes: z.number().nullable(),
});
const resources = z.object({ label: z.string(), contender: z.string(), ...side.shape });
export type Resources = z.infer<typeof resources>;

const point = z.tuple([z.number(), z.number()]);
const picture = z.object({
  /** Becomes the file's name. */
  id: z.string().regex(/^[a-z-]+$/),
  title: z.string(),
  xLabel: z.string(),
  yLabel: z.string(),
  /** The vertical axis is logarithmic always. */
  xScale: z.enum(['linear', 'log']),
  series: z.array(z.object({ name: z.string(), points: z.array(point) })),
});
export type Picture = z.infer<typeof picture>;

export const caseOutcomeSchema = z.object({
  rows: z.array(row),
  resources: z.array(resources),
  pictures: z.array(picture),
  /** What was typed, with placeholders. */
  commands: z.array(z.string()),
  /** Sentences that a reader of the figures must know. */
  notes: z.array(z.string()),
});
export type CaseOutcome = z.infer<typeof caseOutcomeSchema>;

export function ratioOf(measured: Row): number | null {
  return measured.peer === null || measured.peer.value === 0 ? null : measured.ours / measured.peer.value;
}

function isTargetMet(measured: Row, wanted: Target): boolean | null {
  switch (wanted.kind) {
    case 'ratio': {
      const ratio = ratioOf(measured);
      return ratio === null ? null : ratio <= wanted.atMost;
    }
    case 'value':
      return measured.ours <= wanted.atMost;
    case 'least':
      return measured.ours >= wanted.atLeast;
  }
}

/** Are all targets met? Null when there is none, or no peer to hold a ratio against while the others are met. */
export function isMet(measured: Row): boolean | null {
  const answers = measured.targets.map((wanted) => isTargetMet(measured, wanted));
  if (answers.includes(false)) return false;
  return answers.length === 0 || answers.includes(null) ? null : true;
}
