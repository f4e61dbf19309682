/**
 * What a watcher has put on the wire, and what that stands for: both counted as it goes out, so that what a broken
 * connection made it send again is counted again. The server counts in the same way as it comes in.
 */
export class SentBytes {
  #wire = 0;
  #raw = 0;
  #saved = 0;

  /** Of batches and contents, as they went. */
  get wire(): number {
    return this.#wire;
  }

  /** What they stand for: without compression and deltas. */
  get raw(): number {
    return this.#raw;
  }

  /** What compression and deltas made unnecessary. */
  get saved(): number {
    return this.#saved;
  }

  add(wireBytes: number, rawBytes: number): void {
    this.#wire += wireBytes;
    this.#raw += rawBytes;
    this.#saved += Math.max(0, rawBytes - wireBytes);
  }
}
