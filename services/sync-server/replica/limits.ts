/**
 * How much one change may cost the applier's thread.
 */

/** A copy or delta above this would hold up the batches behind it; uploads do the same beside them. */
export const MAX_BUILT_BYTES = 64 * 2 ** 20;
