/**
 * Contents made from what the folder already has: copies (by reflink where the file system can) and deltas. What comes
 * out is checked by digest and durable before it is used, because the log does not have it.
 */
import { closeSync, ftruncateSync } from 'node:fs';
import { ContentHasher, type DigestFunction } from '../../../common/content/digest.ts';
import type { Directory } from '../../../common/fs/directory.ts';
import { readFully, syncFd } from '../../../common/fs/full-io.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { writeSparsely } from '../../../common/fs/sparse-file.ts';
import { statOf } from '../../../common/fs/stat.ts';
import type { FileRecord, IndexedEntry } from '../../../common/tree/entry.ts';
import { displayPath, nameOf, parentOf } from '../../../common/tree/tree-path.ts';
import type { CheckedDelta, FileEntry } from './change.ts';
import { ChangeFailure } from './change-failure.ts';
import { hasSameContent } from './disk-identity.ts';
import type { StagedEntries } from './staged-entries.ts';

const CHUNK_BYTES = 1024 * 1024;
const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);

/** A file that the index knows, open for reading. */
type KnownFile = IndexedEntry & FileRecord;

export class ContentBuilder {
  readonly #root: SafeRoot;
  readonly #staged: StagedEntries;
  readonly #digestFunction: DigestFunction;

  constructor(root: SafeRoot, staged: StagedEntries, digestFunction: DigestFunction) {
    this.#root = root;
    this.#staged = staged;
    this.#digestFunction = digestFunction;
  }

  /** Stages a copy of `from`. @throws ChangeFailure content-needed when that is not there any more, or damaged */
  copy(name: string, entry: FileEntry, from: KnownFile): void {
    const source = this.#open(from);
    if (source === undefined) throw contentNeeded(entry);
    try {
      this.#staged.discard(name);
      const target = this.#staged.directory.copyFileFrom(source, name);
      this.#finish(name, target, entry, () => contentNeeded(entry));
    } finally {
      closeSync(source);
    }
  }

  /** Stages what the delta makes of `basis`. @throws ChangeFailure basis-mismatch */
  build(name: string, entry: FileEntry, delta: CheckedDelta, basis: KnownFile): void {
    const mismatch = () =>
      new ChangeFailure(
        'basis-mismatch',
        'BASIS_MISMATCH',
        entry.path,
        `the basis of ${displayPath(entry.path)} is not what the index says`,
      );
    const source = this.#open(basis);
    if (source === undefined) throw mismatch();
    try {
      this.#staged.discard(name);
      const target = this.#staged.directory.createFile(name);
      let position = 0;
      try {
        for (const { basisOffset, copyLength, literal } of delta.segments) {
          if (!copyRange(source, basisOffset, copyLength, target, position)) throw mismatch();
          position += copyLength;
          writeSparsely(target, literal, position);
          position += literal.length;
        }
        ftruncateSync(target, position);
      } catch (error) {
        closeSync(target);
        this.#staged.discard(name);
        throw error;
      }
      this.#finish(name, target, entry, mismatch);
    } finally {
      closeSync(source);
    }
  }

  /** Whether the file has the content that the index says, read from its beginning to its end. */
  hasContent(directory: Directory, name: string, file: KnownFile): boolean {
    const fd = directory.openFile(name);
    try {
      return statOf(fd).sizeBytes === file.sizeBytes && hashFile(fd, this.#digestFunction).equals(file.digest);
    } finally {
      closeSync(fd);
    }
  }

  /** Opens the file if it still is the one that the index knows. */
  #open(file: KnownFile): number | undefined {
    const directory = this.#root.tryDirectory(parentOf(file.path));
    const stat = directory?.lstat(nameOf(file.path));
    if (directory === undefined || stat?.kind !== 'file') return undefined;
    // Without an identity the digest of the result decides.
    if (file.identity !== undefined && !hasSameContent(file, stat)) return undefined;
    return directory.openFile(nameOf(file.path));
  }

  /** Checks, syncs, closes; or removes it again. */
  #finish(name: string, fd: number, entry: FileEntry, mismatch: () => ChangeFailure): void {
    try {
      if (statOf(fd).sizeBytes !== entry.sizeBytes || !hashFile(fd, this.#digestFunction).equals(entry.digest))
        throw mismatch();
      this.#staged.finishFile(fd, entry);
      syncFd(fd);
      // Its name too must survive a power cut: it is the only way to this content.
      this.#staged.directory.sync();
    } catch (error) {
      this.#staged.discard(name);
      throw error;
    } finally {
      closeSync(fd);
    }
  }
}

/** The digest of an open file, from its beginning to its end. */
export function hashFile(fd: number, digestFunction: DigestFunction): Buffer {
  const hasher = new ContentHasher(digestFunction);
  let position = 0;
  let count: number;
  do {
    count = readFully(fd, chunk, 0, CHUNK_BYTES, position);
    if (count > 0) hasher.update(chunk.subarray(0, count));
    position += count;
  } while (count === CHUNK_BYTES);
  return hasher.digest();
}

/** Holes stay holes. False when the source ends early. */
function copyRange(source: number, offset: number, length: number, target: number, position: number): boolean {
  let done = 0;
  while (done < length) {
    const wanted = Math.min(CHUNK_BYTES, length - done);
    const count = readFully(source, chunk, 0, wanted, offset + done);
    writeSparsely(target, chunk.subarray(0, count), position + done);
    done += count;
    if (count < wanted) return false;
  }
  return true;
}

function contentNeeded(entry: FileEntry): ChangeFailure {
  const message = `the content of ${displayPath(entry.path)} is not at hand any more`;
  return new ChangeFailure('content-needed', 'CONTENT_NOT_FOUND', entry.path, message);
}
