/**
 * Where a replica keeps what is its own, and the names in staging. One letter says what a staged name is:
 * `b-` a file, directory or link of a batch, on its way to its path; `c-` a whole content, named by its digest; `u-` an
 * upload under way; `t-` trash, to be removed in the background; `m-` the progress marker (progress-marker.ts); `p-` where
 * names are tried (name-folding.ts).
 */
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';
import type { Digest } from '../../../common/content/digest.ts';
import { RESERVED_NAME, type TreePath } from '../../../common/tree/tree-path.ts';

/** The replica's own directory inside its root, and staging in it: on the replica's file system, always (E83). */
export const OWN_DIRECTORY = RESERVED_NAME as TreePath;
export const STAGING_NAME = 'staging';
export const STAGING_PATH = `${RESERVED_NAME}/${STAGING_NAME}` as TreePath;

/** There only while a name is tried. */
export const PROBE_NAME = 'p-names';

/** Where directories that a change removes stand in the index until the disk has followed. Never seen outside of a group. */
export const GRAVEYARD = RESERVED_NAME as TreePath;

export function indexFileIn(stateDirectory: string): string {
  return join(stateDirectory, 'index.db');
}

export function logDirectoryIn(stateDirectory: string): string {
  return join(stateDirectory, 'log');
}

export function feedDirectoryIn(stateDirectory: string): string {
  return join(stateDirectory, 'feed');
}

export function syncDoubtFileIn(stateDirectory: string): string {
  return join(stateDirectory, 'sync-doubt');
}

/** What a change brings, before it is moved to its path. */
export function stagedName(revision: bigint, changeIndex: number): string {
  return `b-${revision}-${changeIndex}`;
}

export function contentName(digest: Digest): string {
  return `c-${digest.toString('hex')}`;
}

export function uploadName(uploadId: Buffer): string {
  return `u-${uploadId.toString('hex')}`;
}

/** Of an upload whose file began as a reflink of its basis, so that its length does not tell how far it is. */
export function cloneName(uploadId: Buffer): string {
  return `u-clone-${uploadId.toString('hex')}`;
}

let trashCount = 0;

/** A name that no earlier process and no other call gives. */
export function trashName(): string {
  return `t-${process.pid.toString(36)}-${Date.now().toString(36)}-${(trashCount++).toString(36)}`;
}

/** A file to try something on, of this thread's own; what a crash leaves of it is swept with those of batches. */
export function trialName(): string {
  return `b-trial-${threadId}`;
}
