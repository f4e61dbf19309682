/**
 * What ours and its peers have in common, so that a case treats all alike.
 */
import type { LineShape } from '../link/delay-line.ts';
import type { LinkTotals } from '../link/messages.ts';
import type { Usage } from '../process/usage.ts';

export interface Setup {
  /** The tree to be synchronized; nobody but the case changes it. */
  readonly source: string;
  /** Becomes what the source is; is made when missing. */
  readonly replica: string;
  /** An own directory for indexes, configuration and logs. */
  readonly state: string;
  /** A link between both sides: a line of this shape, or one that only counts bytes. Without it they talk directly. */
  readonly link?: LineShape | 'counting';
}

/** One synchronization, from the start of the client process to its end. */
export interface Sample {
  readonly wallSeconds: number;
  /** Of the sending side, whose start and end are part of the time. */
  readonly client: Usage;
  /** Of the receiving side, which is there before and after. */
  readonly server: Usage;
  /** Null without a link. */
  readonly wire: LinkTotals | null;
}

/** A receiving side that waits for clients, with one replica. */
export interface OneShotSession {
  sync(): Promise<Sample>;
  close(): Promise<void>;
}

/** Brings a replica in step with a tree, and ends: rsync, and ours with `--once`. */
export interface OneShotContender {
  readonly name: string;
  open(setup: Setup): Promise<OneShotSession>;
  /** What a user would type, with placeholders. */
  readonly commands: readonly string[];
}

/** Both sides of something that keeps watching; the first synchronization is done. */
export interface WatchingSession {
  /** How long that first synchronization took, from the start of the watching process on. */
  readonly firstSyncSeconds: number;
  /** Peak of each side since its start. */
  peaks(): SidesBytes;
  /** What each side holds now. */
  resident(): SidesBytes;
  /** Processor time of both sides together since their start; null when unknown. */
  cpuSeconds(): number | null;
  /** Throws with what it printed when a side has ended by itself. */
  mustRun(): void;
  close(): Promise<void>;
}

export interface SidesBytes {
  readonly clientBytes: number | null;
  readonly serverBytes: number | null;
}

/** Keeps a replica in step with a tree: lsyncd, syncthing, and ours. */
export interface WatchingContender {
  readonly name: string;
  watch(setup: Setup): Promise<WatchingSession>;
  readonly commands: readonly string[];
}
