/**
 * What a watcher is doing, made up: a phase, and what the engine says otherwise than at its start.
 */
import type { EngineStatus } from '../../clients/watcher/engine/messages.ts';
import { NO_PACE } from '../../clients/watcher/status/pace.ts';
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
  const told = engineStatus(engine);
  const { sentContentBytes: done, pendingBytes } = told;
  const course = { bytes: { done, total: done + pendingBytes }, pace: NO_PACE };
  return { phase, reason, ...nothing, engine: told, course };
}
