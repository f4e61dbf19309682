/**
 * File systems that fold names, for machines that have none: given to SafeRoot as its way to paths. As there, the
 * first spelling stays, and every other leads to the same entry.
 */
import { readdirSync } from 'node:fs';
import type { SystemNames } from '../../common/fs/path-reach.ts';

/** As APFS and NTFS: neither case nor Unicode's compositions count, and both are kept. */
export const foldingNames: SystemNames = (name, directory) => {
  const wanted = Buffer.from(name, 'latin1');
  const there = readdirSync(directory, { encoding: 'buffer' });
  if (there.some((other) => other.equals(wanted))) return wanted;
  return there.find((other) => keyOf(other) === keyOf(wanted)) ?? wanted;
};

/** As HFS+: what is composed is taken apart, and kept like that. */
export const decomposingNames: SystemNames = (name) =>
  Buffer.from(Buffer.from(name, 'latin1').toString().normalize('NFD'));

function keyOf(name: Buffer): string {
  return name.toString().normalize('NFD').toLowerCase();
}
