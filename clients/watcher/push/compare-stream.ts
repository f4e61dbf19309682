/**
 * The CompareTree stream of a session: opened with the first question, kept for as long as the session lives.
 */
import { LockstepError } from '../../../common/ops/errors.ts';
import { readMessages } from '../../../common/rpc/call-stream.ts';
import { superviseCall } from '../../../common/rpc/call-supervision.ts';
import { toWirePath, type TreePath } from '../../../common/tree/tree-path.ts';
import type { CompareTreeRequest } from '../../../gen/lockstep/sync/v1/compare.ts';
import type { CompareAnswer } from '../engine/messages.ts';
import type { CompareCall } from './connection.ts';

export interface CompareStreamOptions {
  readonly folder: string;
  readonly open: () => CompareCall;
  /** Nothing more is read before it resolves. */
  readonly onAnswer: (answer: CompareAnswer) => Promise<void>;
  /** Called once when the stream broke while the session lives. */
  readonly onFailure: (error: unknown) => void;
}

export class CompareStream {
  readonly #options: CompareStreamOptions;
  /** Questions that found no room; the engine bounds how many it asks at once. */
  readonly #waiting: CompareTreeRequest[] = [];
  #call: CompareCall | undefined;
  #isBlocked = false;
  #isClosed = false;

  constructor(options: CompareStreamOptions) {
    this.#options = options;
  }

  /** Answers come in the order of the questions. */
  ask(path: TreePath, treeDigest: Uint8Array): void {
    if (this.#isClosed) return;
    const folder = this.#call === undefined ? this.#options.folder : '';
    this.#waiting.push({ folder, path: toWirePath(path), treeDigest });
    this.#call ??= this.#open();
    this.#flush();
  }

  /** No more questions; what was asked is still answered. */
  finish(): void {
    this.#isClosed = true;
    if (this.#call?.writableEnded === false) this.#call.end();
  }

  cancel(): void {
    this.#isClosed = true;
    this.#call?.cancel();
  }

  #open(): CompareCall {
    const call = this.#options.open();
    call.on('drain', () => {
      this.#isBlocked = false;
      this.#flush();
    });
    this.#receive(call).catch((error: unknown) => {
      if (!this.#isClosed) this.#options.onFailure(error);
    });
    return call;
  }

  #flush(): void {
    const call = this.#call;
    if (call === undefined || call.writableEnded || superviseCall(call).isOver) return;
    while (!this.#isBlocked) {
      const question = this.#waiting.shift();
      if (question === undefined) break;
      this.#isBlocked = !call.write(question);
    }
  }

  async #receive(call: CompareCall): Promise<void> {
    for await (const decoded of readMessages(call)) {
      if ('error' in decoded) throw decoded.error;
      await this.#options.onAnswer(decoded.answer);
    }
    throw new LockstepError('SERVER_UNREACHABLE', 'the server ended the comparison');
  }
}
