/**
 * The applier's thread: opens the service, carries messages. No logic.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { describeError, LockstepError } from '../../../common/ops/errors.ts';
import { saveCompiledCode } from '../../../common/ops/compile-cache.ts';
import { giveBackMemoryWhenIdle } from '../../../common/ops/garbage-collection.ts';
import { ApplierService } from './applier-service.ts';
import type { ReplicaSettings } from './replica-options.ts';
import { carriedError, methodOf, serveCalls } from './worker-calls.ts';
import { postingLog, type WorkerEvent } from './worker-messages.ts';

const port = parentPort;
if (port === null) throw new LockstepError('INTERNAL', 'this file runs as a worker only');
saveCompiledCode();
giveBackMemoryWhenIdle();
const post = (event: WorkerEvent): void => port.postMessage(event);

try {
  const service = new ApplierService({
    settings: workerData as ReplicaSettings,
    logger: postingLog(post, describeError),
    events: {
      onInfo: (info) => post({ type: 'info', info }),
      onDrift: (directories, headRevision) => post({ type: 'drift', directories, headRevision }),
      onTrash: () => post({ type: 'trash' }),
    },
  });
  serveCalls(port, async (method, args) => {
    const result = await methodOf(service, method)(...(args as never[])).finally(() => release(args));
    // The reply is on its way before the port closes: messages are delivered in order.
    if (method === 'close') setImmediate(() => port.close());
    return result;
  });
  post({ type: 'opened' });
} catch (error) {
  post({ type: 'not-opened', error: carriedError(error) });
  port.close();
}

/**
 * A batch is as good as done with once it is answered: what outlives it was copied, and recovery reads the log. Its memory
 * came with the message and is nobody else's, so it goes at once; left to the collector, the batches of a first sync
 * stay by the hundred megabytes, and marking costs more than decoding them did.
 */
function release(args: readonly unknown[]): void {
  for (const value of args) {
    const encoded: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, 'encoded') : undefined;
    if (encoded instanceof Uint8Array && encoded.buffer instanceof ArrayBuffer) encoded.buffer.transfer(0);
  }
}
