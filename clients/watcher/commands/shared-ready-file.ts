/**
 * One ready file for several directories: there once the first sync of the last of them is done.
 */
import { rmSync } from 'node:fs';
import { writeFileAtomic } from '../../../common/fs/atomic-file.ts';

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

  /** @throws an error of the operating system when the file cannot be written. */
  isReady(dir: string, revision: string): void {
    this.#revisions.set(dir, revision);
    if (this.#revisions.size < this.#expected) return;
    const watches = [...this.#revisions].map(([directory, reached]) => ({ dir: directory, revision: reached }));
    writeFileAtomic(this.#path, `${JSON.stringify({ pid: process.pid, watches, metrics: this.#metrics })}\n`, {
      mode: 0o644,
    });
  }

  remove(): void {
    rmSync(this.#path, { force: true });
  }
}
