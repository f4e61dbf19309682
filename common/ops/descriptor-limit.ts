/**
 * How many descriptors this process may have open.
 */
import { readFileSync } from 'node:fs';
import { errnoOf } from './errors.ts';

/** The limit that holds now, infinite where there is none; undefined where the system does not tell. */
export function descriptorLimit(): number | undefined {
  let text: string;
  try {
    text = readFileSync('/proc/self/limits', 'latin1');
  } catch (error) {
    // Not Linux: there is nothing to read.
    if (errnoOf(error) !== undefined) return undefined;
    throw error;
  }
  const soft = /^Max open files +(\S+)/m.exec(text)?.[1];
  if (soft === undefined) return undefined;
  return soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}
