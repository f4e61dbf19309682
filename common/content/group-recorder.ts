/**
 * Makes the groups of a signature while the content passes through a window. Pure; a part of the block recorder.
 */
import { type BlockGroups, GroupRule } from './block-groups.ts';
import type { ByteWindow } from './byte-window.ts';
import { ContentHasher, type DigestFunction, digestOf } from './digest.ts';
import { FingerprintList } from './fingerprint.ts';

export class GroupRecorder {
  readonly #digestFunction: DigestFunction;
  readonly #window: ByteWindow;
  readonly #rule: GroupRule;
  readonly #firstBlocks: number[] = [0];
  readonly #fingerprints = new FingerprintList();
  /** Has the bytes of the unfinished group that are no longer in the window, if there are any. */
  #hasher: ContentHasher | undefined;
  /** Where in the window the bytes of the unfinished group begin. */
  #from = 0;

  constructor(digestFunction: DigestFunction, averageBytes: number, window: ByteWindow) {
    this.#digestFunction = digestFunction;
    this.#window = window;
    this.#rule = new GroupRule(averageBytes);
  }

  /** Whether the next block begins a group. */
  get isAtStart(): boolean {
    return this.#rule.isAtStart;
  }

  /** Takes the block that ends at the window's start; `blockCount` counts it. */
  take(lengthBytes: number, fingerprintWord: number, blockCount: number): void {
    if (!this.#rule.endsWith(lengthBytes, fingerprintWord)) return;
    const rest = this.#window.bytes.subarray(this.#from, this.#window.start);
    this.#fingerprints.add(this.#hasher?.update(rest).digest() ?? digestOf(this.#digestFunction, rest));
    this.#hasher = undefined;
    this.#begin(blockCount);
  }

  /** Takes group number `group` of the basis, which ends at the window's start. */
  takeWhole({ fingerprints }: BlockGroups, group: number, blockCount: number): void {
    this.#fingerprints.addRange(fingerprints, group, group + 1);
    this.#begin(blockCount);
  }

  #begin(blockCount: number): void {
    this.#firstBlocks.push(blockCount);
    this.#from = this.#window.start;
  }

  /** The window's bytes are about to become invalid. */
  suspend(): void {
    if (this.#from === this.#window.start) return;
    this.#hasher ??= new ContentHasher(this.#digestFunction);
    this.#hasher.update(this.#window.bytes.subarray(this.#from, this.#window.start));
    this.#from = this.#window.start;
  }

  /** The window has other bytes now. */
  resume(): void {
    this.#from = this.#window.start;
  }

  /** Undefined when there are none. */
  finish(blockCount: number): BlockGroups | undefined {
    if (this.#fingerprints.count > 0 && this.#firstBlocks.at(-1) === blockCount) {
      this.#firstBlocks.pop();
      this.#fingerprints.removeLast();
    }
    if (this.#fingerprints.count === 0) return undefined;
    return {
      count: this.#fingerprints.count,
      firstBlocks: Uint32Array.from(this.#firstBlocks),
      fingerprints: this.#fingerprints.toWords(),
    };
  }
}
