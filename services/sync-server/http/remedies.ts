/**
 * What an operator can do about a problem: one sentence for each reason that a change can be refused with. Pure.
 */
import { isReason, type Reason } from '../../../common/ops/errors.ts';

const LOOK_AT_DISK = 'Look at the disk and at the log of the server; the watcher tries again by itself.';
const BY_ITSELF = 'Nothing to do: the watcher sorts this out by itself.';
const OWN_PEER = 'The client sends what no watcher of this version sends: update it, or report it.';
const ASK_OPERATOR = 'Look at the log of the server for the cause.';

const REMEDIES: Readonly<Partial<Record<Reason, string>>> = {
  NO_SPACE: 'Free space or inodes on the file system of the replica; the watcher tries again by itself.',
  READ_ONLY: 'Mount the file system of the replica for writing.',
  PERMISSION_DENIED: 'Let the user that the server runs as write there (owner and mode of the directory).',
  IO: LOOK_AT_DISK,
  DRIFTED:
    'Somebody else wrote into the replica; it has been brought back. Let nobody but the server write there, or watch that directory instead.',
  NOT_REGULAR: 'Remove the socket, FIFO or device that stands in the way in the replica.',
  NOT_A_DIRECTORY: BY_ITSELF,
  PARENT_MISSING: BY_ITSELF,
  TARGET_EXISTS: BY_ITSELF,
  ENTRY_NOT_FOUND: BY_ITSELF,
  CONTENT_NOT_FOUND: BY_ITSELF,
  BUSY: BY_ITSELF,
  MOVE_INTO_SELF: BY_ITSELF,
  OTHER_FILE_SYSTEM: BY_ITSELF,
  LINK_ESCAPES:
    'Make the link relative and keep it below the folder, or exclude it; or start the server without --refuse-escaping-links.',
  INVALID_PATH: 'Rename the entry, or exclude it with --exclude or .syncignore.',
  NAME_CLASH: "Rename the entry: the replica's file system takes its name and another one's for the same.",
  NAME_UNSUPPORTED: "Rename the entry: the replica's system or file system cannot hold this name.",
  INVALID_TIME: 'Give the entry a modification time that file systems can hold (touch).',
  LIMIT_EXCEEDED: 'The entry is beyond a limit of the server: exclude it, or raise the limit.',
  INVALID_ARGUMENT: OWN_PEER,
  LOCKED: 'Another process uses the same state directory: end it.',
  INDEX_DAMAGED: 'Run "sync-server verify --repair" while the server is stopped.',
  LOG_DAMAGED: 'Run "sync-server verify --repair" while the server is stopped, and look at the disk.',
};

/** `reason` as it is in the protocol; those of newer peers have a remedy too. */
export function remedyOf(reason: string): string {
  return (isReason(reason) ? REMEDIES[reason] : undefined) ?? ASK_OPERATOR;
}

/** For a folder that is degraded; its own sentence says why. */
export const DEGRADED_REMEDY =
  'Mend what the sentence names (space, permissions, the disk); the server tries again by itself. If it does not come back, restart it: it recovers from its log.';
