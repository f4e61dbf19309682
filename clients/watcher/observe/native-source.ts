/**
 * The change source for large trees: one watch for each directory, nothing kept for files.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { ChangeSource } from './change-source.ts';
import { DirectoryWalk } from './directory-walk.ts';
import { monotonicMs } from './hints.ts';
import type { IgnoreRules } from './ignore-rules.ts';
import { WatchedDirectories, type WatchedDirectoriesOptions } from './watched-directories.ts';

/** Setting watches at the start is interrupted so often, that events of the first ones do not pile up. */
const SLICE_MS = 10;

export interface NativeSourceOptions extends WatchedDirectoriesOptions {
  readonly rules: IgnoreRules;
}

export class NativeSource implements ChangeSource {
  readonly kind = 'native';
  readonly #root: SafeRoot;
  readonly #rules: IgnoreRules;
  readonly #watched: WatchedDirectories;
  #closed = false;

  constructor(options: NativeSourceOptions) {
    this.#root = options.root;
    this.#rules = options.rules;
    this.#watched = new WatchedDirectories(options);
  }

  get blindness(): string | undefined {
    return this.#watched.degraded;
  }

  get watchCount(): number {
    return this.#watched.watchCount;
  }

  async start(): Promise<void> {
    let sliceEndMs = monotonicMs() + SLICE_MS;
    for (const dir of new DirectoryWalk(this.#root, this.#rules)) {
      if (this.#closed) return;
      this.#watched.addWhileWalking(dir);
      if (monotonicMs() < sliceEndMs) continue;
      await nextTurn();
      this.#root.forgetAll();
      sliceEndMs = monotonicMs() + SLICE_MS;
    }
  }

  watchDirectories(dirs: readonly TreePath[]): void {
    this.#watched.add(dirs);
  }

  forgetDirectories(dirs: readonly TreePath[]): void {
    this.#watched.forget(dirs);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#watched.close();
  }
}
