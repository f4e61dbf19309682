/**
 * The arithmetic of a line with a rate and a delay: when does what enters now leave, and when does it arrive? Pure; the
 * clock comes in as an argument.
 */

export interface LineShape {
  /** The way in one direction: half a round trip. */
  readonly delayMs: number;
  /** Infinity for a line that is as fast as its ends. */
  readonly bytesPerMs: number;
}

/** One direction. Like a token bucket without a burst: each byte leaves when those before it have left. */
export class DelayLine {
  readonly #shape: LineShape;
  #freeAtMs = 0;

  constructor(shape: LineShape) {
    this.#shape = shape;
  }

  /** Puts bytes on the line and says when the last of them arrives. Times must not go backwards. */
  admit(bytes: number, nowMs: number): number {
    this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + bytes / this.#shape.bytesPerMs;
    return this.#freeAtMs + this.#shape.delayMs;
  }

  /** For how long the line is still busy with what has entered, in ms. */
  backlogMs(nowMs: number): number {
    return Math.max(0, this.#freeAtMs - nowMs);
  }
}
