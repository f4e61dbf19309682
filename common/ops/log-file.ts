/**
 * A log file that other programs may move away: lines are appended, each in one write, and `reopen` goes on under the old name
 * (logrotate's "create", newsyslog). Knows no logger.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { describeError, errnoOf, LockstepError } from './errors.ts';

/** Names of files are in it. */
const MODE = 0o640;

export class LogFile {
  readonly path: string;
  readonly #onTrouble: (sentence: string) => void;
  #fd: number;
  #isInTrouble = false;

  /**
   * Makes the file where it is missing. `onTrouble` hears once of a file that cannot be written any more.
   * @throws LockstepError USAGE when it cannot be opened.
   */
  constructor(path: string, onTrouble: (sentence: string) => void = complain) {
    this.path = path;
    this.#onTrouble = onTrouble;
    this.#fd = open(path);
  }

  /** Never throws: what is logged about goes on with a full disk, and the log with it when there is room again. */
  write(line: string): void {
    const bytes = Buffer.from(line);
    try {
      for (let done = 0; done < bytes.length; ) done += writeSync(this.#fd, bytes, done);
      this.#isInTrouble = false;
    } catch (error) {
      if (!this.#isInTrouble) this.#onTrouble(`cannot write the log file ${this.path}: ${describeError(error)}`);
      this.#isInTrouble = true;
    }
  }

  /** @throws LockstepError USAGE when the file cannot be opened; then the old one is written on. */
  reopen(): void {
    const fd = open(this.path);
    closeSync(this.#fd);
    this.#fd = fd;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function open(path: string): number {
  try {
    return openSync(path, 'a', MODE);
  } catch (error) {
    const errno = errnoOf(error) ?? 'unknown error';
    throw new LockstepError('USAGE', `cannot open --log-file ${path}: ${errno}`, { cause: error });
  }
}

function complain(sentence: string): void {
  process.stderr.write(`${sentence}\n`);
}
