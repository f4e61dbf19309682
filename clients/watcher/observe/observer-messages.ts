/**
 * What the engine's thread and the observer's thread say to each other. Structured-clone data only.
 */
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { ChangeSourceKind } from './change-source.ts';
import type { RequestedSource } from './choose-source.ts';
import type { ObserverTurn } from './turn-gatherer.ts';

/** What the observer's worker is started with. */
export interface ObserverWorkerData {
  readonly directory: string;
  /** For cookies; inside of the watcher's state directory. */
  readonly cookieDirectory: string;
  readonly requested: RequestedSource;
  readonly excludes: readonly string[];
  readonly entryCount: number | undefined;
  readonly pollIntervalMs: number;
  /** One int32: the sequence of the last `watch` that is done. */
  readonly watched: SharedArrayBuffer;
}

export type ObserverCommand =
  | { readonly type: 'watch'; readonly sequence: number; readonly dirs: readonly TreePath[] }
  | { readonly type: 'forget'; readonly dirs: readonly TreePath[] }
  | { readonly type: 'cookie'; readonly id: number }
  /** One `turn` was taken. */
  | { readonly type: 'turn-taken' }
  | { readonly type: 'close' };

export type ObserverMessage =
  /** All directories are watched. Turns may have come before. */
  | { readonly type: 'started'; readonly source: ChangeSourceKind; readonly reason: string }
  | { readonly type: 'turn'; readonly turn: ObserverTurn }
  /** All commands `watch` up to this one are done. */
  | { readonly type: 'watched'; readonly sequence: number }
  /** The answer to `cookie`; with `scanNeeded` events prove nothing now. */
  | { readonly type: 'cookie'; readonly id: number; readonly scanNeeded: boolean }
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'closed' };
