/**
 * What the HTTP port tells about the server: plain data, made anew for each request. Names of folders and holders, never
 * of files.
 */
import type { ServedFolder } from '../rpc/sync-context.ts';

/** "starting" includes the recovery of replicas. */
export type ServerState = 'starting' | 'ready' | 'draining';

export interface ServerStatus {
  readonly version: string;
  readonly state: ServerState;
  /** Seconds since the start. */
  readonly uptimeSeconds: number;
  readonly folders: readonly FolderStatus[];
}

/** Revisions are decimal text: JSON's numbers cannot hold them all. */
export interface FolderStatus {
  readonly folder: string;
  readonly epoch: string;
  readonly headRevision: string;
  readonly durableRevision: string;
  readonly entries: number;
  readonly contentBytes: number;
  readonly state: 'ready' | 'degraded' | 'recovering';
  readonly stateReason: string;
  readonly holder: { readonly holder: string; readonly since: string; readonly connected: boolean } | null;
}

export function folderStatus({ replica, leases }: ServedFolder): FolderStatus {
  const info = replica.info();
  const { holder } = leases;
  return {
    folder: replica.folder,
    epoch: info.epoch,
    headRevision: String(info.headRevision),
    durableRevision: String(info.durableRevision),
    entries: info.entries,
    contentBytes: info.contentBytes,
    state: info.state,
    stateReason: info.stateReason,
    holder:
      holder === undefined
        ? null
        : { holder: holder.holder, since: holder.since.toISOString(), connected: holder.isConnected },
  };
}

/** Whether the server should get traffic: up, not going, and no folder is still replaying its log. */
export function isReady(status: ServerStatus): boolean {
  return status.state === 'ready' && status.folders.every(({ state }) => state !== 'recovering');
}
