/**
 * ReadContent: downloads one version of a file, or a part of it.
 */
import type { ServerWritableStream } from '@grpc/grpc-js';
import { toWireEntry } from '../../../common/rpc/entry-codec.ts';
import { streamHandler } from '../../../common/rpc/serve.ts';
import type { ReadContentRequest, ReadContentResponse } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { STREAM_MESSAGE_BYTES } from './limits.ts';
import { PacedAnswers } from './paced-answers.ts';
import type { SyncContext } from './sync-context.ts';
import { safeInteger } from './wire-values.ts';

export function readContent(context: SyncContext) {
  return streamHandler(async (call: ServerWritableStream<ReadContentRequest, ReadContentResponse>, signal) => {
    const { request } = call;
    const { replica } = context.authorizeStream(call, request.folder, 'read');
    const path = context.pathOf(request.path);
    const length = request.length === 0n ? undefined : safeInteger(request.length, 'length');
    const answers = new PacedAnswers(call, context.limits, signal);
    for await (const part of replica.readContent(path, safeInteger(request.offset, 'offset'), length)) {
      signal.throwIfAborted();
      let entry = part.entry === undefined ? undefined : toWireEntry(path, part.entry);
      let at = 0;
      do {
        const data = part.data.subarray(at, at + STREAM_MESSAGE_BYTES);
        await answers.write({ entry, offset: BigInt(part.offsetBytes + at), data }, data.length);
        context.metrics.readBytes.add(data.length, { folder: replica.folder });
        at += data.length;
        entry = undefined;
      } while (at < part.data.length);
    }
  }, context.onCallError);
}
