/**
 * How a thread that was asked to end is waited for.
 */
import type { Worker } from 'node:worker_threads';
import { Deferred } from './async.ts';

const PATIENCE_MS = 5_000;

/**
 * Resolves when the thread has ended: by itself, since it was asked to by a message of its own protocol, or by force after
 * `patienceMs`. Never by force at once: Node ends the whole process with SIGTRAP where a thread is terminated while it still
 * loads its modules (V8 gives the loader an empty handle there; seen in 2 of some 10,000 starts, on a busy machine).
 */
export async function threadEnded(worker: Worker, patienceMs = PATIENCE_MS): Promise<void> {
  // -1 once it has ended: then no event comes any more.
  if (worker.threadId === -1) return;
  const ended = new Deferred<void>();
  worker.once('exit', () => ended.resolve());
  worker.ref();
  const force = setTimeout(() => {
    worker.terminate().catch(() => {
      // It has ended meanwhile.
    });
  }, patienceMs);
  await ended.promise;
  clearTimeout(force);
}
