/**
 * ApplyChanges: batches in, revisions out, in the same order. Batches go to the replica undecoded; this thread only
 * looks at what they are about, for the log.
 *
 * How a stream ends decides about the lease. Half-closed: all answers go out, then nobody holds the folder.
 * Broken, or ended with an error: the holder is only no longer connected, and may come back.
 */
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { AsyncQueue, Deferred, untilAborted } from '../../../common/ops/async.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { endWithError, readMessages, writeMessage } from '../../../common/rpc/call-stream.ts';
import type { ChangesFrame } from '../../../common/rpc/hot-codec.ts';
import { streamHandler } from '../../../common/rpc/serve.ts';
import { type TreePath, toWirePath } from '../../../common/tree/tree-path.ts';
import {
  Acknowledgement,
  type ApplyChangesResponse,
  type OpenChanges,
} from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { AppliedBatch, IncomingBatch } from '../replica/replica.ts';
import { toWireApplied } from './applied-batch.ts';
import { type ChangeSummary, plainBatchBytes, summariesBytes, summarizeBatch } from './batch-summary.ts';
import { ByteWindow } from './byte-window.ts';
import { MessageFiller } from './message-filler.ts';
import { isRefusal } from './folder-problems.ts';
import { reasonLabel } from './server-metrics.ts';
import type { ServedFolder, SyncContext } from './sync-context.ts';

type ChangesCall = ServerDuplexStream<ChangesFrame, ApplyChangesResponse>;

/** What a batch costs beside its bytes, so that very many very small ones are bounded too. */
const BATCH_OVERHEAD_BYTES = 1024;

/** Answers that wait for a client that does not read; only drift comes without having been asked for. */
const MAX_WAITING_ANSWERS = 64;

export function applyChanges(context: SyncContext) {
  return streamHandler(async (call: ChangesCall, signal) => {
    const frames = readMessages(call);
    const first = await frames.next();
    if (first.done === true) return;
    if (first.value.form !== 'open') {
      throw new LockstepError('INVALID_ARGUMENT', 'the first message of a stream of changes must open it');
    }
    const { open } = first.value;
    const served = context.authorizeStream(call, open.folder, 'write');
    const acknowledgement = acknowledgementOf(open);
    const connection = served.leases.connectChanges(open.lease, { end: (error) => endWithError(call, error) });
    const session = new ChangesSession(context, served, call, { lease: open.lease, acknowledgement, signal });
    try {
      await session.run(frames);
      connection.giveBack();
      context.logger.info({ folder: open.folder, lease: String(open.lease) }, 'lease given back');
    } finally {
      connection.disconnect();
    }
  }, context.onCallError);
}

interface SessionOptions {
  readonly lease: bigint;
  readonly acknowledgement: IncomingBatch['acknowledgement'];
  /** Aborts when the call is over. */
  readonly signal: AbortSignal;
}

interface PendingBatch {
  readonly batchId: string;
  readonly sizeBytes: number;
  readonly arrivedAtMs: number;
  /** What the batch is about; looked at before its memory was given away. */
  readonly changes: readonly ChangeSummary[];
  /** It waits no longer. */
  readonly leaveQueue: () => void;
  readonly applied: Promise<AppliedBatch>;
  /** Its answer is out. */
  readonly answered: Deferred<void>;
}

class ChangesSession {
  readonly #context: SyncContext;
  readonly #served: ServedFolder;
  readonly #call: ChangesCall;
  readonly #options: SessionOptions;
  readonly #window: ByteWindow;
  /** In the order of arrival. Bounded by the window: nothing is read while it is full. */
  readonly #pending = new AsyncQueue<PendingBatch>({ maxBytes: Number.POSITIVE_INFINITY });
  /** The last one of each id that is not answered. */
  readonly #unanswered = new Map<string, Deferred<void>>();
  /** Of those that are not answered. */
  readonly #queued = new Set<() => void>();
  /** The newest revision that was answered before it was durable, and the task that waits for it. */
  #awaitedRevision = 0n;
  #durability: Promise<void> | undefined;

  constructor(context: SyncContext, served: ServedFolder, call: ChangesCall, options: SessionOptions) {
    this.#context = context;
    this.#served = served;
    this.#call = call;
    this.#options = options;
    this.#window = new ByteWindow(context.limits.maxInFlightBytes);
  }

  /** Resolves when the client has half-closed and everything is answered. */
  async run(frames: AsyncIterable<ChangesFrame>): Promise<void> {
    const { replica } = this.#served;
    const stopDrift = replica.onDrift((paths, headRevision) => this.#announceDrift(paths, headRevision));
    try {
      await this.#send({ $case: 'opened', value: { headRevision: replica.info().headRevision } });
      await Promise.all([this.#read(frames), this.#answer()]);
      await this.#durability;
    } finally {
      stopDrift();
      for (const leaveQueue of this.#queued) leaveQueue();
    }
  }

  async #read(frames: AsyncIterable<ChangesFrame>): Promise<void> {
    for await (const frame of frames) {
      await this.#submit(frame);
      await this.#window.untilRoom(this.#options.signal);
    }
    this.#pending.close();
  }

  async #submit(frame: ChangesFrame): Promise<void> {
    if (frame.form === 'malformed')
      throw new LockstepError('INVALID_ARGUMENT', 'a message is not an ApplyChangesRequest');
    if (frame.form === 'open') throw new LockstepError('INVALID_ARGUMENT', 'the stream is open already');
    const { maxBatchBytes } = this.#context.limits;
    if (frame.form === 'batch' && frame.encoded.length > maxBatchBytes) {
      throw new LockstepError('LIMIT_EXCEEDED', `a batch has more than ${maxBatchBytes} bytes`);
    }
    const { replica, changeLog, traffic } = this.#served;
    const { lease, acknowledgement } = this.#options;
    this.#context.metrics.batchBytes.add(frame.encoded.length, { folder: replica.folder });
    const rawBytes = plainBatchBytes(frame.encoded, frame.form, maxBatchBytes);
    traffic.carried({ wireBytes: frame.encoded.length, rawBytes });
    const { batchId, changes } = summarizeBatch(frame.encoded, frame.form, this.#context.limits, changeLog.detail);
    // What is repeated gets the same answer once more, which nobody has counted: one of each waits for the client, not any number.
    const earlier = this.#unanswered.get(batchId);
    if (earlier !== undefined) await untilAborted(earlier.promise, this.#options.signal);
    // Compressed, a batch may be much smaller than what is kept of it here.
    const sizeBytes = frame.encoded.length + BATCH_OVERHEAD_BYTES + summariesBytes(changes);
    const applied = replica.applyBatch({
      lease,
      encoded: frame.encoded,
      form: frame.form,
      acknowledgement,
      changeCount: changes.length,
    });
    // Awaited when it is this batch's turn; until then a failure must not count as unhandled.
    applied.catch(() => undefined);
    this.#window.add(sizeBytes);
    const leaveQueue = traffic.queued(sizeBytes);
    this.#queued.add(leaveQueue);
    const answered = new Deferred<void>();
    this.#unanswered.set(batchId, answered);
    const arrivedAtMs = performance.now();
    this.#pending.tryPush({ batchId, sizeBytes, arrivedAtMs, changes, leaveQueue, applied, answered });
  }

  async #answer(): Promise<void> {
    const { folder } = this.#served.replica;
    const { metrics, logger } = this.#context;
    for await (const pending of this.#pending) {
      const { batchId, sizeBytes, arrivedAtMs, changes, leaveQueue, applied, answered } = pending;
      const batch = await untilAborted(applied, this.#options.signal);
      leaveQueue();
      this.#queued.delete(leaveQueue);
      const durationMs = performance.now() - arrivedAtMs;
      this.#served.changeLog.applied(changes, batch, durationMs);
      metrics.batches.add(1, { folder });
      metrics.batchDuration.observe(durationMs / 1000, { folder });
      for (const problem of batch.problems) {
        const { kind } = problem;
        metrics.problems.add(1, { folder, kind });
        if (isRefusal(problem)) metrics.refusedChanges.add(1, { folder, reason: reasonLabel(problem) });
      }
      logger.debug({ folder, revision: batch.revision, problems: batch.problems.length }, 'batch applied');
      await this.#send({ $case: 'applied', value: toWireApplied(batch) });
      this.#window.remove(sizeBytes);
      this.#unanswered.delete(batchId);
      answered.resolve();
      if (!batch.durable) this.#announceWhenDurable(batch.revision);
    }
  }

  /** One task at a time; it announces the newest revision that became due while it waited. */
  #announceWhenDurable(revision: bigint): void {
    this.#awaitedRevision = revision;
    if (this.#durability !== undefined) return;
    this.#durability = this.#announceDurability();
    // `run` awaits it; a failure before that moment ends the stream, which ends `run`.
    this.#durability.catch((error: unknown) => endWithError(this.#call, error));
  }

  async #announceDurability(): Promise<void> {
    for (let announced = -1n; announced < this.#awaitedRevision; ) {
      announced = this.#awaitedRevision;
      await untilAborted(this.#served.replica.whenDurable(announced), this.#options.signal);
      await this.#send({ $case: 'durable', value: { revision: announced } });
    }
    // In the turn of the last check, so that no revision can come between the two.
    this.#durability = undefined;
  }

  #announceDrift(paths: readonly TreePath[], headRevision: bigint): void {
    const filler = new MessageFiller<string>((path) => Buffer.byteLength(path) + 4);
    const messages = paths.map((path) => filler.add(toWirePath(path))).filter((full) => full !== undefined);
    if (this.#call.writableLength > MAX_WAITING_ANSWERS) {
      endWithError(this.#call, new LockstepError('LIMIT_EXCEEDED', 'answers are not read; connect again'));
      return;
    }
    for (const some of [...messages, filler.take()]) {
      // A stream that cannot be written to is ending by itself: the client compares when it is back.
      this.#send({ $case: 'drifted', value: { paths: some, headRevision } }).catch(() => undefined);
    }
  }

  #send(message: NonNullable<ApplyChangesResponse['message']>): Promise<void> {
    return writeMessage(this.#call, { message }, this.#options.signal);
  }
}

function acknowledgementOf(open: OpenChanges): IncomingBatch['acknowledgement'] {
  switch (open.acknowledgement) {
    case Acknowledgement.ACKNOWLEDGEMENT_UNSPECIFIED:
    case Acknowledgement.ACKNOWLEDGEMENT_DURABLE:
      return 'durable';
    case Acknowledgement.ACKNOWLEDGEMENT_APPLIED:
      return 'applied';
    default:
      throw new LockstepError('INVALID_ARGUMENT', `unknown acknowledgement ${open.acknowledgement}`);
  }
}
