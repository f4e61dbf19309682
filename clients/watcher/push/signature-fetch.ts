/**
 * The server's own signature of what it has, for a file whose signature this watcher never made or has lost. Checked
 * before it is believed; a wrong one costs bytes, because the server checks the digest of what a delta makes.
 */
import type { ClientReadableStream } from '@grpc/grpc-js';
import type { Digest } from '../../../common/content/digest.ts';
import { encodeSignature } from '../../../common/content/signature-codec.ts';
import { SignatureAssembler } from '../../../common/content/signature-parts.ts';
import { cancelOnAbort, readMessages } from '../../../common/rpc/call-stream.ts';
import type { GetSignatureResponse } from '../../../gen/lockstep/sync/v1/sync_service.ts';

/** Both contents have to be as long as this: for less, the round trip and the server's reading are not worth it. */
export const MIN_FETCHED_BYTES = 256 * 1024;

/**
 * Packed, as signature-codec.ts does it.
 * @throws LockstepError CONTENT_NOT_FOUND, INVALID_ARGUMENT for a signature that makes no sense; whatever the call fails with
 */
export async function fetchSignature(
  call: ClientReadableStream<GetSignatureResponse>,
  digest: Digest,
  sizeBytes: number,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const dispose = cancelOnAbort(call, signal);
  try {
    const assembler = new SignatureAssembler(digest, sizeBytes);
    for await (const part of readMessages(call)) assembler.add(part);
    return encodeSignature(assembler.finish());
  } catch (error) {
    // The rest of a signature that was refused is of no use.
    call.cancel();
    throw error;
  } finally {
    dispose();
  }
}
