/**
 * Proof that all earlier events were read (E124): a file is made in a directory that the same event loop watches. All
 * watches of a loop share one queue of the kernel, in order, so when its event arrives, so has everything before it
 * (the idea is watchman's). The directory lies in the watcher's state, never in the watched tree.
 */
import { closeSync, type FSWatcher, mkdirSync, openSync, readdirSync, rmSync, watch } from 'node:fs';
import { join } from 'node:path';
import { errnoOf } from '../../../common/ops/errors.ts';

export class CookieDirectory {
  readonly #path: string;
  readonly #onSeen: (id: number) => void;
  readonly #pending = new Set<number>();
  #watcher: FSWatcher | undefined;

  /** Makes the directory, and empties it. Where it cannot be watched, `drop` says so. */
  constructor(path: string, onSeen: (id: number) => void) {
    this.#path = path;
    this.#onSeen = onSeen;
    try {
      mkdirSync(path, { recursive: true, mode: 0o700 });
      for (const name of readdirSync(path)) rmSync(join(path, name), { force: true });
      this.#watcher = watch(path, (_event, name) => this.#onEvent(name));
      this.#watcher.on('error', () => this.close());
    } catch (error) {
      // No watch left, or a full disk: a scan proves the same.
      if (errnoOf(error) === undefined) throw error;
    }
  }

  /** Makes a cookie; false when it will never be seen. Ids are not used twice. */
  drop(id: number): boolean {
    if (this.#watcher === undefined) return false;
    try {
      closeSync(openSync(join(this.#path, String(id)), 'wx', 0o600));
    } catch (error) {
      if (errnoOf(error) === undefined) throw error;
      return false;
    }
    this.#pending.add(id);
    return true;
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    for (const id of this.#pending) this.#remove(id);
    this.#pending.clear();
  }

  #onEvent(name: string | null): void {
    const id = Number(name);
    if (!this.#pending.delete(id)) return;
    this.#remove(id);
    this.#onSeen(id);
  }

  #remove(id: number): void {
    try {
      rmSync(join(this.#path, String(id)), { force: true });
    } catch (error) {
      // The next start empties the directory.
      if (errnoOf(error) === undefined) throw error;
    }
  }
}
