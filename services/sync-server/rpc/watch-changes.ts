/**
 * WatchChanges: the change feed. The replica reads it as fast as the client takes it.
 */
import type { ServerWritableStream } from '@grpc/grpc-js';
import { toWireEntry } from '../../../common/rpc/entry-codec.ts';
import { streamHandler } from '../../../common/rpc/serve.ts';
import { toWirePath } from '../../../common/tree/tree-path.ts';
import { Entry } from '../../../gen/lockstep/sync/v1/entry.ts';
import {
  ChangeOperation,
  type ChangeRecord,
  type WatchChangesRequest,
  type WatchChangesResponse,
} from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { FeedChange } from '../replica/replica.ts';
import { STREAM_MESSAGE_BYTES } from './limits.ts';
import { entrySizeBytes, MessageFiller } from './message-filler.ts';
import { PacedAnswers } from './paced-answers.ts';
import type { SyncContext } from './sync-context.ts';

/** A revision's own fields, and what a message costs in memory: very many very small ones are bounded too. */
const REVISION_BYTES = 1024;

export function watchChanges(context: SyncContext) {
  return streamHandler(async (call: ServerWritableStream<WatchChangesRequest, WatchChangesResponse>, signal) => {
    const { folder, epoch, afterRevision } = call.request;
    const { replica } = context.authorizeStream(call, folder, 'read');
    const from = epoch === '' ? undefined : { epoch, revision: afterRevision };
    const answers = new PacedAnswers(call, context.limits, signal);
    for await (const { changes, ...revision } of replica.watchChanges(from, signal)) {
      const filler = new MessageFiller<ChangeRecord>(recordSizeBytes);
      for (const change of changes) {
        const records = filler.add(toWireRecord(change));
        if (records !== undefined) await answers.write({ ...revision, changes: records }, STREAM_MESSAGE_BYTES);
      }
      const sizeBytes = REVISION_BYTES + filler.sizeBytes;
      await answers.write({ ...revision, changes: filler.take() }, sizeBytes);
    }
  }, context.onCallError);
}

function recordSizeBytes(record: ChangeRecord): number {
  return entrySizeBytes(record.entry) + Buffer.byteLength(record.from);
}

function toWireRecord(change: FeedChange): ChangeRecord {
  switch (change.operation) {
    case 'put':
      return record(ChangeOperation.CHANGE_OPERATION_PUT, toWireEntry(change.entry.path, change.entry));
    case 'metadata':
      return record(ChangeOperation.CHANGE_OPERATION_METADATA, toWireEntry(change.entry.path, change.entry));
    case 'move': {
      const entry = toWireEntry(change.entry.path, change.entry);
      return { operation: ChangeOperation.CHANGE_OPERATION_MOVE, entry, from: toWirePath(change.from) };
    }
    case 'delete':
      return record(ChangeOperation.CHANGE_OPERATION_DELETE, Entry.fromPartial({ path: toWirePath(change.path) }));
    case 'drift':
      return record(ChangeOperation.CHANGE_OPERATION_DRIFT, Entry.fromPartial({ path: toWirePath(change.path) }));
  }
}

function record(operation: ChangeOperation, entry: Entry): ChangeRecord {
  return { operation, entry, from: '' };
}
