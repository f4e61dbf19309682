/**
 * The module that the engine's thread starts with: the engine, and behind each command that it has taken in, a word to the main
 * thread, so that what waits for it stays bounded (engine-backlog.ts).
 */
import { parentPort } from 'node:worker_threads';
// First: its listener hears of a command before the one below.
import './engine/engine-worker.ts';
import type { EngineCommand } from './engine/messages.ts';
import { isCounted, type TakenMessage } from './engine-backlog.ts';

const TAKEN: TakenMessage = { type: 'taken' };

parentPort?.on('message', (command: EngineCommand) => {
  if (isCounted(command)) parentPort?.postMessage(TAKEN);
});
