/**
 * AcquireLease: who writes the folder, and where it stands.
 */
import { LockstepError } from '../../../common/ops/errors.ts';
import { displayText } from '../../../common/tree/display-path.ts';
import { toLockstepError } from '../../../common/rpc/errors.ts';
import { isOnThisMachine } from '../../../common/rpc/peer-address.ts';
import { unaryHandler } from '../../../common/rpc/serve.ts';
import type { AcquireLeaseRequest, AcquireLeaseResponse } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { MAX_HOLDER_CHARS } from './limits.ts';
import type { SyncContext } from './sync-context.ts';
import { idFromWire, toWireDigestFunction } from './wire-values.ts';

const NO_DIGEST = Buffer.alloc(0);

export function acquireLease(context: SyncContext) {
  return unaryHandler<AcquireLeaseRequest, AcquireLeaseResponse>(async (call) => {
    const { request } = call;
    const { caller, served } = context.authorizeCaller(call, request.folder, 'write');
    const { replica, leases } = served;
    const holderId = idFromWire(request.holderId, 'holder_id');
    if (request.holder.length > MAX_HOLDER_CHARS) {
      throw new LockstepError('LIMIT_EXCEEDED', `holder has more than ${MAX_HOLDER_CHARS} characters`);
    }
    const audited = { folder: replica.folder, details: { holder: request.holder } };
    let lease: bigint;
    try {
      const wanted = { holderId, holder: request.holder, takeOver: request.takeOver };
      lease = await leases.acquire(wanted, () => replica.nextLease());
    } catch (error) {
      context.audit(call, caller, { ...audited, what: 'lease-refused', result: toLockstepError(error).reason });
      throw error;
    }
    // First where it stands, then the digest: a digest that is newer than its revision only leads to one more comparison.
    const info = replica.info();
    // The client builds on this state: it must not be one that a power cut takes back.
    await replica.whenDurable(info.headRevision);
    const isKnown = request.knownEpoch === info.epoch && request.knownRevision === info.headRevision;
    const rootTreeDigest = isKnown ? NO_DIGEST : await replica.rootTreeDigest();
    const details = { ...audited.details, lease: String(lease) };
    const revision = info.headRevision;
    context.audit(call, caller, { ...audited, what: 'lease-acquired', revision, result: 'ok', details });
    const holder = displayText(request.holder);
    context.logger.info({ folder: replica.folder, lease: String(lease), holder }, 'lease acquired');
    return {
      lease,
      epoch: info.epoch,
      headRevision: info.headRevision,
      headBatchId: info.headBatchId,
      digestFunction: toWireDigestFunction(replica.digestFunction),
      entries: BigInt(info.entries),
      rootTreeDigest,
      localKeyPath: isOnThisMachine(call.getPeer()) ? (served.localKey?.path ?? '') : '',
    };
  }, context.onCallError);
}
