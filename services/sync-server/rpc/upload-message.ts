/**
 * The parts of an UploadContentRequest, checked: what begins a content, and what continues it.
 */
import { LockstepError } from '../../../common/ops/errors.ts';
import { type TreePath } from '../../../common/tree/tree-path.ts';
import { Compressor } from '../../../gen/lockstep/sync/v1/entry.ts';
import type {
  LocalFile as WireLocalFile,
  UploadContentRequest,
  UploadStep as WireStep,
} from '../../../gen/lockstep/sync/v1/sync_service.ts';
import type { LocalFile, UploadBegin, UploadPart, UploadStep } from '../replica/replica.ts';
import { type Limits, MAX_UPLOAD_DATA_BYTES, MAX_UPLOAD_STEPS, MAX_UPLOAD_ZERO_BYTES } from './limits.ts';
import { digestFromWire, idFromWire, safeInteger } from './wire-values.ts';

const SLASH = '/'.charCodeAt(0);

/** @throws INVALID_ARGUMENT, INVALID_PATH, LIMIT_EXCEEDED */
export function beginFromWire(
  message: UploadContentRequest,
  lease: bigint,
  pathOf: (text: string) => TreePath,
  limits: Limits,
): UploadBegin {
  const sizeBytes = safeInteger(message.size, 'size');
  if (sizeBytes > limits.maxContentBytes) {
    throw new LockstepError('LIMIT_EXCEEDED', `a content has more than ${limits.maxContentBytes} bytes`);
  }
  const basisDigest = digestFromWire(message.basisDigest, 'basis_digest');
  if (message.resume && message.data.length > 0) {
    throw new LockstepError('INVALID_ARGUMENT', 'a message that asks where an upload stands carries no data');
  }
  if (message.localFile !== undefined && basisDigest !== undefined) {
    throw new LockstepError('INVALID_ARGUMENT', 'ranges are copied from a basis or from a local file, not from both');
  }
  return {
    lease,
    uploadId: idFromWire(message.uploadId, 'upload_id'),
    sizeBytes,
    digest: digestFromWire(message.digest, 'digest'),
    resume: message.resume,
    basis: basisDigest === undefined ? undefined : { digest: basisDigest, path: pathOf(message.basisPath) },
    localFile: message.localFile && localFileFromWire(message.localFile),
  };
}

/** What is at the path, and whether the client may read it, is not looked at here. @throws INVALID_ARGUMENT */
function localFileFromWire({ path, device, inode, knownDigest }: WireLocalFile): LocalFile {
  if (path[0] !== SLASH || path.includes(0)) {
    throw new LockstepError('INVALID_ARGUMENT', 'local_file has no absolute path');
  }
  return { path: Buffer.from(path), device, inode, knownDigest: digestFromWire(knownDigest, 'known_digest') };
}

/** Undefined when the message brings nothing. @throws INVALID_ARGUMENT, LIMIT_EXCEEDED */
export function partFromWire(message: UploadContentRequest, contentSizeBytes: number): UploadPart | undefined {
  const { data } = message;
  if (data.length === 0 && message.steps.length === 0) return undefined;
  const offsetBytes = safeInteger(message.offset, 'offset');
  const decompressedSizeBytes = decompressedSizeOf(message);
  const literalBytes = decompressedSizeBytes ?? data.length;
  if (literalBytes > MAX_UPLOAD_DATA_BYTES || data.length > MAX_UPLOAD_DATA_BYTES) {
    throw new LockstepError('LIMIT_EXCEEDED', `a message has more than ${MAX_UPLOAD_DATA_BYTES} bytes of data`);
  }
  const steps = stepsFromWire(message.steps, literalBytes);
  const zeroBytes = zeroBytesOf(steps);
  if (zeroBytes > MAX_UPLOAD_ZERO_BYTES) {
    throw new LockstepError('LIMIT_EXCEEDED', `a message stands for more than ${MAX_UPLOAD_ZERO_BYTES} zeros`);
  }
  if (offsetBytes + copiedBytesOf(steps) + zeroBytes + literalBytes > contentSizeBytes) {
    throw new LockstepError('INVALID_ARGUMENT', `a content goes beyond the ${contentSizeBytes} bytes announced for it`);
  }
  return { offsetBytes, steps, data, decompressedSizeBytes };
}

export function copiedBytesOf(steps: readonly UploadStep[] | undefined): number {
  return steps?.reduce((sum, { copyLengthBytes }) => sum + copyLengthBytes, 0) ?? 0;
}

export function zeroBytesOf(steps: readonly UploadStep[] | undefined): number {
  return steps?.reduce((sum, { zeroBytes }) => sum + zeroBytes, 0) ?? 0;
}

function stepsFromWire(steps: readonly WireStep[], literalBytes: number): readonly UploadStep[] | undefined {
  if (steps.length === 0) return undefined;
  if (steps.length > MAX_UPLOAD_STEPS) {
    throw new LockstepError('LIMIT_EXCEEDED', `a message has more than ${MAX_UPLOAD_STEPS} steps`);
  }
  let dataBytes = 0;
  const checked = steps.map(({ copyOffset, copyLength, zeroLength, dataLength }): UploadStep => {
    dataBytes += dataLength;
    return {
      copyOffsetBytes: safeInteger(copyOffset, 'copy_offset'),
      copyLengthBytes: safeInteger(copyLength, 'copy_length'),
      zeroBytes: safeInteger(zeroLength, 'zero_length'),
      dataBytes: dataLength,
    };
  });
  if (dataBytes !== literalBytes) {
    throw new LockstepError(
      'INVALID_ARGUMENT',
      `the steps take ${dataBytes} bytes of data, and there are ${literalBytes}`,
    );
  }
  return checked;
}

function decompressedSizeOf(message: UploadContentRequest): number | undefined {
  switch (message.compressor) {
    case Compressor.COMPRESSOR_UNSPECIFIED:
      return undefined;
    case Compressor.COMPRESSOR_ZSTD:
      return message.dataSize;
    default:
      throw new LockstepError('INVALID_ARGUMENT', `unknown compressor ${message.compressor}`);
  }
}
