/**
 * A streaming answer at its client's pace: so many bytes may wait for the client, and so long may they wait. Whoever asks for
 * everything and reads nothing costs that and no more, and in the end loses the stream.
 */
import { LockstepError } from '../../../common/ops/errors.ts';
import { endWithError, type MessageSink } from '../../../common/rpc/call-stream.ts';
import { superviseCall } from '../../../common/rpc/call-supervision.ts';
import { resetCall } from '../../../common/rpc/wire-stream.ts';
import { ByteWindow } from './byte-window.ts';
import { MAX_ANSWER_AHEAD_BYTES } from './limits.ts';

export class PacedAnswers<T> {
  readonly #call: MessageSink<T>;
  readonly #signal: AbortSignal;
  readonly #stalledMs: number;
  readonly #window = new ByteWindow(MAX_ANSWER_AHEAD_BYTES);

  /** The signal aborts when the call is over. */
  constructor(call: MessageSink<T>, limits: { readonly stalledAnswerMs: number }, signal: AbortSignal) {
    this.#call = call;
    this.#signal = signal;
    this.#stalledMs = limits.stalledAnswerMs;
  }

  /**
   * Hands a message of about so many bytes to the call; resolves when there is room for another.
   * @throws LockstepError when the call has failed or ended; LIMIT_EXCEEDED when the client took nothing for too long
   */
  async write(message: T, sizeBytes: number): Promise<void> {
    this.#signal.throwIfAborted();
    const supervision = superviseCall(this.#call);
    if (supervision.isOver || this.#call.writableEnded || this.#call.destroyed) throw supervision.overError();
    this.#window.add(sizeBytes);
    // A message that could not be sent has ended the call, which the signal tells.
    this.#call.write(message, () => this.#window.remove(sizeBytes));
    if (this.#window.hasRoom) return;
    const timer = setTimeout(() => this.#giveUp(), this.#stalledMs);
    try {
      await this.#window.untilRoom(this.#signal);
    } finally {
      clearTimeout(timer);
    }
  }

  #giveUp(): void {
    const seconds = Math.round(this.#stalledMs / 1000);
    if (!resetCall(this.#call)) {
      endWithError(this.#call, new LockstepError('LIMIT_EXCEEDED', `nothing was read for ${seconds} s`));
    }
  }
}
