/**
 * The digest and the signature of a content, in one pass over it. Pure.
 */
import { digestOfBlock } from './block-digest.ts';
import { BlockRecorder, type SignedContent } from './block-recorder.ts';
import { blockLength, type ChunkingParameters } from './chunker.ts';
import type { DigestFunction } from './digest.ts';

export class SignatureBuilder {
  readonly #digestFunction: DigestFunction;
  readonly #parameters: ChunkingParameters;
  readonly #recorder: BlockRecorder;

  constructor(digestFunction: DigestFunction, parameters: ChunkingParameters) {
    this.#digestFunction = digestFunction;
    this.#parameters = parameters;
    this.#recorder = new BlockRecorder(digestFunction, parameters);
  }

  /** Takes the next slice, of any length. It is not kept. */
  push(slice: Uint8Array): void {
    const recorder = this.#recorder;
    const { maxBytes } = this.#parameters;
    recorder.open(slice);
    while (recorder.window.holds(maxBytes) || recorder.extend(maxBytes)) this.#takeBlock();
    recorder.close();
  }

  /** Ends the builder: any further call throws. */
  finish(): SignedContent {
    this.#recorder.open(NO_BYTES);
    while (this.#recorder.window.holds(1)) this.#takeBlock();
    return this.#recorder.finish();
  }

  #takeBlock(): void {
    const { bytes, start, end } = this.#recorder.window;
    const length = blockLength(bytes, start, end, this.#parameters);
    this.#recorder.take(length, digestOfBlock(this.#digestFunction, bytes.subarray(start, start + length)));
  }
}

const NO_BYTES = new Uint8Array(0);
