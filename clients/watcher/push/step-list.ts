/**
 * What a chunk stands for, told in as few steps as possible: ranges of the basis, zeros, data.
 */
import type { ContentStep } from './content-messages.ts';

export class StepList {
  readonly #steps: { copyOffsetBytes: number; copyLengthBytes: number; zeroBytes: number; dataBytes: number }[] = [];
  #contentBytes = 0;

  get steps(): readonly ContentStep[] {
    return this.#steps;
  }

  /** Of the content that all steps stand for. */
  get contentBytes(): number {
    return this.#contentBytes;
  }

  copy(copyOffsetBytes: number, copyLengthBytes: number): void {
    this.#steps.push({ copyOffsetBytes, copyLengthBytes, zeroBytes: 0, dataBytes: 0 });
    this.#contentBytes += copyLengthBytes;
  }

  zeros(zeroBytes: number): void {
    const last = this.#steps.at(-1);
    if (last?.dataBytes === 0) last.zeroBytes += zeroBytes;
    else this.#steps.push({ copyOffsetBytes: 0, copyLengthBytes: 0, zeroBytes, dataBytes: 0 });
    this.#contentBytes += zeroBytes;
  }

  data(dataBytes: number): void {
    const last = this.#steps.at(-1);
    if (last === undefined) this.#steps.push({ copyOffsetBytes: 0, copyLengthBytes: 0, zeroBytes: 0, dataBytes });
    else last.dataBytes += dataBytes;
    this.#contentBytes += dataBytes;
  }
}
