/**
 * One ready file for several directories: there once the first sync of the last of them is done.
 */
import { removeReadyFile, writeReadyFile } from '../../../common/fs/ready-file.ts';

export class SharedReadyFile {
  readonly #path: string;
  readonly #revisions = new Map<string, string>();
  readonly #expected: number;
  readonly #metrics: string | undefined;

  /** `metrics`: the address at which they are served, if they are. */
  constructor(path: string, expected: number, metrics: string | undefined) {
    this.#path = path;
    this.#expected = expected;
    this.#metrics = metrics;
    this.remove();
  }

  /** @throws LockstepError USAGE when the file cannot be written. */
  isReady(dir: string, revision: string): void {
    this.#revisions.set(dir, revision);
    if (this.#revisions.size < this.#expected) return;
    const watches = [...this.#revisions].map(([directory, reached]) => ({ dir: directory, revision: reached }));
    writeReadyFile(this.#path, { pid: process.pid, watches, metrics: this.#metrics });
  }

  remove(): void {
    removeReadyFile(this.#path);
  }
}
