/**
 * Whether what the replica got since the last checkpoint may be missing from the disk although the kernel says that nothing
 * is left to write: a sync of its file system failed, or nobody heard its answer (E86). After an error the kernel takes the
 * pages that it could not write for clean, and the next sync succeeds without them; so the doubt must outlive the process, as
 * the page cache does.
 *
 * One byte, overwritten in place: a full disk must not keep a checkpoint, which frees room, from being made (E88).
 */
import { closeSync } from 'node:fs';
import { readFully, syncFd, writeFully } from '../../../common/fs/full-io.ts';
import { errnoError } from '../../../common/ops/errors.ts';
import { openStateFile } from './state-files.ts';

const RAISED = Buffer.from('!');
const NONE = Buffer.from('.');

export class SyncDoubt {
  readonly #fd: number;
  #isRaised: boolean;

  private constructor(fd: number, isRaised: boolean) {
    this.#fd = fd;
    this.#isRaised = isRaised;
  }

  /** Creates the file when there is none. @throws an errno error */
  static open(path: string): SyncDoubt {
    const fd = openStateFile(path);
    try {
      const found = Buffer.alloc(1);
      if (readFully(fd, found, 0, 1, 0) === 0) writeFully(fd, NONE, 0, 1, 0);
      return new SyncDoubt(fd, found.equals(RAISED));
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  get isRaised(): boolean {
    return this.#isRaised;
  }

  /** Durable when this returns. Each try writes anew, so that none is a sync repeated. @throws IO … */
  raise(): void {
    this.#write(RAISED);
    this.#isRaised = true;
  }

  /** A crash may undo this: then something is written anew that did not need it. @throws IO … */
  clear(): void {
    this.#write(NONE);
    this.#isRaised = false;
  }

  close(): void {
    closeSync(this.#fd);
  }

  #write(mark: Uint8Array): void {
    try {
      writeFully(this.#fd, mark, 0, 1, 0);
      syncFd(this.#fd);
    } catch (error) {
      throw errnoError('note whether a sync is in doubt', error);
    }
  }
}
