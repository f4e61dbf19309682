/**
 * Small values between the domain and the wire, for the RPCs. Entries have their own codec in common/rpc.
 */
import { type Digest, type DigestFunction, digestFromBytes } from '../../../common/content/digest.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { DigestFunction as WireDigestFunction } from '../../../gen/lockstep/sync/v1/entry.ts';

/** Batches, uploads and holders are named by so many bytes of the client's choice. */
export const ID_BYTES = 16;

export function toWireDigestFunction(digestFunction: DigestFunction): WireDigestFunction {
  switch (digestFunction) {
    case 'blake3':
      return WireDigestFunction.DIGEST_FUNCTION_BLAKE3;
    case 'sha256':
      return WireDigestFunction.DIGEST_FUNCTION_SHA256;
  }
}

/** A copy, so that it does not pin the message. @throws INVALID_ARGUMENT */
export function idFromWire(bytes: Uint8Array, field: string): Buffer {
  if (bytes.length === ID_BYTES) return Buffer.from(bytes);
  throw new LockstepError('INVALID_ARGUMENT', `${field} has ${bytes.length} bytes instead of ${ID_BYTES}`);
}

/** Undefined when it is empty. @throws INVALID_ARGUMENT */
export function digestFromWire(bytes: Uint8Array, field: string): Digest | undefined {
  if (bytes.length === 0) return undefined;
  const digest = digestFromBytes(bytes);
  if (digest !== undefined) return digest;
  throw new LockstepError('INVALID_ARGUMENT', `${field} has ${bytes.length} bytes instead of 32`);
}

/** A length or position as a number. @throws INVALID_ARGUMENT beyond 2^53-1 */
export function safeInteger(value: bigint, field: string): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new LockstepError('INVALID_ARGUMENT', `${field} is ${value}, which is out of range`);
}
