/**
 * One content on its way into staging: written in order, hashed as it comes, checked at its end, durable before it gets
 * its name. Nothing in here is visible in the replica.
 */
import { closeSync, ftruncateSync } from 'node:fs';
import { ContentHasher, type Digest, type DigestFunction } from '../../../common/content/digest.ts';
import { decompressLiterals } from '../../../common/content/literals.ts';
import { zeroRuns } from '../../../common/content/zero-runs.ts';
import { fdatasyncBeside } from '../../../common/fs/descriptor.ts';
import type { Directory } from '../../../common/fs/directory.ts';
import { readFully, writeFully, writeFullyBeside } from '../../../common/fs/full-io.ts';
import { isCloned, writeSparsely } from '../../../common/fs/sparse-file.ts';
import { statOf } from '../../../common/fs/stat.ts';
import { errnoError, errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { contentName } from './layout.ts';
import type { UploadPart } from './replica.ts';
import type { SpaceGuard } from './space-guard.ts';
import { breathe } from './steps.ts';

const CHUNK_BYTES = 1024 * 1024;
/** Of long ranges: what a thread is woken for should take longer than the waking. */
const LARGE_CHUNK_BYTES = 4 * 1024 * 1024;
/** What is hashed while the processor's cache still has it: a tenth less time than reading a long chunk first. */
const CACHED_BYTES = 512 * 1024;
/** Of smaller files the range is written as quickly as shared. */
const MIN_CLONED_BYTES = 1024 * 1024;
const ZEROS = Buffer.alloc(CHUNK_BYTES);
/** Above what the protocol allows in one message, so that a bomb is refused before it is unpacked (S22). */
const MAX_PART_BYTES = 16 * 1024 * 1024;

export interface UploadOptions {
  readonly staging: Directory;
  readonly name: string;
  /** For as long as more is staged than was committed. */
  readonly cloneName: string;
  readonly fd: number;
  readonly sizeBytes: number;
  /** Announced at the beginning. */
  readonly digest: Digest | undefined;
  readonly digestFunction: DigestFunction;
  /** Open for reading; belongs to the upload. */
  readonly basisFd: number | undefined;
  /** Of a content that nobody needs if it turns out to be this one. */
  readonly knownDigest?: Digest | undefined;
  /** Whether what is staged is of use when the upload breaks. Default true. */
  readonly isResumable?: boolean | undefined;
  readonly space: SpaceGuard;
}

export class Upload {
  readonly name: string;
  readonly #options: UploadOptions;
  #committedBytes = 0;
  /** Undefined after a write failed in the middle: then what is staged is hashed again. */
  #hasher: ContentHasher | undefined;
  #usesBasis = false;
  /** The last bytes were zeros, which were left out. */
  #endsWithHole = false;
  /** Behind what is committed, the staged file has what the basis has there. */
  #isClone = false;
  #isOpen = true;
  /** What reads and writes the descriptors beside this thread. */
  #beside: Promise<void> | undefined;
  /** For long ranges. */
  #chunks: [Buffer, Buffer] | undefined;
  /** Once it is no longer open. */
  #closed: Promise<void> = Promise.resolve();

  constructor(options: UploadOptions) {
    this.#options = options;
    this.name = options.name;
    this.#hasher = new ContentHasher(options.digestFunction);
  }

  get committedBytes(): number {
    return this.#committedBytes;
  }

  /** Begins with all of the basis where the file system has reflinks: ranges that stay where they are need not be written (E20). */
  tryClone(): void {
    const { staging, basisFd, fd, sizeBytes, cloneName } = this.#options;
    if (basisFd === undefined || sizeBytes < MIN_CLONED_BYTES) return;
    // First of all: after a crash nobody may take its length for what has arrived.
    staging.rename(this.name, staging, cloneName);
    this.#isClone = isCloned(basisFd, fd);
    if (!this.#isClone) staging.rename(cloneName, staging, this.name);
  }

  /** Counts what a broken upload has staged, after hashing it again (E101). */
  async resume(): Promise<void> {
    const { fd, sizeBytes } = this.#options;
    const staged = statOf(fd).sizeBytes;
    if (staged > sizeBytes) ftruncateSync(fd, 0);
    await this.#rehash(staged > sizeBytes ? 0 : staged);
  }

  /** @throws OFFSET_MISMATCH, BASIS_MISMATCH, NO_SPACE, INVALID_ARGUMENT, CANCELLED */
  async write(part: UploadPart): Promise<number> {
    this.#assertOpen();
    if (this.#hasher === undefined) await this.#rehash(this.#committedBytes);
    const before = this.#committedBytes;
    if (part.offsetBytes !== before) {
      throw new LockstepError('OFFSET_MISMATCH', `the upload goes on at ${before}, not at ${part.offsetBytes}`, {
        details: { committed_size: String(before) },
      });
    }
    const data = literalOf(part);
    const steps = part.steps ?? [{ copyOffsetBytes: 0, copyLengthBytes: 0, zeroBytes: 0, dataBytes: data.length }];
    const addedBytes = steps.reduce((sum, step) => sum + step.copyLengthBytes, data.length);
    const skippedBytes = steps.reduce((sum, step) => sum + step.zeroBytes, 0);
    if (before + addedBytes + skippedBytes > this.#options.sizeBytes) {
      throw new LockstepError(
        'INVALID_ARGUMENT',
        `an upload is longer than the ${this.#options.sizeBytes} bytes announced`,
      );
    }
    if (!this.#options.space.allows(addedBytes)) {
      throw new LockstepError('NO_SPACE', 'the upload would use the free space that is kept in reserve');
    }
    try {
      let at = 0;
      for (const { copyOffsetBytes, copyLengthBytes, zeroBytes, dataBytes } of steps) {
        if (copyLengthBytes > 0) await this.#copy(copyOffsetBytes, copyLengthBytes);
        if (zeroBytes > 0) await this.#skip(zeroBytes);
        this.#append(data.subarray(at, at + dataBytes));
        at += dataBytes;
      }
      // Its length is what a resumption counts.
      if (this.#endsWithHole) ftruncateSync(this.#options.fd, this.#committedBytes);
    } catch (error) {
      this.#cutBack(before);
      throw errnoOf(error) === undefined ? error : errnoError('write a staged content', error);
    }
    return this.#committedBytes;
  }

  /**
   * Checks size and digest, makes the content durable and gives it its name; what is wrong is dropped (E102), and so is what turns out to
   * be known. Without a digest the one that what was written has.
   */
  async finish(expected: Digest | undefined): Promise<Digest> {
    this.#assertOpen();
    if (this.#hasher === undefined) await this.#rehash(this.#committedBytes);
    const { fd, staging, sizeBytes } = this.#options;
    const isWhole = this.#committedBytes === sizeBytes;
    const digest = this.#hasher?.digest();
    this.#hasher = undefined;
    const isRight = [expected, this.#options.digest].every((one) => one === undefined || digest?.equals(one) === true);
    if (!isWhole || digest === undefined || !isRight) {
      this.drop();
      const what = isWhole ? 'another digest' : `${this.#committedBytes} of ${sizeBytes} bytes`;
      const reason = isWhole && this.#usesBasis ? 'BASIS_MISMATCH' : 'DIGEST_MISMATCH';
      throw new LockstepError(reason, `an uploaded content has ${what} and was dropped; send it again`);
    }
    if (this.#options.knownDigest?.equals(digest) === true) {
      this.drop();
      return digest;
    }
    try {
      this.#leaveClone();
      await fdatasyncBeside(fd);
    } catch (error) {
      // What the kernel dropped cannot be known (E86).
      this.drop();
      throw errnoError('sync a staged content', error);
    }
    this.#assertOpen();
    // The same content may have come another way, and be on its way into the tree: that one must not be replaced.
    if (staging.lstat(contentName(digest)) === undefined) staging.rename(this.name, staging, contentName(digest));
    else staging.unlink(this.name);
    staging.sync();
    this.#close();
    return digest;
  }

  /** What is staged stays for resumption, if it can. Resolves when nothing of this upload is written any more. May be called again. */
  suspend(): Promise<void> {
    if (this.#options.isResumable === false) this.drop();
    try {
      this.#leaveClone();
    } finally {
      this.#close();
    }
    return this.#closed;
  }

  /** Removes what is staged. */
  drop(): void {
    const { staging, cloneName } = this.#options;
    const name = this.#isClone ? cloneName : this.name;
    if (this.#isOpen && staging.lstat(name) !== undefined) staging.unlink(name);
    this.#close();
  }

  #assertOpen(): void {
    if (!this.#isOpen) throw new LockstepError('CANCELLED', 'the upload was begun anew elsewhere, or has ended');
  }

  async #copy(offset: number, length: number): Promise<void> {
    const { basisFd } = this.#options;
    if (basisFd === undefined) throw new LockstepError('BASIS_MISMATCH', 'the basis is not there with this digest');
    this.#usesBasis = true;
    if (this.#isClone && offset === this.#committedBytes) return this.#keep(length);
    this.#leaveClone();
    if (length > LARGE_CHUNK_BYTES) return this.#copyBeside(basisFd, offset, length);
    const chunk = Buffer.allocUnsafeSlow(length);
    if (readFully(basisFd, chunk, 0, length, offset) < length) throw beyondTheBasis();
    this.#append(chunk);
    await breathe();
    this.#assertOpen();
  }

  /** What is there already, as a reflink: it is read as what it is now, whatever the basis has become. */
  async #keep(length: number): Promise<void> {
    const chunk = Buffer.allocUnsafeSlow(Math.min(CACHED_BYTES, length));
    for (let done = 0; done < length; ) {
      const turnEnd = Math.min(length, done + LARGE_CHUNK_BYTES);
      for (; done < turnEnd; done += chunk.length) {
        const piece = chunk.subarray(0, Math.min(chunk.length, length - done));
        this.#readAndHash(this.#options.fd, piece, this.#committedBytes);
        this.#committedBytes += piece.length;
      }
      await breathe();
      this.#assertOpen();
    }
  }

  /** While a chunk is written, the next one is read and hashed. */
  async #copyBeside(basisFd: number, offset: number, length: number): Promise<void> {
    const { fd } = this.#options;
    // Memory that is new costs as much as copying it.
    this.#chunks ??= [Buffer.allocUnsafeSlow(LARGE_CHUNK_BYTES), Buffer.allocUnsafeSlow(LARGE_CHUNK_BYTES)];
    let [chunk, other] = this.#chunks;
    let writing: Promise<void> | undefined;
    try {
      for (let done = 0; done < length; done += LARGE_CHUNK_BYTES) {
        this.#assertOpen();
        const data = chunk.subarray(0, Math.min(LARGE_CHUNK_BYTES, length - done));
        this.#readAndHash(basisFd, data, offset + done);
        await writing;
        this.#assertOpen();
        // What has zeros in it is written in pieces.
        if (zeroRuns(data, this.#committedBytes).length === 0) {
          writing = writeFullyBeside(fd, data, this.#committedBytes);
          // Its failure is heard where it is waited for.
          this.#beside = writing.catch(() => undefined);
          this.#endsWithHole = false;
        } else {
          writing = undefined;
          this.#endsWithHole = writeSparsely(fd, data, this.#committedBytes);
        }
        this.#committedBytes += data.length;
        [chunk, other] = [other, chunk];
        await breathe();
      }
    } finally {
      await writing;
      this.#beside = undefined;
    }
    this.#assertOpen();
  }

  #readAndHash(fd: number, chunk: Buffer, offset: number): void {
    for (let done = 0; done < chunk.length; done += CACHED_BYTES) {
      const piece = chunk.subarray(done, done + CACHED_BYTES);
      if (readFully(fd, piece, 0, piece.length, offset + done) < piece.length) throw beyondTheBasis();
      this.#hasher?.update(piece);
    }
  }

  /** Zeros that did not even come: they are hashed, and nothing is written. */
  async #skip(zeroBytes: number): Promise<void> {
    this.#leaveClone();
    for (let done = 0; done < zeroBytes; ) {
      const count = Math.min(ZEROS.length, zeroBytes - done);
      this.#hasher?.update(ZEROS.subarray(0, count));
      done += count;
      this.#committedBytes += count;
      this.#endsWithHole = true;
      await breathe();
      this.#assertOpen();
    }
  }

  #append(data: Uint8Array): void {
    if (data.length === 0) return;
    const { fd } = this.#options;
    // A hole can only be left where nothing was.
    if (this.#isClone) writeFully(fd, data, 0, data.length, this.#committedBytes);
    else this.#endsWithHole = writeSparsely(fd, data, this.#committedBytes);
    this.#committedBytes += data.length;
    this.#hasher?.update(data);
  }

  async #rehash(lengthBytes: number): Promise<void> {
    const { fd, digestFunction } = this.#options;
    const hasher = new ContentHasher(digestFunction);
    const chunk = Buffer.allocUnsafeSlow(Math.max(1, Math.min(CHUNK_BYTES, lengthBytes)));
    let done = 0;
    while (done < lengthBytes) {
      const count = readFully(fd, chunk, 0, Math.min(chunk.length, lengthBytes - done), done);
      if (count === 0) break;
      hasher.update(chunk.subarray(0, count));
      done += count;
      await breathe();
      this.#assertOpen();
    }
    this.#hasher = hasher;
    this.#committedBytes = done;
  }

  /** From here on what is committed is all that is staged. */
  #leaveClone(): void {
    if (!this.#isClone || !this.#isOpen) return;
    const { staging, fd, cloneName } = this.#options;
    ftruncateSync(fd, this.#committedBytes);
    staging.rename(cloneName, staging, this.name);
    this.#isClone = false;
  }

  #cutBack(lengthBytes: number): void {
    this.#hasher = undefined;
    this.#committedBytes = lengthBytes;
    this.#endsWithHole = false;
    if (!this.#isOpen) return;
    this.#leaveClone();
    ftruncateSync(this.#options.fd, lengthBytes);
  }

  #close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    const { fd, basisFd } = this.#options;
    const close = () => {
      closeSync(fd);
      if (basisFd !== undefined) closeSync(basisFd);
    };
    // Another file could get the number of a descriptor that is still written to.
    if (this.#beside === undefined) close();
    else this.#closed = this.#beside.then(close);
  }
}

function literalOf({ data, decompressedSizeBytes }: UploadPart): Uint8Array {
  if (decompressedSizeBytes === undefined) return data;
  if (decompressedSizeBytes > MAX_PART_BYTES) {
    throw new LockstepError(
      'LIMIT_EXCEEDED',
      `a compressed part of ${decompressedSizeBytes} bytes is longer than ${MAX_PART_BYTES}`,
    );
  }
  const literal = decompressLiterals(data, decompressedSizeBytes);
  if (literal.length !== decompressedSizeBytes) {
    throw new LockstepError(
      'INVALID_ARGUMENT',
      `a part declares ${decompressedSizeBytes} bytes and has ${literal.length}`,
    );
  }
  return literal;
}

function beyondTheBasis(): LockstepError {
  return new LockstepError('BASIS_MISMATCH', 'a range reaches beyond the end of the basis');
}
