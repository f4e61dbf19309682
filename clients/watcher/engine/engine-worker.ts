/**
 * The engine's thread: waits to be told what to watch, opens the root, starts the observer, and lets the engine work
 * until it is told to close or cannot go on. Only messages here.
 */
import { availableParallelism } from 'node:os';
import { parentPort } from 'node:worker_threads';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { timeGranuleMs } from '../../../common/fs/time-granule.ts';
import { saveCompiledCode } from '../../../common/ops/compile-cache.ts';
import { giveBackMemoryWhenIdle } from '../../../common/ops/garbage-collection.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { monotonicMs } from '../observe/hints.ts';
import { LookAhead } from '../observe/look-ahead.ts';
import { Observer } from '../observe/observer.ts';
import { Engine, failureOf, type Hints } from './engine.ts';
import {
  type BeginEngine,
  type EngineCommand,
  type EngineEvent,
  type EngineOptions,
  isCounted,
  type TakenMessage,
} from './messages.ts';

const port = parentPort;
if (port === null) throw new Error('engine-worker runs as a worker thread only');
saveCompiledCode();
giveBackMemoryWhenIdle();

const POLL_MS = 5_000;
const TAKEN: TakenMessage = { type: 'taken' };

function emit(event: EngineEvent, transfer: readonly ArrayBuffer[] = []): void {
  port?.postMessage(event, [...transfer]);
}

/** Commands may come before the engine is there. */
const early: EngineCommand[] = [];
let engine: Engine | undefined;
port.once('message', (first: BeginEngine | Extract<EngineCommand, { type: 'close' }>) => {
  if (first.type === 'close') {
    port.close(); // Nothing is to be watched after all.
    return;
  }
  port.on('message', (command: EngineCommand) => {
    if (engine === undefined) early.push(command);
    else take(engine, command);
    if (isCounted(command)) port.postMessage(TAKEN);
  });
  main(first.options).catch(fail);
});

function take(target: Engine, command: EngineCommand): void {
  try {
    target.handle(command);
  } catch (error) {
    fail(error);
  }
}

function fail(error: unknown): void {
  emit({ type: 'failed', ...failureOf(error) });
  port?.close();
}

async function main(options: EngineOptions): Promise<void> {
  using root = SafeRoot.open(options.directory);
  const observer = options.mode === 'watch' ? await startObserver(options) : undefined;
  try {
    const hints = observer === undefined ? undefined : hintsOf(observer);
    const startLookAhead = availableParallelism() > 1 ? () => new LookAhead(options.directory) : undefined;
    engine = new Engine({
      options,
      root,
      hints,
      emit,
      startLookAhead,
      timeGranuleMs: timeGranuleMs(options.directory),
    });
    for (const batch of early.splice(0)) take(engine, batch);
    if (observer !== undefined) engine.setChangeSource(observer.source);
    for (const act of whenReady.splice(0)) act(engine);
    await engine.run();
  } finally {
    await observer?.close();
  }
  emit({ type: 'closed' });
  port?.close();
}

/** What the observer said before the engine was there. */
const whenReady: ((engine: Engine) => void)[] = [];

function withEngine(act: (engine: Engine) => void): void {
  if (engine === undefined) whenReady.push(act);
  else act(engine);
}

function startObserver(options: EngineOptions): Promise<Observer> {
  return Observer.start({
    directory: options.directory,
    stateDirectory: options.stateDirectory,
    source: options.changeSource,
    excludes: options.excludes,
    // Where `auto` has to poll, nobody has asked for the long interval of the scan behind the watches.
    pollIntervalMs:
      options.changeSource === 'poll' ? options.scanIntervalMs : Math.min(POLL_MS, options.scanIntervalMs),
    onHints: (batch) => withEngine((target) => target.takeHints(batch)),
    onDegraded: (reason) => withEngine((target) => target.setDegraded(reason ?? '')),
    onFailed: (error) =>
      withEngine((target) => {
        target.setDegraded(error.message);
        target.dirty.addEverything({ reason: 'watch-error', detail: error.message }, monotonicMs());
        target.wake();
      }),
  });
}

function hintsOf(observer: Observer): Hints {
  return {
    watchDirectories: (directories: readonly TreePath[]) => observer.watchDirectories(directories),
    settle: async () => ((await observer.cookie()).scanNeeded ? 'scan-needed' : 'delivered'),
  };
}
