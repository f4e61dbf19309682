/**
 * Long work in short steps: generators that yield between them, run at once or with room for others in between.
 */
import { sleep } from '../../../common/ops/async.ts';

export type Steps<T> = Generator<void, T, void>;

/** Of work at a time, before others get their turn. */
const TURN_MS = 5;

/** Lets everything else that waits in this thread go first. */
export function breathe(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Runs all steps at once. */
export function runToEnd<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

export interface Pace {
  /** How long what is done by now may take at the least. */
  readonly minimumMs: () => number;
  /** Ends it early, with the signal's reason. */
  readonly signal: AbortSignal;
}

/** Runs all steps, some milliseconds at a time. */
export async function runInTurns<T>(steps: Steps<T>, pace?: Pace): Promise<T> {
  const startMs = performance.now();
  for (;;) {
    const endMs = performance.now() + TURN_MS;
    let step: IteratorResult<void, T>;
    do step = steps.next();
    while (step.done !== true && performance.now() < endMs);
    const pauseMs = startMs + (pace?.minimumMs() ?? 0) - performance.now();
    if (pauseMs > 0) await sleep(pauseMs, pace?.signal);
    if (step.done === true) return step.value;
    if (pauseMs <= 0) await breathe();
  }
}
