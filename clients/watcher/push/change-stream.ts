/**
 * The ApplyChanges stream of a session: serialized batches out, what became of them in. Knows no batch's inside.
 * Writing respects the call's room; what waits here is bounded by the engine, which limits its unanswered bytes.
 */
import { Deferred, untilAborted } from '../../../common/ops/async.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { readMessages } from '../../../common/rpc/call-stream.ts';
import { superviseCall } from '../../../common/rpc/call-supervision.ts';
import type { ChangesFrame } from '../../../common/rpc/hot-codec.ts';
import { fromWirePath, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import { type ChangeProblem, ChangeProblemKind } from '../../../gen/lockstep/sync/v1/change.ts';
import type { ApplyChangesResponse, BatchApplied, OpenChanges } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { BatchResult } from '../engine/messages.ts';
import type { ChangesCall } from './connection.ts';
import type { EnginePort } from './engine-port.ts';
import type { SentBytes } from './sent-bytes.ts';
import type { TokenBucket } from './token-bucket.ts';

type ProblemKind = BatchResult['problems'][number]['kind'];

/** A batch that the server has answered. */
export interface AnsweredBatch {
  readonly batchId: Uint8Array;
  readonly revision: bigint;
  /** As it was sent. */
  readonly sizeBytes: number;
  readonly problems: number;
  /** From the moment at which it was given to the connection. */
  readonly durationMs: number;
}

export interface ChangeStreamOptions {
  /** Hears of each batch that was answered. */
  readonly onAnswered?: ((batch: AnsweredBatch) => void) | undefined;
  /** What batches are counted against. */
  readonly bandwidth?: TokenBucket | undefined;
  /** What goes out is counted here. */
  readonly sent?: SentBytes | undefined;
}

export class ChangeStream {
  readonly #call: ChangesCall;
  readonly #engine: EnginePort;
  readonly #opened = new Deferred<void>();
  readonly #waiting: ChangesFrame[] = [];
  #isBlocked = false;
  /** A batch waits for its part of the bandwidth. */
  #isHeld = false;
  #isFinished = false;
  /** What waits is the last. */
  #isComplete = false;
  #batches = 0;
  #answers = 0;
  #namedDrifts = 0;
  readonly #onAnswered: ((batch: AnsweredBatch) => void) | undefined;
  readonly #bandwidth: TokenBucket | undefined;
  readonly #sentBytes: SentBytes | undefined;
  /** Ends what waits for bandwidth when the stream is over. */
  readonly #over = new AbortController();
  /** Of the batches that are not answered, in order; kept only where somebody wants to know. */
  readonly #sent: { readonly atMs: number; readonly sizeBytes: number }[] = [];
  /** Resolves when the server ended the stream after our half-close; rejects with why it broke otherwise. */
  readonly ended: Promise<void>;

  /** The engine gets `applied`, `durable` and `drifted` in the order of their arrival. */
  constructor(call: ChangesCall, open: OpenChanges, engine: EnginePort, options: ChangeStreamOptions = {}) {
    this.#call = call;
    this.#onAnswered = options.onAnswered;
    this.#bandwidth = options.bandwidth;
    this.#sentBytes = options.sent;
    this.#engine = engine;
    call.on('drain', () => {
      this.#isBlocked = false;
      this.#flush();
    });
    this.ended = this.#receive();
    // Whoever waits for `opened` hears of an early end as well.
    this.ended.catch((error: unknown) => this.#opened.reject(error));
    this.#opened.promise.catch(() => {
      // Reported by `ended`, also when nobody waits for the opening any more.
    });
    this.#send({ form: 'open', open });
  }

  /** Resolves when the server has accepted the lease. @throws why it did not; the signal's reason. */
  opened(signal: AbortSignal): Promise<void> {
    return untilAborted(this.#opened.promise, signal);
  }

  /** Batches answered so far. */
  get answers(): number {
    return this.#answers;
  }

  /** `encoded` is given away, with the memory that it is a view of; `rawBytes` is what it stands for. */
  send(form: 'batch' | 'compressed', encoded: Uint8Array, rawBytes: number): void {
    if (this.#onAnswered !== undefined) this.#sent.push({ atMs: performance.now(), sizeBytes: encoded.length });
    if (this.#isFinished) return;
    this.#batches++;
    this.#sentBytes?.add(encoded.length, rawBytes);
    this.#send({ form, encoded });
  }

  /** Half-close behind all that was sent. The server answers it, gives the lease back, and ends. */
  halfClose(): void {
    this.#isComplete = true;
    this.#flush();
  }

  /** As `halfClose`, and at once: what has not gone out yet stays here. */
  finish(): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    // What still waits for bandwidth counts as unsent: nobody who stops waits for a slow line.
    if (this.#isHeld) this.#waiting.length = 0;
    this.#over.abort();
    this.#flush();
  }

  cancel(): void {
    this.#over.abort();
    this.#call.cancel();
  }

  #send(frame: ChangesFrame): void {
    if (this.#isFinished) return;
    this.#waiting.push(frame);
    this.#flush();
  }

  #flush(): void {
    if (superviseCall(this.#call).isOver) return;
    while (!this.#isBlocked && !this.#isHeld) {
      const frame = this.#waiting[0];
      if (frame === undefined) break;
      const admitted = this.#admit(frame);
      if (admitted !== undefined) {
        this.#isHeld = true;
        this.#writeWhen(admitted);
        break;
      }
      this.#waiting.shift();
      this.#write(frame);
    }
    const isLast = this.#isFinished || this.#isComplete;
    if (isLast && this.#waiting.length === 0 && !this.#call.writableEnded) this.#call.end();
  }

  #admit(frame: ChangesFrame): Promise<void> | undefined {
    if (!('encoded' in frame) || this.#isFinished) return undefined;
    return this.#bandwidth?.admit(frame.encoded.length, 'changes', this.#over.signal);
  }

  #writeWhen(admitted: Promise<void>): void {
    admitted.then(
      () => {
        this.#isHeld = false;
        const frame = this.#waiting.shift();
        if (frame !== undefined && !superviseCall(this.#call).isOver) this.#write(frame);
        this.#flush();
      },
      () => {
        // The stream is over, or about to be: what waits was not sent.
      },
    );
  }

  #write(frame: ChangesFrame): void {
    this.#isBlocked = !this.#call.write(frame, () => release(frame));
  }

  async #receive(): Promise<void> {
    for await (const response of readMessages(this.#call)) {
      this.#handle(response);
      await this.#engine.untilRoom();
    }
    const isAnswered = this.#isComplete && this.#answers >= this.#batches;
    if (!this.#isFinished && !isAnswered)
      throw new LockstepError('SERVER_UNREACHABLE', 'the server ended the stream of changes');
  }

  /** Answers come in the order of the batches. */
  #tellAnswered({ batchId, revision, problems }: BatchApplied): void {
    const sent = this.#sent.shift();
    if (sent === undefined) return;
    const durationMs = performance.now() - sent.atMs;
    this.#onAnswered?.({ batchId, revision, sizeBytes: sent.sizeBytes, problems: problems.length, durationMs });
  }

  /** The directories to compare. The root stands for all of them, so that no server can name directories without end. */
  #drifted(paths: readonly string[]): readonly TreePath[] {
    this.#namedDrifts += paths.length;
    return this.#namedDrifts > MAX_NAMED_DRIFTS ? [ROOT] : paths.map((path) => fromWirePath(path));
  }

  #handle(response: ApplyChangesResponse): void {
    const { message } = response;
    switch (message?.$case) {
      case 'opened':
        this.#opened.resolve();
        break;
      case 'applied':
        this.#answers++;
        this.#tellAnswered(message.value);
        this.#engine.post({ type: 'applied', result: resultOf(message.value) });
        break;
      case 'durable':
        this.#engine.post({ type: 'durable', revision: message.value.revision });
        break;
      case 'drifted': {
        const { paths, headRevision } = message.value;
        this.#engine.post({ type: 'drifted', paths: this.#drifted(paths), headRevision });
        break;
      }
      case undefined:
        // A kind of message that newer servers may send without being asked.
        break;
    }
  }
}

/** What a session remembers by name; a server that lists more means "everywhere". */
const MAX_NAMED_DRIFTS = 10_000;

/** Above any size at which the memory could be shared with other, smaller values. */
const MIN_RELEASED_BYTES = 128 * 1024;

/**
 * Gives the memory of a batch back when gRPC has made its own copy of it. The collector would come for it as well, but
 * it looks through the whole heap each time when some tens of megabytes lie around.
 */
function release(frame: ChangesFrame): void {
  if (frame.form !== 'batch' && frame.form !== 'compressed') return;
  const { buffer } = frame.encoded;
  if (buffer instanceof ArrayBuffer && frame.encoded.length >= MIN_RELEASED_BYTES) buffer.transfer(0);
}

function resultOf(applied: BatchApplied): BatchResult {
  return {
    batchId: new Uint8Array(applied.batchId),
    revision: applied.revision,
    durable: applied.durable,
    problems: applied.problems.map(problemOf),
  };
}

function problemOf(problem: ChangeProblem): BatchResult['problems'][number] {
  const { index, path, reason, message } = problem;
  return { index, kind: kindOf(problem.kind), path: fromWirePath(path), reason, message };
}

function kindOf(kind: ChangeProblemKind): ProblemKind {
  switch (kind) {
    case ChangeProblemKind.CHANGE_PROBLEM_KIND_CONTENT_NEEDED:
      return 'content-needed';
    case ChangeProblemKind.CHANGE_PROBLEM_KIND_DRIFTED:
      return 'drifted';
    case ChangeProblemKind.CHANGE_PROBLEM_KIND_BASIS_MISMATCH:
      return 'basis-mismatch';
    case ChangeProblemKind.CHANGE_PROBLEM_KIND_INVALID:
      return 'invalid';
    default:
      // Also kinds that this version does not know: not applied is all that is certain.
      return 'failed';
  }
}
