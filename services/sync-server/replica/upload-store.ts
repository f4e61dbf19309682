/**
 * All uploads of a folder: begun, resumed, finished, and forgotten when their time is over.
 */
import { closeSync } from 'node:fs';
import type { Digest, DigestFunction } from '../../../common/content/digest.ts';
import { fdatasyncBeside } from '../../../common/fs/descriptor.ts';
import type { Directory } from '../../../common/fs/directory.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { allocatedBytes } from '../../../common/fs/sparse-file.ts';
import { errnoOf, LockstepError } from '../../../common/ops/errors.ts';
import { nameOf, parentOf } from '../../../common/tree/tree-path.ts';
import type { LocatedFile } from './applier-api.ts';
import type { StagedUpload, StagedUploadBegin } from './content-api.ts';
import { hasSameContent } from './disk-identity.ts';
import { cloneName, contentName, uploadName } from './layout.ts';
import { openLocalFile } from './local-file.ts';
import { hashInSteps } from './reconciler.ts';
import type { UploadPart } from './replica.ts';
import type { SpaceGuard } from './space-guard.ts';
import { runInTurns } from './steps.ts';
import { Upload } from './upload.ts';

/** The handle of what was complete at its beginning: nothing is written to it, and nothing kept of it. */
const NO_HANDLE = 0;
/** Copies in the making; a crash leaves them for the sweep. */
const COPY_PREFIX = 'u-copy-';

export interface UploadStoreOptions {
  readonly root: SafeRoot;
  readonly staging: Directory;
  readonly digestFunction: DigestFunction;
  readonly space: SpaceGuard;
  readonly maxContentBytes: number;
}

interface Slot {
  readonly upload: Upload;
  /** Parts are written one after the other, whoever sends them how fast. */
  tail: Promise<unknown>;
}

export class UploadStore {
  readonly #options: UploadStoreOptions;
  readonly #slots = new Map<number, Slot>();
  /** By staged name: the upload that may write it. */
  readonly #active = new Map<string, Upload>();
  #nextHandle = 1;

  constructor(options: UploadStoreOptions) {
    this.#options = options;
  }

  async begin(begin: StagedUploadBegin): Promise<StagedUpload> {
    const { staging, maxContentBytes } = this.#options;
    if (begin.sizeBytes > maxContentBytes) {
      throw new LockstepError(
        'LIMIT_EXCEEDED',
        `a content of ${begin.sizeBytes} bytes is longer than ${maxContentBytes}`,
      );
    }
    if (begin.digest !== undefined && (await this.#isKnown(begin.digest, begin.sizeBytes, begin.known))) {
      return { handle: NO_HANDLE, committedSizeBytes: begin.sizeBytes, complete: true };
    }
    const name = uploadName(begin.uploadId);
    // Whoever began it before has lost it: a connection that is half open must not go on writing.
    for (let before = this.#active.get(name); before !== undefined; before = this.#active.get(name)) {
      await before.suspend();
      if (this.#active.get(name) === before) this.#active.delete(name);
    }
    const exists = staging.lstat(name) !== undefined;
    if (exists && !begin.resume) staging.unlink(name);
    const fd = exists && begin.resume ? staging.openFileForWriting(name) : staging.createFile(name);
    const { digestFunction, space } = this.#options;
    const { sizeBytes, digest } = begin;
    // The file is still there, and read as quickly as what is staged of it.
    const isResumable = begin.localFile === undefined;
    const knownDigest = begin.localFile?.knownDigest;
    let basisFd: number | undefined;
    try {
      basisFd = this.#openBasis(begin);
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    const upload = new Upload({
      ...{ staging, name, cloneName: cloneName(begin.uploadId), fd, basisFd, space },
      ...{ sizeBytes, digest, knownDigest, digestFunction, isResumable },
    });
    this.#active.set(name, upload);
    try {
      if (exists && begin.resume) await upload.resume();
      else upload.tryClone();
    } catch (error) {
      await upload.suspend();
      if (this.#active.get(name) === upload) this.#active.delete(name);
      throw error;
    }
    const handle = this.#nextHandle++;
    this.#slots.set(handle, { upload, tail: Promise.resolve() });
    return { handle, committedSizeBytes: upload.committedBytes, complete: false };
  }

  /** Undefined where there is none, or no longer: then there is nothing that ranges could be copied from. */
  #openBasis({ localFile, basis, sizeBytes }: StagedUploadBegin): number | undefined {
    return localFile === undefined ? basis && this.open(basis) : openLocalFile(localFile, sizeBytes);
  }

  write(handle: number, part: UploadPart): Promise<number> {
    return this.#inOrder(handle, ({ upload }) => upload.write(part));
  }

  finish(handle: number, digest: Digest | undefined): Promise<Digest> {
    return this.#inOrder(handle, async ({ upload }) => {
      const actual = await upload.finish(digest);
      this.#forget(handle);
      return actual;
    });
  }

  suspend(handle: number): Promise<void> {
    if (!this.#slots.has(handle)) return Promise.resolve();
    return this.#inOrder(handle, async ({ upload }) => {
      await upload.suspend();
      this.#forget(handle);
    });
  }

  /** A file of the replica, open for reading, if it still is what the index says. */
  open({ entry, identity }: LocatedFile): number | undefined {
    const { root } = this.#options;
    root.forgetAll();
    try {
      const directory = root.tryDirectory(parentOf(entry.path));
      const stat = directory?.lstat(nameOf(entry.path));
      if (directory === undefined || stat === undefined || !hasSameContent({ ...entry, identity }, stat))
        return undefined;
      return directory.openFile(nameOf(entry.path));
    } catch (error) {
      // Gone, replaced or not to be read: for the caller all the same.
      if (errnoOf(error) === undefined && !(error instanceof LockstepError)) throw error;
      return undefined;
    }
  }

  isActive(name: string): boolean {
    return this.#active.has(name);
  }

  async close(): Promise<void> {
    const uploads = [...this.#slots.values()];
    this.#slots.clear();
    this.#active.clear();
    for (const { upload } of uploads) await upload.suspend();
  }

  /** Whether staging has this content, or could get it from a file of the folder. Read and hashed, not believed (E98). */
  async #isKnown(digest: Digest, sizeBytes: number, known: LocatedFile | undefined): Promise<boolean> {
    const { staging, digestFunction, space } = this.#options;
    const name = contentName(digest);
    if (staging.lstat(name)?.sizeBytes === sizeBytes) return true;
    if (known === undefined || known.entry.sizeBytes !== sizeBytes) return false;
    const source = this.open(known);
    if (source === undefined) return false;
    const copy = `${COPY_PREFIX}${this.#nextHandle++}`;
    try {
      if (!space.allows(Math.min(sizeBytes, allocatedBytes(source)))) return false;
      if (staging.lstat(copy) !== undefined) staging.unlink(copy);
      const fd = staging.copyFileFrom(source, copy);
      try {
        const actual = await runInTurns(hashInSteps(fd, digestFunction));
        if (!actual.equals(digest)) {
          staging.unlink(copy);
          return false;
        }
        await fdatasyncBeside(fd);
      } finally {
        closeSync(fd);
      }
      if (staging.lstat(name) === undefined) staging.rename(copy, staging, name);
      else staging.unlink(copy);
      staging.sync();
      return true;
    } finally {
      closeSync(source);
    }
  }

  #inOrder<T>(handle: number, work: (slot: Slot) => Promise<T>): Promise<T> {
    const slot = this.#slots.get(handle);
    if (slot === undefined) return Promise.reject(new LockstepError('CANCELLED', 'the upload has ended'));
    const result = slot.tail.then(() => work(slot));
    // Each part reports its own failure; the next one is judged by its offset.
    slot.tail = result.catch(() => undefined);
    return result;
  }

  #forget(handle: number): void {
    const upload = this.#slots.get(handle)?.upload;
    this.#slots.delete(handle);
    if (upload !== undefined && this.#active.get(upload.name) === upload) this.#active.delete(upload.name);
  }
}
