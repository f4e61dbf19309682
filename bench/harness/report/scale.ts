/**
 * From values to positions on an axis, and which values get a mark. Pure.
 */

export interface Scale {
  /** The position of a value; values outside land outside. */
  position(value: number): number;
  readonly marks: readonly number[];
}

export function linearScale(max: number, step: number, from: number, to: number): Scale {
  const marks: number[] = [];
  for (let index = 0; index * step <= max * (1 + 1e-9); index++) marks.push(index * step);
  return { position: (value) => from + ((to - from) * value) / max, marks };
}

/** From the power of ten below the smallest value to the one above the largest. All values must be above 0. */
export function logScale(values: readonly number[], from: number, to: number): Scale {
  if (values.length === 0 || values.some((value) => !(value > 0)))
    throw new RangeError('a log scale needs values above 0');
  const lowest = Math.floor(Math.log10(Math.min(...values)) + 1e-9);
  const highest = Math.max(lowest + 1, Math.ceil(Math.log10(Math.max(...values)) - 1e-9));
  const marks: number[] = [];
  for (let power = lowest; power <= highest; power++) marks.push(10 ** power);
  return {
    position: (value) => from + ((to - from) * (Math.log10(value) - lowest)) / (highest - lowest),
    marks,
  };
}
