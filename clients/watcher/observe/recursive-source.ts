/**
 * The change source of Windows, where one watch hears of a whole tree. Watches for each directory would keep it open, and Windows
 * renames no directory in which another one is open.
 *
 * What overran the system's buffer is told as an event without a name.
 */
import { type FSWatcher, watch } from 'node:fs';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { describeError } from '../../../common/ops/errors.ts';
import { nameOf, parentOf, ROOT, treePathFromLocal } from '../../../common/tree/tree-path.ts';
import type { ChangeEvents, ChangeSource } from './change-source.ts';
import { SELF_NAME } from './hints.ts';
import { hasReplacedBytes, knownPartOf } from './replaced-bytes.ts';

export interface RecursiveSourceOptions {
  readonly root: SafeRoot;
  readonly events: ChangeEvents;
}

export class RecursiveSource implements ChangeSource {
  readonly kind = 'native';
  /** A cookie lies in another directory, and Windows says nothing about the order of events of two watches. */
  readonly blindness = 'events of two directories have no order here';
  readonly #root: SafeRoot;
  readonly #events: ChangeEvents;
  #watcher: FSWatcher | undefined;

  constructor({ root, events }: RecursiveSourceOptions) {
    this.#root = root;
    this.#events = events;
  }

  /** @throws an error of the operating system where the tree cannot be watched. */
  async start(): Promise<void> {
    this.#watcher = watch(this.#root.path, { recursive: true });
    this.#watcher.on('change', (_event, name) => this.onEvent(name?.toString()));
    this.#watcher.on('error', (error) => this.#onError(error));
  }

  watchDirectories(): void {
    // The one watch covers whatever comes.
  }

  forgetDirectories(): void {
    // There is nothing to let go of.
  }

  async close(): Promise<void> {
    this.#watcher?.close();
  }

  /** Separators are those of Windows. Undefined where there were too many events. */
  onEvent(name: string | undefined): void {
    this.#events.onRawEvent();
    if (name === undefined) {
      this.#events.onOverflow({ reason: 'overflow', detail: 'the system dropped events' });
      return;
    }
    const text = name.replaceAll('\\', '/');
    const path = treePathFromLocal(Buffer.from(knownPartOf(text)));
    if (hasReplacedBytes(text)) this.#events.onHint(path);
    else this.#events.onHint(path === ROOT ? ROOT : parentOf(path), path === ROOT ? SELF_NAME : nameOf(path));
  }

  #onError(error: unknown): void {
    const detail = `the tree cannot be watched any more: ${describeError(error)}`;
    this.#events.onDegraded(detail);
    this.#events.onOverflow({ reason: 'watch-error', detail });
  }
}
