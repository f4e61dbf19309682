/**
 * Waiting for a state instead of for a time.
 */

/** Resolves with the first value that is neither undefined nor false; fails after `withinMs` with what was waited for. */
export async function eventually<T>(what: string, look: () => T | undefined | false, withinMs = 10_000): Promise<T> {
  const endMs = performance.now() + withinMs;
  for (;;) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > endMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The same for what has to be asked first. */
export async function eventuallyAsked(what: string, ask: () => Promise<boolean>, withinMs = 10_000): Promise<void> {
  const endMs = performance.now() + withinMs;
  while (!(await ask())) {
    if (performance.now() > endMs) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
