/**
 * A delta as a list of segments, for deltas that are small enough to travel as one message. Pure; the segments have the shape
 * of DeltaSegment, but nothing here knows the wire.
 */
import type { DeltaSink } from './delta-output.ts';

/** A range of the basis, then literal data. Either may be empty. */
export interface Segment {
  readonly basisOffset: bigint;
  readonly copyLength: bigint;
  readonly literal: Uint8Array;
}

const FIRST_CAPACITY = 4096;

export class SegmentCollector implements DeltaSink {
  #copiedBytes = 0;
  /** For each segment: offset and length of the copy, and where its literal data begin in #literals. */
  readonly #segments: { basisOffset: number; copyLength: number; literalFrom: number }[] = [];
  #literals = Buffer.allocUnsafe(FIRST_CAPACITY);
  #literalBytes = 0;

  get copiedBytes(): number {
    return this.#copiedBytes;
  }

  /** What the delta takes, apart from some bytes a segment. */
  get literalBytes(): number {
    return this.#literalBytes;
  }

  get segmentCount(): number {
    return this.#segments.length;
  }

  copy(basisOffset: number, lengthBytes: number): void {
    this.#copiedBytes += lengthBytes;
    this.#segments.push({ basisOffset, copyLength: lengthBytes, literalFrom: this.#literalBytes });
  }

  literal(data: Uint8Array): void {
    if (this.#segments.length === 0) this.#segments.push({ basisOffset: 0, copyLength: 0, literalFrom: 0 });
    const end = this.#literalBytes + data.length;
    if (end > this.#literals.length) {
      const larger = Buffer.allocUnsafe(Math.max(end, 2 * this.#literals.length));
      this.#literals.copy(larger, 0, 0, this.#literalBytes);
      this.#literals = larger;
    }
    this.#literals.set(data, this.#literalBytes);
    this.#literalBytes = end;
  }

  /** The segments so far. Their literals are views of memory that further calls may write behind, never over. */
  segments(): Segment[] {
    return this.#segments.map(({ basisOffset, copyLength, literalFrom }, index) => ({
      basisOffset: BigInt(basisOffset),
      copyLength: BigInt(copyLength),
      literal: this.#literals.subarray(literalFrom, this.#segments[index + 1]?.literalFrom ?? this.#literalBytes),
    }));
  }
}
