/**
 * The RPCs put together, with the codecs of the three that carry the bulk.
 */
import type { Server } from '@grpc/grpc-js';
import { decodeChangesFrame, decodeUploadContent, serializeReadContent } from '../../../common/rpc/hot-codec.ts';
import type { TrackedCalls } from '../../../common/rpc/tracked-calls.ts';
import { SyncServiceService } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { acquireLease } from './acquire-lease.ts';
import { applyChanges } from './apply-changes.ts';
import { compareTree } from './compare-tree.ts';
import { getEntry } from './get-entry.ts';
import { getServerInfo } from './get-server-info.ts';
import { getSignature } from './get-signature.ts';
import { listEntries } from './list-entries.ts';
import { readContent } from './read-content.ts';
import type { SyncContext } from './sync-context.ts';
import { uploadContent } from './upload-content.ts';
import { verifyFolder } from './verify-folder.ts';
import { watchChanges } from './watch-changes.ts';

/** The name that health and reflection know. */
export const SYNC_SERVICE_NAME = 'lockstep.sync.v1.SyncService';

const definition = {
  ...SyncServiceService,
  applyChanges: { ...SyncServiceService.applyChanges, requestDeserialize: decodeChangesFrame },
  uploadContent: { ...SyncServiceService.uploadContent, requestDeserialize: decodeUploadContent },
  readContent: { ...SyncServiceService.readContent, responseSerialize: serializeReadContent },
};

export function addSyncService(server: Server, calls: TrackedCalls, context: SyncContext): void {
  const implementation = {
    getServerInfo: getServerInfo(context),
    acquireLease: acquireLease(context),
    compareTree: compareTree(context),
    uploadContent: uploadContent(context),
    applyChanges: applyChanges(context),
    getSignature: getSignature(context),
    listEntries: listEntries(context),
    getEntry: getEntry(context),
    readContent: readContent(context),
    watchChanges: watchChanges(context),
    verifyFolder: verifyFolder(context),
  };
  server.addService(definition, calls.tracking(definition, implementation));
}
