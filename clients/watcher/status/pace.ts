/**
 * How fast work goes on, smoothed, and for how long it will at that pace. Pure: the caller says what time it is.
 */
import type { EngineStatus } from '../engine/messages.ts';

/** What is this long ago counts e times less than what is now. */
const MEMORY_MS = 5_000;
/** Before that a pace says nothing of what is to come. */
const MIN_OBSERVED_MS = 1_000;

export interface Pace {
  readonly bytesPerSecond: number;
  readonly changesPerSecond: number;
  /** For how long it has been observed, in milliseconds; what is long ago counts less here, too. */
  readonly observedMs: number;
}

export const NO_PACE: Pace = { bytesPerSecond: 0, changesPerSecond: 0, observedMs: 0 };

interface Sample {
  readonly timeMs: number;
  readonly bytes: number;
  readonly changes: number;
}

export class PaceMeter {
  #last: Sample | undefined;
  #observedMs = 0;
  #bytes = 0;
  #changes = 0;

  /** What was sent since the start, at a monotonic time. */
  add(sample: Sample): Pace {
    const last = this.#last ?? sample;
    const passedMs = Math.max(0, sample.timeMs - last.timeMs);
    const kept = Math.exp(-passedMs / MEMORY_MS);
    // Amounts and time fade alike, so that their quotient is right from the first moment on.
    this.#observedMs = this.#observedMs * kept + passedMs;
    this.#bytes = this.#bytes * kept + sample.bytes - last.bytes;
    this.#changes = this.#changes * kept + sample.changes - last.changes;
    this.#last = sample;
    return {
      bytesPerSecond: this.#perSecond(this.#bytes),
      changesPerSecond: this.#perSecond(this.#changes),
      observedMs: this.#observedMs,
    };
  }

  /** Nothing is to be done: what comes later has a pace of its own. */
  rest(): void {
    this.#last = undefined;
    this.#observedMs = 0;
    this.#bytes = 0;
    this.#changes = 0;
  }

  /** What a broken upload had brought is taken back, so that the amount may be negative. */
  #perSecond(amount: number): number {
    return this.#observedMs < 1 ? 0 : Math.max(0, (amount * 1000) / this.#observedMs);
  }
}

export interface BytesDone {
  readonly done: number;
  readonly total: number;
}

/**
 * Bytes for the eye, which only ever approach their total: a content between its upload and the answer to its change is
 * neither sent nor pending, and a batch weighs otherwise than what it brings.
 */
export class ByteCourse {
  #done = 0;
  #total = 0;

  follow({ sentContentBytes, pendingBytes }: EngineStatus): BytesDone {
    this.#total = Math.max(this.#total, sentContentBytes + pendingBytes);
    this.#done = Math.max(this.#done, this.#total - pendingBytes);
    return { done: this.#done, total: this.#total };
  }
}

export interface Course {
  readonly bytes: BytesDone;
  readonly pace: Pace;
}

export const NO_COURSE: Course = { bytes: { done: 0, total: 0 }, pace: NO_PACE };

/** Both, followed from what the engine says. */
export class CourseMeter {
  readonly #pace = new PaceMeter();
  readonly #bytes = new ByteCourse();

  /** `timeMs` is monotonic. What is said while it is not at work has no pace. */
  follow(engine: EngineStatus, isAtWork: boolean, timeMs: number): Course {
    const bytes = this.#bytes.follow(engine);
    if (isAtWork) return { bytes, pace: this.#pace.add({ timeMs, bytes: bytes.done, changes: engine.sentChanges }) };
    this.#pace.rest();
    return { bytes, pace: NO_PACE };
  }
}

/** Seconds until nothing is pending; undefined while that cannot be known: before all has been found, or when nothing moves. */
export function secondsLeft(engine: EngineStatus, pace: Pace): number | undefined {
  if (engine.phase !== 'sending' || pace.observedMs < MIN_OBSERVED_MS) return undefined;
  if (engine.pendingBytes > 0 && pace.bytesPerSecond >= 1) return engine.pendingBytes / pace.bytesPerSecond;
  if (engine.pendingChanges > 0 && pace.changesPerSecond > 0) return engine.pendingChanges / pace.changesPerSecond;
  return undefined;
}
