/**
 * The one error family of the house, and the exit status each error ends a program with.
 * Pure; knows no transport (common/rpc/errors.ts turns these into gRPC statuses and back).
 */
import type { TreePath } from '../tree/tree-path.ts';

/**
 * Every reason an error can have, with the moment it is thrown. The names are part of the protocol
 * (`google.rpc.ErrorInfo.reason`): they are never renamed, only added to. Clients branch on them, never on text.
 */
export const REASONS = {
  /** A path is empty where it may not be, has `.`/`..`/empty components, a bad escape, or names reserved space. */
  INVALID_PATH: 'INVALID_PATH',
  /** A field of a request has a value that no correct peer sends. */
  INVALID_ARGUMENT: 'INVALID_ARGUMENT',
  /** The file system has another entry under this name in another spelling (case, Unicode), and cannot hold both. */
  NAME_CLASH: 'NAME_CLASH',
  /** The operating system or file system that is to keep the entry cannot hold its name. */
  NAME_UNSUPPORTED: 'NAME_UNSUPPORTED',
  /** A modification time lies outside of what the folder can hold. */
  INVALID_TIME: 'INVALID_TIME',
  /** A length, count, depth or number of open things is beyond the announced limit. */
  LIMIT_EXCEEDED: 'LIMIT_EXCEEDED',
  /** A FIFO, socket or device stands where a file, directory or symbolic link was expected. */
  NOT_REGULAR: 'NOT_REGULAR',
  /** The directory that should hold the entry does not exist. */
  PARENT_MISSING: 'PARENT_MISSING',
  /** A move's target already exists. */
  TARGET_EXISTS: 'TARGET_EXISTS',
  /** A directory would be moved below itself. */
  MOVE_INTO_SELF: 'MOVE_INTO_SELF',
  /** A symbolic link leads out of the folder, or would from its new place, and the server was told to refuse that. */
  LINK_ESCAPES: 'LINK_ESCAPES',
  /** A move leads to a place where another file system is mounted. */
  OTHER_FILE_SYSTEM: 'OTHER_FILE_SYSTEM',
  /** A component of a path is a file or a symbolic link. */
  NOT_A_DIRECTORY: 'NOT_A_DIRECTORY',
  /** The folder has no entry at this path. */
  ENTRY_NOT_FOUND: 'ENTRY_NOT_FOUND',
  /** No folder of this name, or none that the caller may see. */
  FOLDER_NOT_FOUND: 'FOLDER_NOT_FOUND',
  /** A digest was named that this folder does not hold (any more). */
  CONTENT_NOT_FOUND: 'CONTENT_NOT_FOUND',
  /** Another writer holds the folder's lease; taking over is explicit. */
  LEASE_HELD: 'LEASE_HELD',
  /** The caller's lease was taken over or expired: it must acquire a new one and compare. */
  LEASE_STALE: 'LEASE_STALE',
  /** The index has another history than the caller knows: revisions cannot be compared, trees must be. */
  EPOCH_CHANGED: 'EPOCH_CHANGED',
  /** The change feed no longer reaches back to the asked revision: list again. */
  COMPACTED: 'COMPACTED',
  /** An upload goes on at another offset than the committed one; the details name the committed size. */
  OFFSET_MISMATCH: 'OFFSET_MISMATCH',
  /** Received bytes do not have the digest that was announced for them. */
  DIGEST_MISMATCH: 'DIGEST_MISMATCH',
  /** A delta refers to a basis with another digest or size than the one held. */
  BASIS_MISMATCH: 'BASIS_MISMATCH',
  /** The replica's entry was changed by someone else and is not what the index says. */
  DRIFTED: 'DRIFTED',
  /** The disk, the quota or the reserve is full (ENOSPC, EDQUOT). */
  NO_SPACE: 'NO_SPACE',
  /** The file system is mounted read-only (EROFS). */
  READ_ONLY: 'READ_ONLY',
  /** Another process of this program uses the same state directory. */
  LOCKED: 'LOCKED',
  /** The index fails its own checks. It is rebuilt from the tree, never trusted in part. */
  INDEX_DAMAGED: 'INDEX_DAMAGED',
  /** The log is damaged before its tail. */
  LOG_DAMAGED: 'LOG_DAMAGED',
  /** No credential, or one that nobody knows. */
  UNAUTHENTICATED: 'UNAUTHENTICATED',
  /** The credential, or the operating system (EACCES, EPERM), does not allow this. */
  PERMISSION_DENIED: 'PERMISSION_DENIED',
  /** The peers have no protocol version in common. */
  PROTOCOL_UNSUPPORTED: 'PROTOCOL_UNSUPPORTED',
  /** The peer knows the request and does not offer it. */
  UNIMPLEMENTED: 'UNIMPLEMENTED',
  /** The server is shutting down: come back to its successor. */
  DRAINING: 'DRAINING',
  /** The watched root is gone. Never taken for "all files were deleted". */
  ROOT_MISSING: 'ROOT_MISSING',
  /** Another directory or file system stands where the watched root was. */
  ROOT_REPLACED: 'ROOT_REPLACED',
  /** More entries would be deleted at once than `--max-delete` allows. */
  MASS_DELETE: 'MASS_DELETE',
  /** Some entries could not be synced; the status names each of them. */
  INCOMPLETE: 'INCOMPLETE',
  /** The server cannot be reached, or the connection to it broke. */
  SERVER_UNREACHABLE: 'SERVER_UNREACHABLE',
  /** A flag, an environment variable or a configuration file says something wrong. */
  USAGE: 'USAGE',
  /** The caller or the peer gave the call up: nobody waits for an answer. */
  CANCELLED: 'CANCELLED',
  /** A file keeps changing while it is read; it is tried again later. */
  BUSY: 'BUSY',
  /** Any other failure of the operating system; the message names the operation and the errno. */
  IO: 'IO',
  /** A defect of this program. */
  INTERNAL: 'INTERNAL',
} as const;

/** The stable name of what went wrong. */
export type Reason = keyof typeof REASONS;

/** True when the peer's string is a reason that this version knows. */
export function isReason(value: string): value is Reason {
  return Object.hasOwn(REASONS, value);
}

export interface LockstepErrorOptions {
  /** The entry that the error is about. The message names it too, escaped by `displayPath`. */
  readonly path?: TreePath | undefined;
  readonly cause?: unknown;
  /** Facts for programs (`committed_size`, `holder`), sent to the peer; never secrets, never host paths. */
  readonly details?: Readonly<Record<string, string>> | undefined;
}

/**
 * The only error class that crosses a room's border on purpose. The message is one sentence without a full stop:
 * what happened, to what, and what to do.
 */
export class LockstepError extends Error {
  override readonly name = 'LockstepError';
  readonly reason: Reason;
  readonly path?: TreePath;
  readonly details?: Readonly<Record<string, string>>;

  constructor(reason: Reason, message: string, options: LockstepErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.reason = reason;
    if (options.path !== undefined) this.path = options.path;
    if (options.details !== undefined) this.details = options.details;
  }
}

/** The errno name (`ENOSPC`) of an error of the operating system, undefined for any other value. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return undefined;
  return /^E[A-Z0-9]+$/.test(error.code) ? error.code : undefined;
}

/** The reason that stands for an error of the operating system. */
export function reasonOfErrno(error: unknown): Reason {
  return reasonOf(errnoOf(error));
}

/** The same of an errno's name. */
export function reasonOf(errno: string | undefined): Reason {
  switch (errno) {
    case 'ENOSPC':
    case 'EDQUOT':
      return 'NO_SPACE';
    case 'EROFS':
      return 'READ_ONLY';
    case 'EACCES':
    case 'EPERM':
      return 'PERMISSION_DENIED';
    default:
      return 'IO';
  }
}

/**
 * Wraps what a file call threw: reason by errno, message "cannot <operation>: <errno>". `operation` is a verb with
 * its object ("rename docs/a.txt"). The raw message stays in `cause` because it contains host paths.
 */
export function errnoError(operation: string, error: unknown, path?: TreePath): LockstepError {
  const errno = errnoOf(error) ?? (error instanceof Error ? error.name : 'unknown error');
  return new LockstepError(reasonOfErrno(error), `cannot ${operation}: ${errno}`, { path, cause: error });
}

/** One printable line for people: the message, and what the causes add to it. Never a stack. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let current: unknown = error, depth = 0; current !== undefined && depth < 4; depth++) {
    const text = additionOf(current, parts);
    // gRPC repeats the peer's message behind its code: "14 UNAVAILABLE: …".
    if (text !== '' && !parts.some((part) => part.includes(text) || text.endsWith(part))) parts.push(text);
    current = current instanceof Error ? current.cause : undefined;
  }
  return printable(parts.join(': ')) || 'unknown error';
}

/**
 * Of "ENOENT: no such file or directory, open '/srv/a'" the meaning alone, where "cannot read /srv/a: ENOENT" was said already, and
 * nothing where the errno is within a longer sentence.
 */
function additionOf(error: unknown, said: readonly string[]): string {
  const text = messageOf(error);
  const errno = errnoOf(error);
  if (errno === undefined || !text.startsWith(`${errno}: `)) return text;
  if (said.at(-1)?.endsWith(errno)) return text.slice(errno.length + 2).replace(/, \w+(?: '.*)?$/s, '');
  return said.some((part) => part.includes(errno)) ? '' : text;
}

function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message || error.name;
  return typeof error === 'string' ? error : `unexpected ${typeof error} was thrown`;
}

/** Control characters and bidirectional overrides could rewrite a terminal (S27); line breaks would make two lines. */
export function printable(text: string): string {
  return text
    .replace(/[\t\n\v\f\r\u0085\u2028\u2029]+/g, ' ')
    .replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, codePointEscape);
}

function codePointEscape(char: string): string {
  return `\\u{${char.charCodeAt(0).toString(16)}}`;
}

/** What a program's exit status says; scripts rely on it. */
export const ExitCode = {
  /** In step, or stopped cleanly. */
  OK: 0,
  /** Some entries could not be synced; each was named on stderr. */
  SOME_FAILED: 1,
  /** Usage or configuration. */
  USAGE: 2,
  /** Server not reachable within `--timeout`. */
  UNREACHABLE: 3,
  /** Refused: authentication, permission, lease held. */
  REFUSED: 4,
  /** Stopped for safety: root missing or replaced, mass deletion, disk full. */
  SAFETY: 5,
  /** A signal ended it before its work was done: 128 and the signal's number, as shells report it. */
  SIGINT: 130,
  SIGTERM: 143,
  SIGBREAK: 149,
} as const;

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** The exit status of a program that ends because of an error with this reason. */
export function exitCodeOf(reason: Reason): ExitCode {
  switch (reason) {
    case 'USAGE':
    case 'LOCKED':
    case 'FOLDER_NOT_FOUND':
      return ExitCode.USAGE;
    case 'SERVER_UNREACHABLE':
    case 'DRAINING':
      return ExitCode.UNREACHABLE;
    case 'UNAUTHENTICATED':
    case 'PERMISSION_DENIED':
    case 'LEASE_HELD':
    case 'LEASE_STALE':
    case 'PROTOCOL_UNSUPPORTED':
    case 'UNIMPLEMENTED':
      return ExitCode.REFUSED;
    case 'ROOT_MISSING':
    case 'ROOT_REPLACED':
    case 'MASS_DELETE':
    case 'NO_SPACE':
    case 'READ_ONLY':
    case 'INDEX_DAMAGED':
    case 'LOG_DAMAGED':
      return ExitCode.SAFETY;
    case 'INVALID_PATH':
    case 'INVALID_ARGUMENT':
    case 'INVALID_TIME':
    case 'NAME_CLASH':
    case 'NAME_UNSUPPORTED':
    case 'LIMIT_EXCEEDED':
    case 'NOT_REGULAR':
    case 'PARENT_MISSING':
    case 'TARGET_EXISTS':
    case 'MOVE_INTO_SELF':
    case 'LINK_ESCAPES':
    case 'OTHER_FILE_SYSTEM':
    case 'NOT_A_DIRECTORY':
    case 'ENTRY_NOT_FOUND':
    case 'CONTENT_NOT_FOUND':
    case 'EPOCH_CHANGED':
    case 'COMPACTED':
    case 'OFFSET_MISMATCH':
    case 'DIGEST_MISMATCH':
    case 'BASIS_MISMATCH':
    case 'DRIFTED':
    case 'INCOMPLETE':
    case 'CANCELLED':
    case 'BUSY':
    case 'IO':
    case 'INTERNAL':
      return ExitCode.SOME_FAILED;
  }
}
