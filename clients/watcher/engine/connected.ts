/**
 * What the engine works with while there is a session.
 */
import type { SignatureStore } from '../index/signature-store.ts';
import type { SyncedIndex } from '../index/synced-index.ts';
import type { Scanner } from '../observe/scanner.ts';
import type { ChangeSender } from './change-sender.ts';
import type { DeltaMaker } from './delta-maker.ts';
import type { HardLinks } from './hard-links.ts';
import type { SessionFacts } from './messages.ts';
import type { Signing } from './signing.ts';

export interface Connected {
  readonly index: SyncedIndex;
  readonly scanner: Scanner;
  readonly sender: ChangeSender;
  readonly session: SessionFacts;
  readonly signatures: Signatures;
  /** Undefined where each name is to be a file of its own. */
  readonly links: HardLinks | undefined;
}

/** What deltas are made from. */
export interface Signatures {
  readonly store: SignatureStore;
  readonly maker: DeltaMaker;
  readonly signing: Signing;
}

/** Seen before anybody can have asked for a flush. */
export const BEFORE_ALL_MS = 0;
