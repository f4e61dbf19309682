/**
 * GetServerInfo: what the server is and what it allows.
 */
import { DIGEST_FUNCTIONS } from '../../../common/content/digest.ts';
import { displayText } from '../../../common/tree/display-path.ts';
import { unaryHandler } from '../../../common/rpc/serve.ts';
import { Compressor } from '../../../gen/lockstep/sync/v1/entry.ts';
import {
  type FolderInfo,
  FolderState,
  type GetServerInfoRequest,
  type GetServerInfoResponse,
} from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { ReplicaInfo } from '../replica/replica.ts';
import { toWireLimits } from './limits.ts';
import type { ServedFolder, SyncContext } from './sync-context.ts';
import { toWireDigestFunction } from './wire-values.ts';

/** Counts up when clients of before could not work with this server any more. */
export const PROTOCOL_VERSION = 1;

export function getServerInfo(context: SyncContext) {
  return unaryHandler<GetServerInfoRequest, GetServerInfoResponse>(async (call) => {
    const caller = context.callerOf(call);
    const clientVersion = displayText(call.request.clientVersion.slice(0, 100).toWellFormed());
    context.logger.debug({ peer: call.getPeer(), clientVersion }, 'client');
    return {
      serverVersion: context.serverVersion,
      protocolVersion: PROTOCOL_VERSION,
      limits: toWireLimits(context.limits),
      digestFunctions: DIGEST_FUNCTIONS.map(toWireDigestFunction),
      compressors: [Compressor.COMPRESSOR_ZSTD],
      folders: context.foldersOf(caller).map(folderInfo),
      timeMs: BigInt(Date.now()),
      hardLinks: true,
    };
  }, context.onCallError);
}

function folderInfo({ replica, leases, place }: ServedFolder): FolderInfo {
  const info = replica.info();
  return {
    folder: replica.folder,
    epoch: info.epoch,
    headRevision: info.headRevision,
    durableRevision: info.durableRevision,
    digestFunction: toWireDigestFunction(replica.digestFunction),
    entries: BigInt(info.entries),
    contentBytes: BigInt(info.contentBytes),
    state: toWireState(info.state),
    stateReason: info.stateReason,
    holder: leases.holder?.holder ?? '',
    place: [...place],
    keepsOwners: info.keepsOwners,
  };
}

function toWireState(state: ReplicaInfo['state']): FolderState {
  switch (state) {
    case 'ready':
      return FolderState.FOLDER_STATE_READY;
    case 'degraded':
      return FolderState.FOLDER_STATE_DEGRADED;
    case 'recovering':
      return FolderState.FOLDER_STATE_RECOVERING;
  }
}
