/**
 * The few statistics that the benchmark speaks in. Pure.
 */

function sorted(values: readonly number[]): readonly number[] {
  if (values.length === 0) throw new RangeError('no values');
  return values.toSorted((a, b) => a - b);
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const order = sorted(values);
  const upper = order[Math.floor(order.length / 2)] ?? 0;
  const lower = order[Math.floor((order.length - 1) / 2)] ?? 0;
  return (lower + upper) / 2;
}

/** The nearest-rank percentile: the smallest value that at least `percent` (0 < percent <= 100) of all do not exceed. */
export function percentile(values: readonly number[], percent: number): number {
  if (!(percent > 0 && percent <= 100)) throw new RangeError(`${percent} is not a percentage above 0 and up to 100`);
  const order = sorted(values);
  return order[Math.ceil((percent / 100) * order.length) - 1] ?? 0;
}

/** The mean that suits ratios: half and double cancel out. All values must be above 0. */
export function geometricMean(values: readonly number[]): number {
  if (sorted(values).some((value) => value <= 0)) throw new RangeError('a geometric mean needs values above 0');
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}
