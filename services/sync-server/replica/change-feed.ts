/**
 * The change feed: what each revision changed, in files of bounded length, the oldest removed (E112). It is not
 * synced: after a power cut it may end early or have a hole, and whoever asks for a revision in there gets COMPACTED.
 */
import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
} from 'node:fs';
import { join } from 'node:path';
import { readFully, writeFully } from '../../../common/fs/full-io.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import { decodeRevision, encodeRevision, type FeedRevision, revisionLengthAt } from './feed-codec.ts';

const FILES = 8;
const MAX_READ_BYTES = 1024 * 1024;
const FILE_PATTERN = /^(\d{20})\.feed$/;

/** One file: consecutive revisions. */
interface FeedFile {
  readonly firstRevision: bigint;
  /** Offset of every revision in it. */
  readonly offsets: number[];
  sizeBytes: number;
}

export class ChangeFeed {
  readonly #directory: string;
  readonly #maxFileBytes: number;
  #files: FeedFile[] = [];
  #fd: number | undefined;
  #pending: Buffer[] = [];
  #pendingBytes = 0;

  private constructor(directory: string, maxBytes: number) {
    this.#directory = directory;
    this.#maxFileBytes = Math.max(64 * 1024, Math.floor(maxBytes / FILES));
  }

  /** `headRevision` is the index's: what the feed has beyond it, or not next to it, is of another history. */
  static open(directory: string, maxBytes: number, headRevision: bigint): ChangeFeed {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const feed = new ChangeFeed(directory, maxBytes);
    feed.#load(headRevision);
    return feed;
  }

  /** The newest revision that it has; undefined when it is empty. */
  get lastRevision(): bigint | undefined {
    const file = this.#files.at(-1);
    return file && file.firstRevision + BigInt(file.offsets.length) - 1n;
  }

  /** Adds a revision; it must be the next one, else all older ones are forgotten. */
  append(revision: FeedRevision): void {
    const last = this.lastRevision;
    if (last !== undefined && revision.revision !== last + 1n) this.clear();
    let file = this.#files.at(-1);
    if (file === undefined || file.sizeBytes >= this.#maxFileBytes) file = this.#beginFile(revision.revision);
    const bytes = encodeRevision(revision);
    file.offsets.push(file.sizeBytes);
    file.sizeBytes += bytes.length;
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
  }

  /** Gives what was appended to the operating system. */
  flush(): void {
    if (this.#pending.length === 0 || this.#fd === undefined) return;
    const bytes = Buffer.concat(this.#pending, this.#pendingBytes);
    this.#pending = [];
    this.#pendingBytes = 0;
    writeFully(this.#fd, bytes, 0, bytes.length, null);
  }

  /**
   * Revisions after this one, at least one if there is any, about 1 MiB at most.
   * @throws COMPACTED when it does not reach back so far
   */
  read(after: bigint, headRevision: bigint): readonly FeedRevision[] {
    if (after === headRevision) return [];
    this.flush();
    const file = this.#files.find(({ firstRevision, offsets }) => {
      return after + 1n >= firstRevision && after + 1n < firstRevision + BigInt(offsets.length);
    });
    if (file === undefined || after > headRevision) {
      throw new LockstepError('COMPACTED', `the change feed does not have revision ${after + 1n}; list again`);
    }
    const first = Number(after + 1n - file.firstRevision);
    let end = first + 1;
    const start = file.offsets[first] ?? 0;
    const endOf = (index: number) => file.offsets[index] ?? file.sizeBytes;
    while (end < file.offsets.length && endOf(end + 1) - start <= MAX_READ_BYTES) end++;
    return this.#decode(file, start, endOf(end));
  }

  /** Forgets everything: the revisions to come are not of the same history. */
  clear(): void {
    this.#close();
    this.#pending = [];
    this.#pendingBytes = 0;
    for (const file of this.#files) rmSync(this.#pathOf(file), { force: true });
    this.#files = [];
  }

  close(): void {
    this.flush();
    this.#close();
  }

  #decode(file: FeedFile, start: number, end: number): FeedRevision[] {
    const bytes = Buffer.allocUnsafeSlow(end - start);
    const fd = openSync(this.#pathOf(file), 'r');
    try {
      if (readFully(fd, bytes, 0, bytes.length, start) < bytes.length) {
        throw new LockstepError('COMPACTED', 'the change feed was cut short; list again');
      }
    } finally {
      closeSync(fd);
    }
    const revisions: FeedRevision[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = revisionLengthAt(bytes, at);
      if (length === undefined) throw new LockstepError('COMPACTED', 'the change feed is damaged; list again');
      revisions.push(decodeRevision(bytes, at));
      at += length;
    }
    return revisions;
  }

  #beginFile(firstRevision: bigint): FeedFile {
    this.flush();
    this.#close();
    const file: FeedFile = { firstRevision, offsets: [], sizeBytes: 0 };
    this.#fd = openSync(
      this.#pathOf(file),
      constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_APPEND,
      0o600,
    );
    this.#files.push(file);
    while (this.#files.length > FILES) {
      const oldest = this.#files.shift();
      if (oldest !== undefined) rmSync(this.#pathOf(oldest), { force: true });
    }
    return file;
  }

  #load(headRevision: bigint): void {
    const firsts = readdirSync(this.#directory).flatMap((name) => FILE_PATTERN.exec(name)?.[1] ?? []);
    for (const first of firsts.sort()) {
      const file: FeedFile = { firstRevision: BigInt(first), offsets: [], sizeBytes: 0 };
      const last = this.lastRevision;
      if (last !== undefined && file.firstRevision !== last + 1n) this.clear();
      const path = this.#pathOf(file);
      const bytes = readFileSync(path);
      for (let at = 0; ; ) {
        const length = revisionLengthAt(bytes, at);
        if (length === undefined) break;
        file.offsets.push(at);
        at += length;
        file.sizeBytes = at;
      }
      if (file.sizeBytes < bytes.length) truncateSync(path, file.sizeBytes);
      if (file.offsets.length > 0) this.#files.push(file);
      else rmSync(path);
    }
    const last = this.lastRevision;
    if (last !== undefined && last > headRevision) this.clear();
    const newest = this.#files.at(-1);
    if (newest === undefined) return;
    this.#fd = openSync(this.#pathOf(newest), constants.O_WRONLY | constants.O_APPEND);
    newest.sizeBytes = fstatSync(this.#fd).size;
  }

  #close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #pathOf(file: FeedFile): string {
    return join(this.#directory, `${String(file.firstRevision).padStart(20, '0')}.feed`);
  }
}
