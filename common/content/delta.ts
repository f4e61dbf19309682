/**
 * Tells a new content in terms of an old one of which only the signature is at hand: ranges to copy, and literal data for
 * the rest. The same pass over the new content gives its digest and its own signature. Pure.
 */
import { groupStartingAt } from './block-groups.ts';
import { BlockIndex } from './block-index.ts';
import { BlockRecorder, type SignedContent } from './block-recorder.ts';
import { blockLength } from './chunker.ts';
import { DeltaOutput, type DeltaSink } from './delta-output.ts';
import { digestOfBlock } from './block-digest.ts';
import type { DigestFunction } from './digest.ts';
import { equalFingerprints, FINGERPRINT_WORDS, setFingerprint } from './fingerprint.ts';
import { lengthOfBlock, type Signature } from './signature.ts';

/** What making a delta has cost, apart from the digest of the whole. */
export interface DeltaCost {
  /** Bytes that the chunker looked at. */
  readonly scannedBytes: number;
  /** Bytes that were hashed to recognise blocks and groups. */
  readonly hashedBytes: number;
  readonly hashCalls: number;
  /** Fingerprints looked at to find one. */
  readonly comparisons: number;
}

interface HashedBlock {
  readonly length: number;
  readonly digest: Uint8Array;
}

/** Behind a new block, the basis is expected to go on within so many blocks: of many equal blocks (zeros) the one in place is taken. */
const NEARBY_BLOCKS = 4;
/** So many bytes of groups may be compared in vain before that counts. */
const FREE_FAILED_BYTES = 256 * 1024;
const NONE = -1;
const NO_BYTES = new Uint8Array(0);

/**
 * As long as the new content follows the basis, the next block's end is known beforehand: its bytes, or those of a whole
 * group of blocks, are hashed and compared. The chunker runs only from where that fails to where a block of the basis is found
 * again, so a small edit costs little more than hashing the file. The blocks are the same as if the chunker had cut them all.
 */
export class DeltaEncoder {
  readonly #digestFunction: DigestFunction;
  readonly #basis: Signature;
  readonly #recorder: BlockRecorder;
  readonly #output: DeltaOutput;
  /** Made when a block is not where it is expected. */
  #index: BlockIndex | undefined;

  /** The block of the basis that is expected next. */
  #next = 0;
  /** Whether the block before it was just found. */
  #isInStep = true;

  /** Sum of the groups that were compared in vain. */
  #failedGroupBytes = 0;

  /** The fingerprint of what was hashed last. */
  readonly #fingerprint = new Int32Array(FINGERPRINT_WORDS);
  #scannedBytes = 0;
  #hashedBytes = 0;
  #hashCalls = 0;
  #comparisons = 0;

  /** @param basis Made with the same digest function. Its parameters become those of the new signature. */
  constructor(digestFunction: DigestFunction, basis: Signature, sink: DeltaSink) {
    this.#digestFunction = digestFunction;
    this.#basis = basis;
    this.#recorder = new BlockRecorder(digestFunction, basis.parameters);
    this.#output = new DeltaOutput(sink, this.#recorder.window);
  }

  /** Takes the next slice of the new content, of any length. Of it only what is less than a group (128 KiB) or a block is kept. */
  push(slice: Uint8Array): void {
    this.#recorder.open(slice);
    while (this.#step(false));
    this.#output.flushLiteral();
    this.#recorder.close();
  }

  /** Ends the encoder, with the last calls of the sink. Any further call throws. */
  finish(): SignedContent {
    this.#recorder.open(NO_BYTES);
    while (this.#step(true));
    this.#output.finish();
    return this.#recorder.finish();
  }

  get cost(): DeltaCost {
    return {
      scannedBytes: this.#scannedBytes,
      hashedBytes: this.#hashedBytes,
      hashCalls: this.#hashCalls,
      comparisons: this.#comparisons + (this.#index?.comparisons ?? 0),
    };
  }

  /** Takes one group or block. False when there is none left, or none before the next slice. */
  #step(isFinal: boolean): boolean {
    // Where the basis ends is no boundary: its last block is left to the chunker.
    const isPredictable = this.#isInStep && this.#next < this.#basis.blockCount - 1;
    return isPredictable ? this.#stepAlong(isFinal) : this.#stepByChunker(isFinal, undefined);
  }

  #stepAlong(isFinal: boolean): boolean {
    const group = this.#tryGroup();
    if (group === 'taken') return true;
    if (group === 'incomplete' && !isFinal) return false;
    const length = lengthOfBlock(this.#basis, this.#next);
    if (!this.#holds(length)) {
      if (isFinal) this.#isInStep = false;
      return isFinal;
    }
    const block = this.#hash(length);
    if (equalFingerprints(this.#fingerprint, 0, this.#basis.fingerprints, this.#next)) {
      this.#takeKnown(this.#next, block);
      return true;
    }
    this.#isInStep = false;
    return this.#stepByChunker(isFinal, block);
  }

  #tryGroup(): 'taken' | 'none' | 'incomplete' {
    const { groups, offsets } = this.#basis;
    if (groups === undefined || !this.#recorder.isAtGroupStart) return 'none';
    // A content made for it could make one comparison after the other fail. All of them together never cost more than once the content.
    if (this.#failedGroupBytes > this.#recorder.sizeBytes + FREE_FAILED_BYTES) return 'none';
    const group = groupStartingAt(groups, this.#next);
    if (group === NONE) return 'none';
    const behind = groups.firstBlocks[group + 1] ?? 0;
    const offset = offsets[this.#next] ?? 0;
    const length = (offsets[behind] ?? 0) - offset;
    if (!this.#holds(length)) return 'incomplete';
    this.#hash(length);
    if (!equalFingerprints(this.#fingerprint, 0, groups.fingerprints, group)) {
      this.#failedGroupBytes += length;
      return 'none';
    }
    this.#output.copy(offset, length);
    this.#recorder.takeGroup(this.#basis, groups, group);
    this.#next = behind;
    return 'taken';
  }

  /** @param expected The block that was expected, hashed: one with changed bytes often ends where it did. */
  #stepByChunker(isFinal: boolean, expected: HashedBlock | undefined): boolean {
    const { parameters, blockCount } = this.#basis;
    if (!this.#holds(parameters.maxBytes) && !isFinal) return false;
    const { bytes, start, end } = this.#recorder.window;
    if (start === end) return false;
    const length = blockLength(bytes, start, end, parameters);
    this.#scannedBytes += length;
    const block = expected?.length === length ? expected : this.#hash(length);
    const known = this.#find(length);
    if (known !== NONE) {
      this.#takeKnown(known, block);
      return true;
    }
    const wasAtTail = this.#isInStep && this.#next === blockCount - 1;
    this.#output.literalFrom(start + (wasAtTail ? this.#copyTail(length) : 0));
    this.#recorder.take(length, block.digest);
    this.#isInStep = false;
    this.#next++;
    return true;
  }

  /** The block of the basis that is equal to the one just hashed. Where several are, one near to the expected one is best. */
  #find(length: number): number {
    const { fingerprints, blockCount } = this.#basis;
    const nearbyEnd = Math.min(this.#next + NEARBY_BLOCKS, blockCount);
    for (let block = this.#next; block < nearbyEnd; block++) {
      this.#comparisons++;
      const isEqual = equalFingerprints(this.#fingerprint, 0, fingerprints, block);
      if (isEqual && lengthOfBlock(this.#basis, block) === length) return block;
    }
    this.#index ??= new BlockIndex(this.#basis);
    const block = this.#index.find(this.#fingerprint);
    return block !== NONE && lengthOfBlock(this.#basis, block) === length ? block : NONE;
  }

  /** The length of the basis' last block, if the block at the window's start begins with it: something was appended. Else 0. */
  #copyTail(length: number): number {
    const tail = this.#basis.blockCount - 1;
    const tailLength = lengthOfBlock(this.#basis, tail);
    if (tailLength >= length) return 0;
    this.#hash(tailLength);
    if (!equalFingerprints(this.#fingerprint, 0, this.#basis.fingerprints, tail)) return 0;
    this.#output.copy(this.#basis.offsets[tail] ?? 0, tailLength);
    return tailLength;
  }

  #takeKnown(known: number, { length, digest }: HashedBlock): void {
    this.#output.copy(this.#basis.offsets[known] ?? 0, length);
    this.#recorder.take(length, digest);
    this.#isInStep = true;
    this.#next = known + 1;
  }

  /** Hashes so many bytes at the window's start, and leaves their fingerprint in #fingerprint. */
  #hash(length: number): HashedBlock {
    const { bytes, start } = this.#recorder.window;
    const digest = digestOfBlock(this.#digestFunction, bytes.subarray(start, start + length));
    setFingerprint(this.#fingerprint, 0, digest);
    this.#hashedBytes += length;
    this.#hashCalls++;
    return { length, digest };
  }

  /** Whether the window holds so many bytes, if need be with bytes from the slice. */
  #holds(count: number): boolean {
    if (this.#recorder.window.holds(count)) return true;
    this.#output.flushLiteral();
    return this.#recorder.extend(count);
  }
}
