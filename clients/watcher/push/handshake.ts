/**
 * The first words with a server: which protocol it speaks, whether it has our folder, what it allows. What it says is
 * checked here, once (rule 6: the peer is hostile).
 */
import type { DigestFunction } from '../../../common/content/digest.ts';
import { placeOf, relationOf } from '../../../common/fs/place.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { displayText } from '../../../common/tree/display-path.ts';
import { Compressor, DigestFunction as WireDigestFunction } from '../../../gen/lockstep/sync/v1/entry.ts';
import type { FolderInfo, GetServerInfoResponse, Limits } from '../../../gen/lockstep/sync/v1/sync_service.ts';
import { VERSION } from '../version.ts';
import type { Connection } from './connection.ts';
import { LEAST_ZERO_BYTES } from './content-messages.ts';

/** The version of the protocol that this program speaks. */
const PROTOCOL_VERSION = 1;

/** What a server says of itself, checked. Sizes in bytes. */
export interface ServerFacts {
  readonly serverVersion: string;
  readonly limits: SessionLimits;
  readonly zstd: boolean;
  /** It knows LinkFile. */
  readonly hardLinks: boolean;
  readonly folder: FolderInfo;
}

export interface SessionLimits {
  readonly maxBatchBytes: number;
  readonly maxBatchChanges: number;
  readonly maxInlineBytes: number;
  readonly maxInFlightBytes: number;
  readonly maxContentBytes: number;
  readonly maxUploadStreams: number;
  /** Zeros that one message of an upload tells as a number; 0: they are sent. */
  readonly maxZeroBytes: number;
}

/**
 * @throws LockstepError PROTOCOL_UNSUPPORTED; FOLDER_NOT_FOUND naming the folders that there are; USAGE when the replica
 *   and the watched directory hold each other, or when owners are to be carried and the server does not keep them; INVALID_ARGUMENT
 *   when what the server says makes no sense; and what calls throw.
 */
export async function greet(
  connection: Connection,
  folderName: string,
  signal: AbortSignal,
  { carriesOwners = false }: { readonly carriesOwners?: boolean | undefined } = {},
): Promise<ServerFacts> {
  const info = await connection.getServerInfo({ clientVersion: VERSION }, signal);
  if (info.protocolVersion !== PROTOCOL_VERSION) throw unknownProtocol(connection, info);
  const folder = info.folders.find(({ folder }) => folder === folderName);
  if (folder === undefined) throw folderNotFound(connection, folderName, info.folders);
  if (carriesOwners && !folder.keepsOwners) throw ownersNotKept(connection, folderName);
  if (connection.watched !== undefined) assertApart(connection.watched, folder.place);
  return {
    serverVersion: shownVersion(info),
    limits: checkedLimits(info.limits),
    zstd: info.compressors.includes(Compressor.COMPRESSOR_ZSTD),
    hardLinks: info.hardLinks,
    folder,
  };
}

/** Carrying on without them would look like success. */
function ownersNotKept({ address }: Connection, folder: string): LockstepError {
  return new LockstepError(
    'USAGE',
    `the server at ${address.text} does not keep owners for the folder "${folder}"; start it with --owner, or this one without`,
  );
}

/** A replica inside of the watched directory, or around it, would be fed to itself (E11). */
function assertApart(directory: string, replica: readonly Uint8Array[]): void {
  const relation = replica.length === 0 ? 'apart' : relationOf(placeOf(directory), replica);
  if (relation === 'apart') return;
  const where = { same: `is ${directory} itself`, inside: `holds ${directory}`, around: `lies in ${directory}` }[
    relation
  ];
  throw new LockstepError('USAGE', `the server's replica ${where}; choose directories that do not hold each other`);
}

/** @throws LockstepError PROTOCOL_UNSUPPORTED for a function that this program does not have. */
export function digestFunctionFromWire(digestFunction: WireDigestFunction): DigestFunction {
  switch (digestFunction) {
    case WireDigestFunction.DIGEST_FUNCTION_BLAKE3:
      return 'blake3';
    case WireDigestFunction.DIGEST_FUNCTION_SHA256:
      return 'sha256';
    default:
      throw new LockstepError(
        'PROTOCOL_UNSUPPORTED',
        'the folder uses a digest function that this version does not know; update sync-watcher',
      );
  }
}

function unknownProtocol(connection: Connection, info: GetServerInfoResponse): LockstepError {
  const older = info.protocolVersion > PROTOCOL_VERSION ? 'sync-watcher' : 'sync-server';
  return new LockstepError(
    'PROTOCOL_UNSUPPORTED',
    `the server at ${connection.address.text} (version ${shownVersion(info)}) speaks version ${info.protocolVersion} of the protocol and this program version ${PROTOCOL_VERSION}; update ${older}`,
  );
}

const MAX_VERSION_CHARS = 64;
const MAX_NAMED_FOLDERS = 20;

/** For people, whatever the server calls its version. */
function shownVersion({ serverVersion }: GetServerInfoResponse): string {
  return displayText(serverVersion.slice(0, MAX_VERSION_CHARS).toWellFormed());
}

function folderNotFound(connection: Connection, name: string, folders: readonly FolderInfo[]): LockstepError {
  const named = folders.slice(0, MAX_NAMED_FOLDERS).map(({ folder }) => `"${folder.slice(0, 255)}"`);
  const known = [...named, ...(folders.length > named.length ? [`${folders.length - named.length} more`] : [])].join(
    ', ',
  );
  const remedy =
    known === '' ? 'it has none that you may see; check the token' : `it has ${known}; choose with --folder`;
  return new LockstepError(
    'FOLDER_NOT_FOUND',
    `the server at ${connection.address.text} has no folder "${name}": ${remedy}`,
  );
}

/** What no server announces on purpose, and what would keep the engine from sending anything. */
const MIN_BATCH_BYTES = 64 * 1024;
const DEFAULT_UPLOAD_STREAMS = 4;

function checkedLimits(limits: Limits | undefined): SessionLimits {
  if (limits === undefined) throw new LockstepError('INVALID_ARGUMENT', 'the server announces no limits');
  const maxMessageBytes = sizeOf(limits.maxMessageBytes, 'max_message_bytes', MIN_BATCH_BYTES);
  // A batch travels in one message, with a few bytes around it.
  const maxBatchBytes = Math.min(
    sizeOf(limits.maxBatchBytes, 'max_batch_bytes', MIN_BATCH_BYTES),
    maxMessageBytes - 64,
  );
  return {
    maxBatchBytes,
    maxBatchChanges: Math.max(1, limits.maxBatchChanges),
    maxInlineBytes: Math.min(sizeOf(limits.maxInlineBytes, 'max_inline_bytes', 0), maxBatchBytes),
    maxInFlightBytes: sizeOf(limits.maxInFlightBytes, 'max_in_flight_bytes', MIN_BATCH_BYTES),
    maxContentBytes: sizeOf(limits.maxContentBytes, 'max_content_bytes', 0),
    maxUploadStreams: limits.maxUploadStreams === 0 ? DEFAULT_UPLOAD_STREAMS : limits.maxUploadStreams,
    maxZeroBytes: limits.maxZeroBytes < BigInt(LEAST_ZERO_BYTES) ? 0 : Number(limits.maxZeroBytes),
  };
}

function sizeOf(value: bigint, name: string, least: number): number {
  if (value < BigInt(least)) {
    throw new LockstepError(
      'INVALID_ARGUMENT',
      `the server announces ${name} ${value}, which is too little to work with`,
    );
  }
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(value);
}
