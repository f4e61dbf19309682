/**
 * A window over a content that remembers the blocks taken from it: makes the content's digest and signature in one pass,
 * whoever decides on the blocks. Pure.
 */
import { type BlockGroups, hasGroups } from './block-groups.ts';
import { ByteWindow } from './byte-window.ts';
import type { ChunkingParameters } from './chunker.ts';
import { ContentHasher, type Digest, type DigestFunction } from './digest.ts';
import { FingerprintList } from './fingerprint.ts';
import { GroupRecorder } from './group-recorder.ts';
import { MAX_BLOCKS, type Signature } from './signature.ts';

/** What a content turned out to be. */
export interface SignedContent {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** Undefined when it has more than MAX_BLOCKS: the parameters were chosen for a far smaller content. */
  readonly signature: Signature | undefined;
}

const FIRST_CAPACITY = 16;

export class BlockRecorder {
  /** `start` moves by `take` and `takeGroup` only. */
  readonly window: ByteWindow = new ByteWindow();
  readonly #parameters: ChunkingParameters;
  readonly #hasher: ContentHasher;
  readonly #fingerprints = new FingerprintList();
  readonly #maxBlocks: number;
  #groups: GroupRecorder | undefined;
  #offsets = new Float64Array(FIRST_CAPACITY);
  #blockCount = 0;
  #sizeBytes = 0;
  #isFull = false;

  constructor(digestFunction: DigestFunction, parameters: ChunkingParameters, maxBlocks: number = MAX_BLOCKS) {
    this.#parameters = parameters;
    this.#maxBlocks = maxBlocks;
    this.#hasher = new ContentHasher(digestFunction);
    const { averageBytes } = parameters;
    if (hasGroups(averageBytes)) this.#groups = new GroupRecorder(digestFunction, averageBytes, this.window);
  }

  /** Length of all that was taken so far. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Whether the next block begins a group; false where there are no groups. */
  get isAtGroupStart(): boolean {
    return this.#groups?.isAtStart ?? false;
  }

  /** Takes the next slice of the content; only read, and no longer after `close`. */
  open(slice: Uint8Array): void {
    this.#hasher.update(slice);
    this.window.open(slice);
    this.#groups?.resume();
  }

  /** As ByteWindow's. */
  extend(count: number): boolean {
    this.#groups?.suspend();
    const isExtended = this.window.extend(count);
    this.#groups?.resume();
    return isExtended;
  }

  close(): void {
    this.#groups?.suspend();
    this.window.close();
  }

  /** Takes the block of this length and digest at the window's start. */
  take(lengthBytes: number, digest: Uint8Array): void {
    this.window.start += lengthBytes;
    this.#sizeBytes += lengthBytes;
    if (!this.#reserve(1)) return;
    this.#offsets[++this.#blockCount] = this.#sizeBytes;
    this.#fingerprints.add(digest);
    this.#groups?.take(lengthBytes, this.#fingerprints.lastWord, this.#blockCount);
  }

  /** Takes the blocks of a group of the basis that was recognised at the window's start. Only where a group begins. */
  takeGroup(basis: Signature, groups: BlockGroups, group: number): void {
    const first = groups.firstBlocks[group] ?? 0;
    const behind = groups.firstBlocks[group + 1] ?? 0;
    const basisStart = basis.offsets[first] ?? 0;
    const start = this.#sizeBytes;
    const lengthBytes = (basis.offsets[behind] ?? 0) - basisStart;
    this.window.start += lengthBytes;
    this.#sizeBytes += lengthBytes;
    if (!this.#reserve(behind - first)) return;
    for (let block = first; block < behind; block++) {
      this.#offsets[++this.#blockCount] = start + (basis.offsets[block + 1] ?? 0) - basisStart;
    }
    this.#fingerprints.addRange(basis.fingerprints, first, behind);
    this.#groups?.takeWhole(groups, group, this.#blockCount);
  }

  /** Ends the recorder; all of the content must have been taken. */
  finish(): SignedContent {
    const digest = this.#hasher.digest();
    const sizeBytes = this.#sizeBytes;
    const blockCount = this.#blockCount;
    if (this.#isFull) return { digest, sizeBytes, signature: undefined };
    const signature: Signature = {
      parameters: this.#parameters,
      digest,
      sizeBytes,
      blockCount,
      offsets: this.#offsets.slice(0, blockCount + 1),
      fingerprints: this.#fingerprints.toWords(),
      groups: this.#groups?.finish(blockCount),
    };
    return { digest, sizeBytes, signature };
  }

  /** Room for so many blocks more; false when the signature would be too long, and is given up. */
  #reserve(count: number): boolean {
    const needed = this.#blockCount + count;
    if (needed > this.#maxBlocks) {
      this.#isFull = true;
      this.#groups = undefined;
    }
    if (this.#isFull) return false;
    if (needed >= this.#offsets.length) {
      const larger = new Float64Array(Math.max(needed + 1, 2 * this.#offsets.length));
      larger.set(this.#offsets);
      this.#offsets = larger;
    }
    return true;
  }
}
