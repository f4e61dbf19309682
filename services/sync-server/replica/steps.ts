/**
 * Long work in short steps: generators that yield between them, run at once or with room for others in between.
 */

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

/** Runs all steps, some milliseconds at a time. */
export async function runInTurns<T>(steps: Steps<T>): Promise<T> {
  for (;;) {
    const endMs = performance.now() + TURN_MS;
    do {
      const { done, value } = steps.next();
      if (done === true) return value;
    } while (performance.now() < endMs);
    await breathe();
  }
}
