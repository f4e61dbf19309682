/**
 * The thread behind sync-thread.ts: one request, one sync, one answer.
 */
import { open } from 'node:fs/promises';
import { workerData } from 'node:worker_threads';
import { describeError } from '../ops/errors.ts';
import { isNodeRefusal } from '../ops/permissions.ts';
import { CAN_SYNC, CANNOT_SYNC, type SyncAnswer, type SyncRequest, type SyncThreadData } from './sync-thread.ts';

const { port, signal } = workerData as SyncThreadData;

async function sync({ path, extent }: SyncRequest): Promise<void> {
  const handle = await open(path);
  try {
    await (extent === 'data' ? handle.datasync() : handle.sync());
  } finally {
    await handle.close();
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'EIO';
}

async function answer(request: SyncRequest): Promise<SyncAnswer> {
  try {
    await sync(request);
    return {};
  } catch (error) {
    return { errno: codeOf(error), message: describeError(error) };
  }
}

/** A device cannot be synced; that it is the system that says so, and not Node, is what counts. */
async function canSync(): Promise<boolean> {
  try {
    await sync({ path: '/dev/null', extent: 'data' });
    return true;
  } catch (error) {
    return !isNodeRefusal(error);
  }
}

function wake(state: number): void {
  Atomics.store(signal, 0, state);
  Atomics.notify(signal, 0);
}

port.on('message', (request: SyncRequest) => {
  void answer(request).then((ended) => {
    port.postMessage(ended);
    wake(CAN_SYNC);
  });
});
wake((await canSync()) ? CAN_SYNC : CANNOT_SYNC);
