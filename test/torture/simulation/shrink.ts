/**
 * Makes a failing list of things smaller, as long as it still fails (delta debugging, Zeller and Hildebrandt 2002, without
 * its last refinements).
 */

/** @param fails is asked about shorter lists; at most `tries` times */
export async function shrink<T>(
  failing: readonly T[],
  fails: (shorter: readonly T[]) => Promise<boolean>,
  tries = 400,
): Promise<readonly T[]> {
  let best = failing;
  let left = tries;
  for (let size = Math.ceil(best.length / 2); size >= 1 && left > 0; ) {
    let removed = false;
    for (let at = 0; at < best.length && left > 0; ) {
      const shorter = [...best.slice(0, at), ...best.slice(at + size)];
      left--;
      if (await fails(shorter)) {
        best = shorter;
        removed = true;
      } else {
        at += size;
      }
    }
    if (!removed || size === 1) size = size === 1 && !removed ? 0 : Math.floor(size / 2);
  }
  return best;
}
