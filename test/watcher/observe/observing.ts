/**
 * Helpers of the observer's tests: a tree, an observer on it, and waiting for states.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RequestedSource } from '../../../clients/watcher/observe/choose-source.ts';
import { DirtySet } from '../../../clients/watcher/observe/dirty-set.ts';
import type { HintBatch, RescanCause } from '../../../clients/watcher/observe/hints.ts';
import { Observer, type ObserverOptions } from '../../../clients/watcher/observe/observer.ts';
import { isInside, nameOf, parentOf, type TreePath, treePathFromLocal } from '../../../common/tree/tree-path.ts';

export function path(text: string): TreePath {
  return treePathFromLocal(Buffer.from(text));
}

/** Waits until `condition` holds. */
export async function until(condition: () => boolean, what: string, timeoutMs = 5000): Promise<void> {
  const giveUpAtMs = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > giveUpAtMs) throw new Error(`did not come about: ${what}`);
    await sleep(2);
  }
}

/** An observer on a temporary tree, and all that it said. */
export class Observing {
  readonly base = mkdtempSync(join(tmpdir(), 'observing-'));
  readonly directory = join(this.base, 'tree');
  readonly batches: HintBatch[] = [];
  readonly degraded: (string | undefined)[] = [];
  readonly failures: Error[] = [];
  #observer: Observer | undefined;

  constructor() {
    mkdirSync(this.directory);
    mkdirSync(join(this.base, 'state'));
  }

  get observer(): Observer {
    if (this.#observer === undefined) throw new Error('not started');
    return this.#observer;
  }

  async start(source: RequestedSource, options: Partial<ObserverOptions> = {}): Promise<Observer> {
    this.#observer = await Observer.start({
      directory: this.directory,
      stateDirectory: join(this.base, 'state'),
      source,
      excludes: [],
      onHints: (batch) => this.batches.push(batch),
      onDegraded: (reason) => this.degraded.push(reason),
      onFailed: (error) => this.failures.push(error),
      ...options,
    });
    return this.#observer;
  }

  async close(): Promise<void> {
    await this.#observer?.close();
    rmSync(this.base, { recursive: true, force: true });
  }

  /** Whether something said so far makes a reader look at `target`: at its name, at its directory, or everywhere. */
  covers(target: TreePath): boolean {
    return this.batches.some(
      ({ everything, directories }) =>
        everything !== undefined ||
        directories.some(
          ({ dir, names }) =>
            (names === 'subtree' && isInside(target, dir)) ||
            (dir === parentOf(target) && (names === 'all' || names.includes(nameOf(target)))),
        ),
    );
  }

  async untilCovered(target: TreePath): Promise<void> {
    await until(() => this.covers(target), `a hint at ${target}`);
  }

  get everything(): RescanCause | undefined {
    return this.batches.find(({ everything }) => everything !== undefined)?.everything;
  }

  /** All hints so far, taken. */
  take(): DirtySet {
    const dirty = new DirtySet();
    for (const batch of this.batches.splice(0)) dirty.addBatch(batch);
    return dirty;
  }
}
