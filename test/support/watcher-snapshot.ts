/**
 * What a watcher is doing, made up: a phase, and what the engine says otherwise than at its start.
 */
import type { EngineStatus } from '../../clients/watcher/engine/messages.ts';
import type { WatcherPhase, WatcherSnapshot } from '../../clients/watcher/status/watcher-model.ts';
import { engineStatus } from './engine-double.ts';

export function snapshot(phase: WatcherPhase, engine: Partial<EngineStatus> = {}, reason = ''): WatcherSnapshot {
  const nothing = {
    sinceMs: 0,
    lastChangeMs: 0,
    latencyMs: 0,
    guardHolds: 0,
    onSyncedFailure: '',
    hookRuns: { ok: 0, failed: 0, timeout: 0 },
  };
  return { phase, reason, ...nothing, engine: engineStatus(engine) };
}
