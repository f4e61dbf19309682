/**
 * The table of the gear hash: a number for each byte value. Generated, so that any language can make the same one.
 *
 * The gear hash of a position is h = 2h + GEAR[byte] modulo 2^32: one shift, one addition, and a byte is forgotten after 32 others
 * (Xia et al., "Ddelta: A deduplication-inspired fast delta compression approach", Performance Evaluation 79, 2014).
 */

/**
 * The smallest seed for which a run of equal bytes, of whatever value, settles on a hash that is no boundary at any
 * average length allowed: such runs (zeros above all) are cut into few long blocks, not into many short ones.
 */
const SEED = 3;
const STEP = 0x9e3779b9;

/**
 * 256 signed 32-bit numbers. With all arithmetic modulo 2^32, the number for byte value v is mix(SEED + (v + 1) * STEP), where
 * mix(x) is: x ^= x >>> 16; x *= 0x21f0aaad; x ^= x >>> 15; x *= 0x735a2d97; x ^= x >>> 15
 * (splitmix with the constants of https://github.com/skeeto/hash-prospector).
 */
export const GEAR: Int32Array = Int32Array.from({ length: 256 }, (_, value) => mix(SEED + Math.imul(value + 1, STEP)));

function mix(input: number): number {
  let x = input | 0;
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
  return x ^ (x >>> 15);
}
