/**
 * GetEntry: what is known of one path.
 */
import { LockstepError } from '../../../common/ops/errors.ts';
import { toWireEntry } from '../../../common/rpc/entry-codec.ts';
import { unaryHandler } from '../../../common/rpc/serve.ts';
import { displayPath, type TreePath } from '../../../common/tree/tree-path.ts';
import type { GetEntryRequest, GetEntryResponse } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { SyncContext } from './sync-context.ts';

export function getEntry(context: SyncContext) {
  return unaryHandler<GetEntryRequest, GetEntryResponse>(async (call) => {
    const { replica } = context.authorize(call, call.request.folder, 'read');
    const path = context.pathOf(call.request.path);
    const revision = replica.info().headRevision;
    const record = await replica.getEntry(path);
    if (record === undefined) throw entryNotFound(path);
    return { entry: toWireEntry(path, record, record.treeDigest), revision };
  }, context.onCallError);
}

export function entryNotFound(path: TreePath): LockstepError {
  return new LockstepError('ENTRY_NOT_FOUND', `there is nothing at ${displayPath(path)}`, { path });
}
