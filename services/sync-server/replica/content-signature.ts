/**
 * The signature of a content that the folder has, for a client that wants to send a delta and has none.
 */
import { type Digest, type DigestFunction } from '../../../common/content/digest.ts';
import { parametersFor } from '../../../common/content/chunker.ts';
import { SignatureBuilder } from '../../../common/content/signature-builder.ts';
import { decodeSignature, encodeSignature } from '../../../common/content/signature-codec.ts';
import { type SignaturePart, signatureParts } from '../../../common/content/signature-parts.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { ApplierApi } from './applier-api.ts';
import type { ContentApi } from './content-api.ts';
import type { Steps } from './steps.ts';

const READ_BYTES = 256 * 1024;
/** Of a part, 17 to 20 bytes a block: far below what a message may have. */
const PART_BLOCKS = 8 * 1024;

/** @throws CONTENT_NOT_FOUND when no file has it, or none has it any more */
export async function* readSignature(
  applier: ApplierApi,
  content: ContentApi,
  digest: Digest,
  signal: AbortSignal,
): AsyncGenerator<SignaturePart, void, void> {
  const file = await applier.findContent(digest);
  const handle = file && (await content.openContent(file));
  if (file === undefined || handle === undefined) throw notFound();
  // Closing the file is what ends the work on it.
  const close = () => void content.closeContent(handle).catch(() => undefined);
  signal.addEventListener('abort', close, { once: true });
  try {
    const packed = await content.signContent(handle, file.entry.sizeBytes);
    const signature = packed && decodeSignature(packed);
    if (signature?.digest.equals(digest) !== true) throw notFound();
    yield* signatureParts(signature, PART_BLOCKS);
  } finally {
    signal.removeEventListener('abort', close);
    close();
  }
}

/** Packed. Undefined when the content is too short, or so large that it has none. @throws CANCELLED when `read` has ended */
export function* signContent(
  digestFunction: DigestFunction,
  sizeBytes: number,
  read: (target: Buffer, length: number, position: number) => number,
): Steps<Buffer | undefined> {
  const builder = new SignatureBuilder(digestFunction, parametersFor(sizeBytes));
  const chunk = Buffer.allocUnsafeSlow(Math.max(1, Math.min(READ_BYTES, sizeBytes)));
  for (let position = 0; position < sizeBytes; ) {
    const length = read(chunk, Math.min(chunk.length, sizeBytes - position), position);
    if (length === 0) return undefined;
    builder.push(chunk.subarray(0, length));
    position += length;
    yield;
  }
  const { signature } = builder.finish();
  return signature && encodeSignature({ ...signature, groups: undefined });
}

function notFound(): LockstepError {
  return new LockstepError('CONTENT_NOT_FOUND', 'no file of the folder has a content of this digest');
}
