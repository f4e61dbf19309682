/**
 * What the benchmark and its link process say to each other.
 */
import type { LineShape } from './delay-line.ts';

export interface LinkSettings {
  readonly targetPort: number;
  /** Null: a line that only counts. */
  readonly shape: LineShape | null;
}

/** Payload bytes of TCP, both directions, since the last reset. */
export interface LinkTotals {
  /** From clients to the target. */
  readonly forwardBytes: number;
  readonly backwardBytes: number;
  /** Between the first 64 KiB and the last byte that went forward; 0 when less went. */
  readonly forwardMs: number;
}

export type LinkRequest = 'totals' | 'reset';
export type LinkAnswer =
  | { readonly kind: 'listening'; readonly port: number }
  | { readonly kind: 'totals'; readonly totals: LinkTotals };
