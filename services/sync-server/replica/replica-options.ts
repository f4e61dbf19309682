/**
 * What a replica is opened with, and the limits that it enforces. Data only; shared by the facade and its workers.
 */
import type { DigestFunction } from '../../../common/content/digest.ts';
import type { PathLimits } from '../../../common/tree/tree-path.ts';

/** What a peer may ask for at most; announced by GetServerInfo. */
export interface ReplicaLimits extends PathLimits {
  /** A serialized batch, before compression. */
  readonly maxBatchBytes: number;
  readonly maxBatchChanges: number;
  /** A content that travels inside a batch. */
  readonly maxInlineBytes: number;
  readonly maxContentBytes: number;
  /** Entries of the folder, 0 for no limit. */
  readonly maxEntries: number;
  /** How long a staged content that no change refers to is kept. */
  readonly stagedContentTtlMs: number;
}

export const DEFAULT_REPLICA_LIMITS: ReplicaLimits = {
  maxPathBytes: 65_536,
  maxDepth: 1_024,
  maxBatchBytes: 2 * 2 ** 20,
  maxBatchChanges: 16_384,
  maxInlineBytes: 256 * 2 ** 10,
  maxContentBytes: Number.MAX_SAFE_INTEGER,
  maxEntries: 0,
  stagedContentTtlMs: 3_600_000,
};

export interface ReplicaSettings {
  readonly folder: string;
  /** The replica's root. Created when it does not exist. */
  readonly directory: string;
  /** Index and log; default `<directory>/.lockstep`. Staging is always on the replica's own file system (E83). */
  readonly stateDirectory: string;
  readonly digestFunction: DigestFunction;
  readonly limits: ReplicaLimits;
  /** Entries are given to the owners that they come with. */
  readonly keepsOwners: boolean;
  /** Pause between two looks through the whole replica for foreign changes (E94). */
  readonly driftIntervalMs: number;
  /** Default true. False: the index is taken as it is, so that it can be held against the disk; one that is made anew is filled all the same. */
  readonly looksForDrift?: boolean | undefined;
  /** Default false. True: links that lead out of the folder are refused (S07); those that are there are told of. */
  readonly refusesEscapingLinks?: boolean | undefined;
  /** Length of a log segment after which a checkpoint is made. */
  readonly checkpointBytes: number;
  /** Length of the change feed that is kept; older revisions are answered with COMPACTED. */
  readonly feedBytes: number;
}
