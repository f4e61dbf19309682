/**
 * GetSignature: what a client needs that wants to send a delta and has lost, or never made, the signature of what the
 * folder has.
 */
import type { ServerWritableStream } from '@grpc/grpc-js';
import { LockstepError } from '../../../common/ops/errors.ts';
import { streamHandler } from '../../../common/rpc/serve.ts';
import type { GetSignatureRequest, GetSignatureResponse } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { PacedAnswers } from './paced-answers.ts';
import type { SyncContext } from './sync-context.ts';
import { digestFromWire } from './wire-values.ts';

/** What a block's length takes beside its fingerprint. */
const LENGTH_BYTES = 2;

export function getSignature(context: SyncContext) {
  return streamHandler(async (call: ServerWritableStream<GetSignatureRequest, GetSignatureResponse>, signal) => {
    const { replica } = context.authorizeStream(call, call.request.folder, 'read');
    const digest = digestFromWire(call.request.digest, 'digest');
    if (digest === undefined) throw new LockstepError('INVALID_ARGUMENT', 'a content is named by its digest');
    const answers = new PacedAnswers(call, context.limits, signal);
    for await (const { averageBlockBytes, lengths, fingerprints } of replica.readSignature(digest, signal)) {
      const bytes = fingerprints.length + lengths.length * LENGTH_BYTES;
      await answers.write({ averageBlockBytes, lengths: [...lengths], fingerprints }, bytes);
    }
  }, context.onCallError);
}
