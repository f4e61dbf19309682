/**
 * One function in each direction between the house's errors and a gRPC status with google.rpc details.
 * Nothing of the host leaves it: foreign errors travel as "internal error" only (S29).
 */
import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { ErrorInfo } from '../../gen/google/rpc/error_details.ts';
import { Status } from '../../gen/google/rpc/status.ts';
import { isReason, LockstepError, type Reason } from '../ops/errors.ts';
import type { TreePath } from '../tree/tree-path.ts';
import { fromWirePath, toWirePath } from '../tree/wire-path.ts';

/** `google.rpc.ErrorInfo.domain` of every reason of this protocol. */
export const ERROR_DOMAIN = 'lockstep';

const DETAILS_KEY = 'grpc-status-details-bin';
const ERROR_INFO_URL = 'type.googleapis.com/google.rpc.ErrorInfo';

/** Proxies cap a response's headers at 8 KiB; base64 and percent escapes (three chars a byte) take their share. */
const MAX_MESSAGE_BYTES = 512;
const MAX_DETAIL_BYTES = 256;
const MAX_DETAILS = 8;
const MAX_WIRE_PATH_BYTES = 1024;

/** What a server handler gives to `callback` or `emit('error')`. */
export interface GrpcStatus {
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
}

/** The gRPC code that carries each reason. For people and generic clients; ours branch on the reason. */
export const CODE_OF_REASON: Readonly<Record<Reason, status>> = {
  INVALID_PATH: status.INVALID_ARGUMENT,
  INVALID_ARGUMENT: status.INVALID_ARGUMENT,
  INVALID_TIME: status.INVALID_ARGUMENT,
  NAME_CLASH: status.ALREADY_EXISTS,
  NAME_UNSUPPORTED: status.INVALID_ARGUMENT,
  LIMIT_EXCEEDED: status.RESOURCE_EXHAUSTED,
  NOT_REGULAR: status.FAILED_PRECONDITION,
  PARENT_MISSING: status.FAILED_PRECONDITION,
  TARGET_EXISTS: status.ALREADY_EXISTS,
  MOVE_INTO_SELF: status.INVALID_ARGUMENT,
  LINK_ESCAPES: status.FAILED_PRECONDITION,
  OTHER_FILE_SYSTEM: status.FAILED_PRECONDITION,
  NOT_A_DIRECTORY: status.FAILED_PRECONDITION,
  ENTRY_NOT_FOUND: status.NOT_FOUND,
  FOLDER_NOT_FOUND: status.NOT_FOUND,
  CONTENT_NOT_FOUND: status.NOT_FOUND,
  LEASE_HELD: status.FAILED_PRECONDITION,
  LEASE_STALE: status.ABORTED,
  EPOCH_CHANGED: status.ABORTED,
  COMPACTED: status.OUT_OF_RANGE,
  OFFSET_MISMATCH: status.OUT_OF_RANGE,
  DIGEST_MISMATCH: status.INVALID_ARGUMENT,
  BASIS_MISMATCH: status.FAILED_PRECONDITION,
  DRIFTED: status.ABORTED,
  NO_SPACE: status.RESOURCE_EXHAUSTED,
  READ_ONLY: status.FAILED_PRECONDITION,
  LOCKED: status.FAILED_PRECONDITION,
  INDEX_DAMAGED: status.DATA_LOSS,
  LOG_DAMAGED: status.DATA_LOSS,
  UNAUTHENTICATED: status.UNAUTHENTICATED,
  PERMISSION_DENIED: status.PERMISSION_DENIED,
  PROTOCOL_UNSUPPORTED: status.UNIMPLEMENTED,
  UNIMPLEMENTED: status.UNIMPLEMENTED,
  DRAINING: status.UNAVAILABLE,
  ROOT_MISSING: status.FAILED_PRECONDITION,
  ROOT_REPLACED: status.FAILED_PRECONDITION,
  MASS_DELETE: status.FAILED_PRECONDITION,
  INCOMPLETE: status.FAILED_PRECONDITION,
  SERVER_UNREACHABLE: status.UNAVAILABLE,
  USAGE: status.INVALID_ARGUMENT,
  CANCELLED: status.CANCELLED,
  BUSY: status.ABORTED,
  IO: status.INTERNAL,
  INTERNAL: status.INTERNAL,
};

/** The status that tells a peer about any thrown value. A foreign error says nothing but "internal error". */
export function toStatus(error: unknown): GrpcStatus {
  if (!(error instanceof LockstepError)) {
    const isAbort = error instanceof Error && error.name === 'AbortError';
    return isAbort ? statusOf('CANCELLED', 'cancelled', {}) : statusOf('INTERNAL', 'internal error', {});
  }
  const metadata: Record<string, string> = {};
  for (const [key, value] of Object.entries(error.details ?? {}).slice(0, MAX_DETAILS)) {
    metadata[key] = shortened(value, MAX_DETAIL_BYTES);
  }
  const path = error.path === undefined ? undefined : toWirePath(error.path);
  // A path that was cut would name another entry.
  if (path !== undefined && Buffer.byteLength(path) <= MAX_WIRE_PATH_BYTES) metadata['path'] = path;
  return statusOf(error.reason, shortened(error.message, MAX_MESSAGE_BYTES), metadata);
}

function statusOf(reason: Reason, message: string, infoMetadata: Record<string, string>): GrpcStatus {
  const code = CODE_OF_REASON[reason];
  const info = ErrorInfo.encode({ reason, domain: ERROR_DOMAIN, metadata: infoMetadata }).finish();
  const rich = Status.encode({ code, message, details: [{ typeUrl: ERROR_INFO_URL, value: info }] }).finish();
  const metadata = new Metadata();
  metadata.set(DETAILS_KEY, Buffer.from(rich));
  return { code, details: message, metadata };
}

/** Also makes lone surrogates harmless: grpc-js throws on them. */
function shortened(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return text.toWellFormed();
  let end = maxBytes - Buffer.byteLength('…');
  // Not in the middle of a character: UTF-8 continuation bytes are 10xxxxxx.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return `${bytes.toString('utf8', 0, end)}…`;
}

/**
 * The error that a failed call means here. The reason is the peer's where it gave one of ours, else it follows from
 * the code; the gRPC error is the cause. The message is the peer's text: escape it for people with `describeError`.
 */
export function fromStatus(error: ServiceError): LockstepError {
  const info = errorInfoOf(error);
  if (info === undefined || !isReason(info.reason)) {
    return new LockstepError(reasonOfCode(error), error.details || error.message, { cause: error });
  }
  const { path, ...details } = info.metadata;
  return new LockstepError(info.reason, error.details || error.message, {
    cause: error,
    details: Object.keys(details).length === 0 ? undefined : details,
    path: path === undefined ? undefined : pathOfPeer(path),
  });
}

/** True for the error objects that grpc-js hands out. */
export function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' && 'metadata' in error;
}

/** Any thrown value as a LockstepError: gRPC errors are decoded, foreign ones become INTERNAL. */
export function toLockstepError(error: unknown): LockstepError {
  if (error instanceof LockstepError) return error;
  if (isServiceError(error)) return fromStatus(error);
  const isAbort = error instanceof Error && error.name === 'AbortError';
  return new LockstepError(isAbort ? 'CANCELLED' : 'INTERNAL', isAbort ? 'cancelled' : 'internal error', {
    cause: error,
  });
}

function errorInfoOf(error: ServiceError): ErrorInfo | undefined {
  const rich = error.metadata?.get(DETAILS_KEY)[0];
  if (!Buffer.isBuffer(rich)) return undefined;
  try {
    const found = Status.decode(rich).details.find((detail) => detail.typeUrl === ERROR_INFO_URL);
    const info = found === undefined ? undefined : ErrorInfo.decode(found.value);
    return info?.domain === ERROR_DOMAIN ? info : undefined;
  } catch {
    // Details that cannot be decoded are as good as none: the code still says what happened.
    return undefined;
  }
}

function pathOfPeer(text: string): TreePath | undefined {
  try {
    return fromWirePath(text);
  } catch {
    // The path only illustrates an error that is reported anyway.
    return undefined;
  }
}

function reasonOfCode(error: ServiceError): Reason {
  switch (error.code) {
    case status.CANCELLED:
      return 'CANCELLED';
    case status.INVALID_ARGUMENT:
    case status.OUT_OF_RANGE:
    case status.FAILED_PRECONDITION:
      return 'INVALID_ARGUMENT';
    case status.UNAVAILABLE:
    case status.DEADLINE_EXCEEDED:
    case status.ABORTED:
      return 'SERVER_UNREACHABLE';
    case status.NOT_FOUND:
      return 'ENTRY_NOT_FOUND';
    case status.ALREADY_EXISTS:
      return 'TARGET_EXISTS';
    case status.PERMISSION_DENIED:
      return 'PERMISSION_DENIED';
    case status.UNAUTHENTICATED:
      return 'UNAUTHENTICATED';
    case status.RESOURCE_EXHAUSTED:
      return 'LIMIT_EXCEEDED';
    case status.UNIMPLEMENTED:
      return 'PROTOCOL_UNSUPPORTED';
    case status.INTERNAL:
      // Our server names a reason with every error of its own: this one was made by a connection that broke.
      return /RST_STREAM|session|socket/i.test(error.details) ? 'SERVER_UNREACHABLE' : 'INTERNAL';
    default:
      return 'INTERNAL';
  }
}
