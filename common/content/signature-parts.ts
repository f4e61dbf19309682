/**
 * Signatures in parts, as they travel and as they are stored: consecutive blocks with lengths and fingerprints. Whatever comes
 * from outside is checked here before it is believed. Pure; the parts have the shape of GetSignatureResponse, but nothing here
 * knows the wire.
 */
import { LockstepError } from '../ops/errors.ts';
import { type ChunkingParameters, chunkingParameters, isAverage } from './chunker.ts';
import type { Digest } from './digest.ts';
import { FINGERPRINT_BYTES, FingerprintList, fingerprintBytes } from './fingerprint.ts';
import { lengthOfBlock, MAX_BLOCKS, type Signature } from './signature.ts';

export interface SignaturePart {
  /** The same in all parts of a signature. */
  readonly averageBlockBytes: number;
  /** Lengths of the blocks in bytes. */
  readonly lengths: readonly number[];
  /** Their fingerprints, 16 bytes each, one after the other. */
  readonly fingerprints: Uint8Array;
}

/** The parts of a signature, each of so many blocks at most; one without blocks for an empty content. */
export function* signatureParts(signature: Signature, maxBlocks: number): Generator<SignaturePart> {
  const { blockCount, parameters, fingerprints } = signature;
  let from = 0;
  do {
    const to = Math.min(from + maxBlocks, blockCount);
    const first = from;
    yield {
      averageBlockBytes: parameters.averageBytes,
      lengths: Array.from({ length: to - first }, (_, index) => lengthOfBlock(signature, first + index)),
      fingerprints: fingerprintBytes(fingerprints, first, to),
    };
    from = to;
  } while (from < blockCount);
}

/**
 * Puts parts together again. Refuses what no chunker makes: blocks of no length or beyond the limits, more of them than there may
 * be, lengths that do not add up to the content's size (S12). A part takes no more memory than it had itself.
 */
export class SignatureAssembler {
  readonly #digest: Digest;
  readonly #sizeBytes: number;
  #parameters: ChunkingParameters | undefined;
  readonly #offsets: number[] = [0];
  readonly #fingerprints = new FingerprintList();
  #hasEnd = false;

  /** @param digest Digest and size of the content, known from elsewhere; `sizeBytes` is a safe integer from 0 on. */
  constructor(digest: Digest, sizeBytes: number) {
    this.#digest = digest;
    this.#sizeBytes = sizeBytes;
  }

  /** @throws LockstepError INVALID_ARGUMENT */
  add({ averageBlockBytes, lengths, fingerprints }: SignaturePart): void {
    if (!isAverage(averageBlockBytes)) throw invalid(`has an average block length of ${averageBlockBytes} bytes`);
    this.#parameters ??= chunkingParameters(averageBlockBytes);
    const { averageBytes, minBytes, maxBytes } = this.#parameters;
    if (averageBlockBytes !== averageBytes) throw invalid('has parts of different average block lengths');
    if (this.#fingerprints.count + lengths.length > MAX_BLOCKS) throw invalid(`has more than ${MAX_BLOCKS} blocks`);
    if (fingerprints.length !== lengths.length * FINGERPRINT_BYTES)
      throw invalid('has not one fingerprint for each block');
    let end = this.#offsets.at(-1) ?? 0;
    for (const length of lengths) {
      if (this.#hasEnd) throw invalid('has blocks behind its last one');
      if (!Number.isInteger(length) || length <= 0 || length > maxBytes)
        throw invalid(`has a block of ${length} bytes`);
      // Only where the content ends may a block be shorter.
      this.#hasEnd = length < minBytes;
      end += length;
      this.#offsets.push(end);
    }
    this.#fingerprints.addBytes(fingerprints);
  }

  /**
   * The signature, without groups.
   *
   * @throws LockstepError INVALID_ARGUMENT when parts are missing
   */
  finish(): Signature {
    const sizeBytes = this.#offsets.at(-1) ?? 0;
    if (this.#parameters === undefined || sizeBytes !== this.#sizeBytes) {
      throw invalid(`has blocks of ${sizeBytes} bytes for a content of ${this.#sizeBytes}`);
    }
    return {
      parameters: this.#parameters,
      digest: this.#digest,
      sizeBytes,
      blockCount: this.#fingerprints.count,
      offsets: Float64Array.from(this.#offsets),
      fingerprints: this.#fingerprints.toWords(),
      groups: undefined,
    };
  }
}

function invalid(what: string): LockstepError {
  return new LockstepError('INVALID_ARGUMENT', `a signature ${what}`);
}
