/**
 * ListEntries: a folder's entries in tree order, read page by page as fast as the client takes them.
 */
import type { ServerWritableStream } from '@grpc/grpc-js';
import { toWireEntry } from '../../../common/rpc/entry-codec.ts';
import { streamHandler } from '../../../common/rpc/serve.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { Entry as WireEntry } from '../../../gen/lockstep/sync/v1/entry.ts';
import type { ListEntriesRequest, ListEntriesResponse } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { entryNotFound } from './get-entry.ts';
import { STREAM_MESSAGE_BYTES } from './limits.ts';
import { entrySizeBytes, MessageFiller } from './message-filler.ts';
import { PacedAnswers } from './paced-answers.ts';
import type { SyncContext } from './sync-context.ts';
import { safeInteger } from './wire-values.ts';

/** Entries that the replica is asked for at a time; with usual names, about one message. */
const PAGE_ENTRIES = 2000;

/** As a varint. */
const MAX_LINK_ID_BYTES = 10;

interface Listed {
  readonly entry: WireEntry;
  /** Undefined where nobody asked. */
  readonly linkId: bigint | undefined;
}

export function listEntries(context: SyncContext) {
  return streamHandler(async (call: ServerWritableStream<ListEntriesRequest, ListEntriesResponse>, signal) => {
    const { request } = call;
    const { replica } = context.authorizeStream(call, request.folder, 'read');
    const path = context.pathOf(request.path);
    let after: TreePath | undefined = request.after === '' ? undefined : context.pathOf(request.after);
    const answers = new PacedAnswers(call, context.limits, signal);
    let remaining = request.limit === 0n ? Number.MAX_SAFE_INTEGER : safeInteger(request.limit, 'limit');
    for (let isFirst = true; ; isFirst = false) {
      const revision = replica.info().headRevision;
      const limit = Math.min(PAGE_ENTRIES, remaining);
      const page = await replica.listEntries(path, request.recursive, after, limit);
      signal.throwIfAborted();
      if (isFirst && page.length === 0 && (await replica.getEntry(path)) === undefined) throw entryNotFound(path);
      const ids = request.links ? await replica.linkIds(page.map((entry) => entry.path)) : undefined;
      const filler = new MessageFiller<Listed>((listed) => entrySizeBytes(listed.entry) + MAX_LINK_ID_BYTES);
      for (const [at, entry] of page.entries()) {
        const full = filler.add({ entry: toWireEntry(entry.path, entry), linkId: ids?.[at] });
        if (full !== undefined) await answers.write({ ...partOf(full), revision }, STREAM_MESSAGE_BYTES);
      }
      const { sizeBytes } = filler;
      const rest = filler.take();
      // An empty list is answered too: the client learns its revision.
      if (rest.length > 0 || isFirst) await answers.write({ ...partOf(rest), revision }, sizeBytes);
      remaining -= page.length;
      after = page.at(-1)?.path;
      if (after === undefined || page.length < limit || remaining === 0) return;
    }
  }, context.onCallError);
}

function partOf(listed: readonly Listed[]): Pick<ListEntriesResponse, 'entries' | 'linkIds'> {
  return { entries: listed.map(({ entry }) => entry), linkIds: listed.flatMap(({ linkId }) => linkId ?? []) };
}
