/**
 * What this process may do beyond its user (capabilities(7)). Linux only; elsewhere there is no such thing.
 */
import { readFileSync } from 'node:fs';
import { errnoOf } from './errors.ts';

/** Effective ones, a bit for each; undefined where the system does not tell. */
export function effectiveCapabilities(): bigint | undefined {
  let status: string;
  try {
    status = readFileSync('/proc/self/status', 'latin1');
  } catch (error) {
    if (errnoOf(error) !== undefined) return undefined;
    throw error;
  }
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return effective === undefined ? undefined : BigInt(`0x${effective}`);
}
