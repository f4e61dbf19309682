/**
 * Collects what a delta encoder decides into as few calls of its sink as possible. Pure; a part of the delta encoder.
 */
import type { ByteWindow } from './byte-window.ts';

/** Takes a delta, in the order of the new content. */
export interface DeltaSink {
  /** A range of the basis, as long as possible: two calls in a row are of ranges that touch only above MAX_COPY_BYTES. */
  copy(basisOffset: number, lengthBytes: number): void;
  /** New bytes. A view that is valid during the call only; a long run of them comes in several calls. */
  literal(data: Uint8Array): void;
}

/** What is copied is told when it has this length at the latest, so that the receiver copies while the rest is compared. */
export const MAX_COPY_BYTES = 8 * 1024 * 1024;

const NONE = -1;

export class DeltaOutput {
  readonly #sink: DeltaSink;
  readonly #window: ByteWindow;
  /** The range that may still become longer; of length 0 if there is none. */
  #copyOffset = 0;
  #copyLength = 0;
  /** Where in the window the literal data begin that were not yet given out. */
  #literalFrom = NONE;

  constructor(sink: DeltaSink, window: ByteWindow) {
    this.#sink = sink;
    this.#window = window;
  }

  /** The bytes from the window's start on are these bytes of the basis. */
  copy(basisOffset: number, lengthBytes: number): void {
    this.flushLiteral();
    if (this.#copyOffset + this.#copyLength !== basisOffset) {
      this.#flushCopy();
      this.#copyOffset = basisOffset;
    }
    this.#copyLength += lengthBytes;
    if (this.#copyLength >= MAX_COPY_BYTES) this.#flushCopy();
  }

  /** The bytes from this position in the window on are new, up to where its start will be at the next call. */
  literalFrom(position: number): void {
    if (this.#literalFrom !== NONE) return;
    this.#flushCopy();
    this.#literalFrom = position;
  }

  /** Before the window's bytes become invalid, and at the end. */
  flushLiteral(): void {
    if (this.#literalFrom === NONE) return;
    const { bytes, start } = this.#window;
    if (start > this.#literalFrom) this.#sink.literal(bytes.subarray(this.#literalFrom, start));
    this.#literalFrom = NONE;
  }

  finish(): void {
    this.flushLiteral();
    this.#flushCopy();
  }

  #flushCopy(): void {
    if (this.#copyLength > 0) this.#sink.copy(this.#copyOffset, this.#copyLength);
    this.#copyOffset = 0;
    this.#copyLength = 0;
  }
}
