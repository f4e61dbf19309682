/**
 * VerifyFolder: holds the replica against its index and streams what it finds.
 */
import type { ServerWritableStream } from '@grpc/grpc-js';
import { streamHandler } from '../../../common/rpc/serve.ts';
import { toWirePath } from '../../../common/tree/tree-path.ts';
import {
  MismatchKind,
  type VerifyFolderRequest,
  type VerifyFolderResponse,
  type VerifySummary,
} from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { VerifyCounts, VerifyItem } from '../replica/replica.ts';
import { PacedAnswers } from './paced-answers.ts';
import type { SyncContext } from './sync-context.ts';

/** At most about, a path of usual length included. */
const ITEM_BYTES = 4096;

export function verifyFolder(context: SyncContext) {
  return streamHandler(async (call: ServerWritableStream<VerifyFolderRequest, VerifyFolderResponse>, signal) => {
    const { folder, path, repair } = call.request;
    // What it reads is what any reader may read; to repair is to decide what the truth is.
    const { replica } = context.authorizeStream(call, folder, repair ? 'admin' : 'read');
    const answers = new PacedAnswers(call, context.limits, signal);
    for await (const item of replica.verify({ path: context.pathOf(path), repair }, signal)) {
      await answers.write(toWire(item), ITEM_BYTES);
    }
  }, context.onCallError);
}

function toWire(item: VerifyItem): VerifyFolderResponse {
  switch (item.type) {
    case 'mismatch': {
      const value = { kind: toWireKind(item.kind), path: toWirePath(item.path), message: item.message };
      return { message: { $case: 'mismatch', value } };
    }
    case 'progress':
    case 'summary':
      return { message: { $case: item.type, value: toWireCounts(item.counts) } };
  }
}

function toWireCounts(counts: VerifyCounts): VerifySummary {
  return {
    entries: BigInt(counts.entries),
    contentBytes: BigInt(counts.contentBytes),
    mismatches: BigInt(counts.mismatches),
    revision: counts.revision,
  };
}

function toWireKind(kind: Extract<VerifyItem, { type: 'mismatch' }>['kind']): MismatchKind {
  switch (kind) {
    case 'missing':
      return MismatchKind.MISMATCH_KIND_MISSING;
    case 'extra':
      return MismatchKind.MISMATCH_KIND_EXTRA;
    case 'kind':
      return MismatchKind.MISMATCH_KIND_KIND;
    case 'content':
      return MismatchKind.MISMATCH_KIND_CONTENT;
    case 'metadata':
      return MismatchKind.MISMATCH_KIND_METADATA;
    case 'links':
      return MismatchKind.MISMATCH_KIND_LINKS;
    case 'unreadable':
      return MismatchKind.MISMATCH_KIND_UNREADABLE;
  }
}
