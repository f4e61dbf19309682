/**
 * What the HTTP port tells about the server: plain data, made anew for each request, for one viewer.
 */
import { displayPath } from '../../../common/tree/tree-path.ts';
import type { FolderProblem } from '../rpc/folder-problems.ts';
import type { ServedFolder } from '../rpc/sync-context.ts';
import { DEGRADED_REMEDY, remedyOf } from './remedies.ts';

/** "starting" includes the recovery of replicas. */
export type ServerState = 'starting' | 'ready' | 'draining';

export interface ServerStatus {
  readonly version: string;
  readonly state: ServerState;
  /** Seconds since the start. */
  readonly uptimeSeconds: number;
  readonly folders: readonly FolderStatus[];
}

/** Revisions are decimal text: JSON's numbers cannot hold them all. Times are ISO 8601. */
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
  /** For how long the oldest batch that is not answered has been waiting, in milliseconds. */
  readonly lagMs: number;
  readonly queuedBytes: number;
  /** Since the start. */
  readonly changes: number;
  readonly wireBytes: number;
  readonly rawBytes: number;
  readonly problems: readonly ProblemStatus[];
  readonly scrub: ScrubStatus | null;
  readonly verifications: readonly VerificationStatus[];
}

export interface ProblemStatus {
  /** Null for the folder as a whole, and for who may not see names. */
  readonly path: string | null;
  readonly reason: string;
  readonly message: string;
  readonly remedy: string;
  readonly since: string | null;
  readonly count: number;
}

export interface ScrubStatus {
  readonly passes: number;
  readonly mismatches: number;
  /** Of the pass that runs; null between two. */
  readonly reading: { readonly entries: number; readonly contentBytes: number } | null;
}

export interface VerificationStatus {
  readonly startedAt: string;
  readonly endedAt: string | null;
  readonly entries: number;
  readonly contentBytes: number;
  readonly mismatches: number;
}

export function folderStatus({ replica, leases, traffic }: ServedFolder, seesNames: boolean): FolderStatus {
  const info = replica.info();
  const { holder } = leases;
  const { state, stateReason, scrub } = info;
  const problems = traffic.problems.map((problem) => problemStatus(problem, seesNames));
  return {
    folder: replica.folder,
    epoch: info.epoch,
    headRevision: String(info.headRevision),
    durableRevision: String(info.durableRevision),
    entries: info.entries,
    contentBytes: info.contentBytes,
    state,
    stateReason,
    holder:
      holder === undefined
        ? null
        : { holder: holder.holder, since: holder.since.toISOString(), connected: holder.isConnected },
    lagMs: Math.round(traffic.lagMs),
    queuedBytes: traffic.queuedBytes,
    ...traffic.totals,
    problems: state === 'degraded' ? [degradedProblem(stateReason), ...problems] : problems,
    scrub:
      scrub === undefined
        ? null
        : { passes: scrub.passes, mismatches: scrub.mismatches, reading: scrub.reading ?? null },
    verifications: traffic.verifications.map(({ startedAtMs, endedAtMs, counts }) => ({
      startedAt: timeText(startedAtMs),
      endedAt: endedAtMs === undefined ? null : timeText(endedAtMs),
      ...counts,
    })),
  };
}

function problemStatus({ path, reason, message, firstMs, count }: FolderProblem, seesNames: boolean): ProblemStatus {
  return {
    path: seesNames ? displayPath(path) : null,
    reason,
    // Sentences about a path name it.
    message: seesNames ? message : '',
    remedy: remedyOf(reason),
    since: timeText(firstMs),
    count,
  };
}

function degradedProblem(message: string): ProblemStatus {
  return { path: null, reason: 'DEGRADED', message, remedy: DEGRADED_REMEDY, since: null, count: 1 };
}

function timeText(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}

/** Why the server should get no traffic, undefined when it should: it is up, not going, and serves all its folders. */
export function unreadiness(state: ServerState, folders: Iterable<ServedFolder>): string | undefined {
  if (state !== 'ready') return state;
  const states = [...folders].map(({ replica }) => replica.info());
  if (states.some(({ hasFailed }) => hasFailed === true)) return 'a folder is not served';
  return states.some((info) => info.state === 'recovering') ? 'recovering' : undefined;
}
