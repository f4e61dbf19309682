/**
 * An engine without a tree: records the commands that it gets, and can be made to say anything an engine says.
 */
import { EventEmitter } from 'node:events';
import type { EngineCommand, EngineEvent, EngineStatus } from '../../clients/watcher/engine/messages.ts';
import { eventually } from './eventually.ts';

type CommandOf<T extends EngineCommand['type']> = Extract<EngineCommand, { type: T }>;

export class EngineDouble {
  readonly commands: EngineCommand[] = [];
  readonly #events = new EventEmitter();
  /** Called with each command; may answer at once with `emit`. */
  onCommand: (command: EngineCommand) => void = () => {};
  isTerminated = false;

  post(command: EngineCommand): void {
    this.commands.push(command);
    this.onCommand(command);
  }

  async untilRoom(): Promise<void> {}

  onEvent(listener: (event: EngineEvent) => void): void {
    this.#events.on('event', listener);
  }

  onFailure(): void {}

  emit(event: EngineEvent): void {
    this.#events.emit('event', event);
  }

  async terminate(): Promise<void> {
    this.isTerminated = true;
  }

  all<T extends EngineCommand['type']>(type: T): CommandOf<T>[] {
    return this.commands.filter((command): command is CommandOf<T> => command.type === type);
  }

  /** The n-th command of a type, from 1, once it has come. */
  received<T extends EngineCommand['type']>(type: T, count = 1): Promise<CommandOf<T>> {
    return eventually(`${count} × ${type}`, () => this.all(type)[count - 1]);
  }
}

/** A status of an engine that has done nothing yet, with some parts of it changed. */
export function engineStatus(parts: Partial<EngineStatus>): EngineStatus {
  return {
    phase: 'starting',
    inStep: false,
    firstSyncDone: false,
    revision: 0n,
    durableRevision: 0n,
    entries: 0,
    scannedEntries: 0,
    pendingChanges: 0,
    pendingBytes: 0,
    dirtyPaths: 0,
    pendingSinceMs: undefined,
    sentChanges: 0,
    sentContentBytes: 0,
    changeSource: 'native',
    rescans: [],
    degraded: '',
    problems: [],
    problemCount: 0,
    heldDeletes: 0,
    deleteLimit: 0,
    reason: '',
    ...parts,
  };
}
