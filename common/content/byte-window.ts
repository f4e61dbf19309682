/**
 * Contiguous views over a content that comes in slices. What is decided is dropped, what is not yet is carried over to
 * the next slice; only bytes next to a slice's edge are copied. Pure.
 *
 *     window.open(slice);
 *     while (window.holds(n) || window.extend(n)) { …look at window.bytes from window.start…; window.start += taken; }
 *     window.close();
 */
export class ByteWindow {
  /** Undecided are the bytes from `start` to `end`; the user moves `start`. Views of it are valid until `extend` or `close`. */
  bytes: Uint8Array = NOTHING;
  start = 0;
  end = 0;

  #slice: Uint8Array = NOTHING;
  /** How much of the slice was appended to the carry. */
  #appended = 0;
  #carry: Uint8Array = NOTHING;
  /** Whether `bytes` is the carry, else it is the slice. */
  #isCarry = false;

  /** Takes the next slice. It is only read, and no longer after `close`. */
  open(slice: Uint8Array): void {
    // One class of array for the hot loops: a Buffer beside plain arrays would make them polymorphic.
    this.#slice = new Uint8Array(slice.buffer, slice.byteOffset, slice.length);
    this.#appended = 0;
    if (this.start === this.end) this.#enterSlice(0);
  }

  holds(count: number): boolean {
    return this.end - this.start >= count;
  }

  /** Tries to have `count` contiguous bytes. Views taken before are invalid afterwards. */
  extend(count: number): boolean {
    if (!this.#isCarry) return this.holds(count);
    const held = this.end - this.start;
    if (held <= this.#appended) {
      this.#enterSlice(this.#appended - held);
    } else if (held < count) {
      this.#append(Math.min(count - held, this.#slice.length - this.#appended));
    }
    return this.holds(count);
  }

  /** Copies what is undecided, and lets go of the slice. */
  close(): void {
    if (this.#isCarry) {
      this.#append(this.#slice.length - this.#appended);
    } else {
      const rest = this.bytes.subarray(this.start, this.end);
      this.#isCarry = true;
      this.bytes = this.#carry;
      this.start = 0;
      this.end = 0;
      this.#copy(rest);
    }
    this.#slice = NOTHING;
    this.#appended = 0;
  }

  #enterSlice(at: number): void {
    this.bytes = this.#slice;
    this.start = at;
    this.end = this.#slice.length;
    this.#isCarry = false;
  }

  #append(count: number): void {
    this.#copy(this.#slice.subarray(this.#appended, this.#appended + count));
    this.#appended += count;
  }

  /** To the end of the carry, which is `bytes`. */
  #copy(data: Uint8Array): void {
    const held = this.end - this.start;
    if (this.end + data.length > this.#carry.length) {
      if (held + data.length > this.#carry.length) {
        const larger = new Uint8Array(Math.max(2 * this.#carry.length, held + data.length));
        larger.set(this.#carry.subarray(this.start, this.end));
        this.#carry = larger;
        this.bytes = larger;
      } else {
        this.#carry.copyWithin(0, this.start, this.end);
      }
      this.start = 0;
      this.end = held;
    }
    this.#carry.set(data, this.end);
    this.end += data.length;
  }
}

const NOTHING = new Uint8Array(0);
