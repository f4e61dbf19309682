/**
 * Stops this thread, timers and messages included, for a time that may be a fraction of a millisecond: where nothing else is to happen
 * meanwhile, or where a timer, which comes up to two milliseconds late, would take too long.
 */
export function blockFor(delayMs: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, delayMs);
}
