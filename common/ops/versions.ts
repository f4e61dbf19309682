/**
 * Versions of Node: which one this project needs, and which of two is the newer. Imports nothing and uses nothing new, because the
 * program's first module needs it also on a Node that is too old.
 */

/** As package.json's `engines` has it. */
export const NODE_FLOOR = '24.18.1';

/** -1, 0 or 1 for "24.18.1" and its like; what is not a number counts as 0. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.split('.').map((part) => Number.parseInt(part, 10) || 0));
  for (let index = 0; index < 3; index++) {
    const difference = (left?.[index] ?? 0) - (right?.[index] ?? 0);
    if (difference !== 0) return Math.sign(difference);
  }
  return 0;
}
