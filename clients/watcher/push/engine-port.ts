/**
 * The engine as this room sees it: a place to post commands to. Its events arrive through the composition.
 */
import type { EngineCommand } from '../engine/messages.ts';

export interface EnginePort {
  /** Buffers in `transfer` belong to the engine from then on. */
  post(command: EngineCommand, transfer?: readonly ArrayBuffer[]): void;
  /** Resolves when the engine has taken in most of what a peer said: whoever brings it more waits for that first. */
  untilRoom(): Promise<void>;
}
