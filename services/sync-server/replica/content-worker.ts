/**
 * The content thread: opens the service, carries messages. No logic.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { describeError, LockstepError } from '../../../common/ops/errors.ts';
import { saveCompiledCode } from '../../../common/ops/compile-cache.ts';
import { giveBackMemoryWhenIdle } from '../../../common/ops/garbage-collection.ts';
import { ContentService } from './content-service.ts';
import type { ReplicaSettings } from './replica-options.ts';
import { carriedError, methodOf, serveCalls } from './worker-calls.ts';
import { postingLog, type WorkerEvent } from './worker-messages.ts';

const port = parentPort;
if (port === null) throw new LockstepError('INTERNAL', 'this file runs as a worker only');
saveCompiledCode();
giveBackMemoryWhenIdle();
const post = (event: WorkerEvent): void => port.postMessage(event);

try {
  const service = new ContentService({
    settings: workerData as ReplicaSettings,
    logger: postingLog(post, describeError),
  });
  serveCalls(port, async (method, args) => {
    const result = await methodOf(service, method)(...(args as never[]));
    // The reply is on its way before the port closes: messages are delivered in order.
    if (method === 'close') setImmediate(() => port.close());
    return result;
  });
  post({ type: 'opened' });
} catch (error) {
  post({ type: 'not-opened', error: carriedError(error) });
  port.close();
}
