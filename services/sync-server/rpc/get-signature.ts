/**
 * GetSignature: not offered by this server. Clients fall back to sending whole contents.
 */
import { LockstepError } from '../../../common/ops/errors.ts';
import { streamHandler } from '../../../common/rpc/serve.ts';
import type { ServerWritableStream } from '@grpc/grpc-js';
import type { GetSignatureRequest, GetSignatureResponse } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { SyncContext } from './sync-context.ts';

export function getSignature(context: SyncContext) {
  return streamHandler(async (call: ServerWritableStream<GetSignatureRequest, GetSignatureResponse>) => {
    context.authorizeStream(call, call.request.folder, 'read');
    throw new LockstepError('UNIMPLEMENTED', 'this server has no signatures: send whole contents');
  }, context.onCallError);
}
