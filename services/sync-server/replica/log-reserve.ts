/**
 * Room for the log on a full disk: a file of zeros beside it, given up when an append finds no space (E88).
 */
import { join } from 'node:path';
import { writeFileAtomic } from '../../../common/fs/atomic-file.ts';
import { errnoOf } from '../../../common/ops/errors.ts';
import { removeStateFile, stateFileExists } from './state-files.ts';

/** Records of deletes are small: room for thousands. */
const RESERVE_BYTES = 256 * 1024;

export class LogReserve {
  readonly #path: string;

  constructor(directory: string) {
    this.#path = join(directory, 'reserve');
    this.restore();
  }

  /** Frees the room; false when it was given up before. */
  release(): boolean {
    if (!stateFileExists(this.#path)) return false;
    removeStateFile(this.#path);
    return true;
  }

  /** Takes the room again, if there is any. */
  restore(): void {
    if (stateFileExists(this.#path)) return;
    try {
      writeFileAtomic(this.#path, Buffer.alloc(RESERVE_BYTES));
    } catch (error) {
      // On a full disk there is nothing to be kept; the next checkpoint tries again.
      if (errnoOf(error) === undefined) throw error;
    }
  }
}
