/**
 * The replica as the RPCs see it, in the main thread: passes calls on to the applier and to the content worker, and
 * remembers where the folder stands. No file is touched here.
 */
import type { Digest, DigestFunction } from '../../../common/content/digest.ts';
import type { SignaturePart } from '../../../common/content/signature-parts.ts';
import { Deferred } from '../../../common/ops/async.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { Entry } from '../../../common/tree/entry.ts';
import { displayPath, ROOT, type TreePath } from '../../../common/tree/tree-path.ts';
import type { ApplierApi, ApplierInfo } from './applier-api.ts';
import type { ContentApi } from './content-api.ts';
import { readContent } from './content-reader.ts';
import { readSignature } from './content-signature.ts';
import { watchChanges } from './feed-watcher.ts';
import type {
  AppliedBatch,
  ContentPart,
  DirectoryComparison,
  FeedPosition,
  IncomingBatch,
  RecordWithDigest,
  Replica,
  ReplicaInfo,
  RevisionChanges,
  Upload,
  UploadBegin,
  VerifyItem,
  VerifyOptions,
} from './replica.ts';
import type { ReplicaLog } from './replica-log.ts';
import { Scrub, type ScrubSettings } from './scrub.ts';
import { verifyFolder } from './verify-folder.ts';

export interface FolderReplicaOptions {
  readonly folder: string;
  readonly digestFunction: DigestFunction;
  readonly applier: ApplierApi;
  readonly content: ContentApi;
  readonly scrub?: (ScrubSettings & { readonly logger: ReplicaLog }) | undefined;
  /** Ends both workers and lets go of the directory. */
  readonly close: () => Promise<void>;
}

type DriftListener = (paths: readonly TreePath[], headRevision: bigint) => void;

export class FolderReplica implements Replica {
  readonly folder: string;
  readonly digestFunction: DigestFunction;
  readonly #applier: ApplierApi;
  readonly #content: ContentApi;
  readonly #close: () => Promise<void>;
  readonly #scrub: Scrub | undefined;
  readonly #driftListeners = new Set<DriftListener>();
  /** Who waits for a revision to become durable. */
  #waiting: { readonly revision: bigint; readonly durable: Deferred<void> }[] = [];
  /** Resolved, and made anew, whenever something changed. */
  #changed = new Deferred<void>();
  #info: ApplierInfo;
  #failure: LockstepError | undefined;

  constructor(options: FolderReplicaOptions, info: ApplierInfo) {
    this.folder = options.folder;
    this.digestFunction = options.digestFunction;
    this.#applier = options.applier;
    this.#content = options.content;
    this.#close = options.close;
    this.#info = info;
    this.#scrub = options.scrub && this.#startScrub(options.scrub);
  }

  /** From the applier. */
  onInfo(info: ApplierInfo): void {
    this.#info = info;
    const reached = this.#waiting.filter(({ revision }) => revision <= info.durableRevision);
    if (reached.length > 0) this.#waiting = this.#waiting.filter(({ revision }) => revision > info.durableRevision);
    for (const { durable } of reached) durable.resolve();
    this.#changed.resolve();
    this.#changed = new Deferred<void>();
  }

  /** From the applier. */
  tellDrift(paths: readonly TreePath[], headRevision: bigint): void {
    for (const listener of this.#driftListeners) listener(paths, headRevision);
  }

  /** A worker ended: nothing more will come of this folder. */
  fail(error: LockstepError): void {
    this.#failure ??= error;
    for (const { durable } of this.#waiting.splice(0)) durable.reject(error);
    this.#changed.resolve();
    this.#changed = new Deferred<void>();
  }

  info(): ReplicaInfo {
    const { lease: _, ...known } = this.#info;
    const info = { ...known, scrub: this.#scrub?.counts };
    if (this.#failure === undefined) return info;
    return { ...info, state: 'degraded', stateReason: this.#failure.message, hasFailed: true };
  }

  rootTreeDigest(): Promise<Digest> {
    return this.#applier.rootTreeDigest();
  }

  nextLease(): Promise<bigint> {
    return this.#applier.nextLease();
  }

  applyBatch(batch: IncomingBatch): Promise<AppliedBatch> {
    return this.#applier.applyBatch(batch);
  }

  whenDurable(revision: bigint): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (revision <= this.#info.durableRevision) return Promise.resolve();
    const durable = new Deferred<void>();
    this.#waiting.push({ revision, durable });
    return durable.promise;
  }

  async beginUpload(begin: UploadBegin): Promise<Upload> {
    // Waits until the replica is ready: before that the lease is not certain either.
    const known = begin.digest === undefined ? undefined : await this.#applier.findContent(begin.digest);
    const basis = begin.basis && (await this.#applier.locate(begin.basis.path));
    this.#assertLease(begin.lease);
    if (begin.basis !== undefined && basis?.entry.digest.equals(begin.basis.digest) !== true) {
      throw new LockstepError(
        'BASIS_MISMATCH',
        `the basis ${displayPath(begin.basis.path)} is not there with this digest`,
      );
    }
    const { uploadId, sizeBytes, digest, resume, localFile } = begin;
    const staged = await this.#content.beginUpload({ uploadId, sizeBytes, digest, resume, basis, localFile, known });
    const { handle, committedSizeBytes, complete } = staged;
    if (complete) return completeUpload(sizeBytes);
    return {
      committedSizeBytes,
      complete,
      write: async (part) => {
        this.#assertLease(begin.lease);
        return this.#content.writeUpload(handle, part);
      },
      finish: async (finalDigest) => {
        this.#assertLease(begin.lease);
        return this.#content.finishUpload(handle, finalDigest);
      },
      suspend: () => this.#content.suspendUpload(handle),
    };
  }

  getEntry(path: TreePath): Promise<RecordWithDigest | undefined> {
    return this.#applier.getEntry(path);
  }

  compareDirectory(
    path: TreePath,
    believed: Digest | undefined,
    after: string,
    limit: number,
  ): Promise<DirectoryComparison> {
    return this.#applier.compareDirectory(path, believed, after, limit);
  }

  listEntries(
    path: TreePath,
    recursive: boolean,
    after: TreePath | undefined,
    limit: number,
  ): Promise<readonly Entry[]> {
    return this.#applier.listEntries(path, recursive, after, limit);
  }

  linkIds(paths: readonly TreePath[]): Promise<readonly bigint[]> {
    return this.#applier.linkIds(paths);
  }

  readContent(path: TreePath, offset: number, length: number | undefined): AsyncIterable<ContentPart> {
    return readContent(this.#applier, this.#content, path, offset, length);
  }

  readSignature(digest: Digest, signal: AbortSignal): AsyncIterable<SignaturePart> {
    return readSignature(this.#applier, this.#content, digest, signal);
  }

  watchChanges(from: FeedPosition | undefined, signal: AbortSignal): AsyncIterable<RevisionChanges> {
    return watchChanges(
      this.#applier,
      { info: () => this.info(), changed: () => this.#changed.promise, failure: () => this.#failure },
      from,
      signal,
    );
  }

  verify(options: VerifyOptions, signal: AbortSignal): AsyncIterable<VerifyItem> {
    return verifyFolder(this.#applier, this.#content, () => this.#info.headRevision, options, signal);
  }

  onDrift(listener: DriftListener): () => void {
    this.#driftListeners.add(listener);
    return () => {
      this.#driftListeners.delete(listener);
    };
  }

  async close(): Promise<void> {
    this.#scrub?.stop();
    await this.#close();
    this.fail(new LockstepError('DRAINING', 'the folder is closed'));
  }

  #startScrub(options: ScrubSettings & { readonly logger: ReplicaLog }): Scrub {
    const { bytesPerSecond } = options;
    return new Scrub({
      ...options,
      verify: (signal) => this.verify({ path: ROOT, repair: true, bytesPerSecond }, signal),
    });
  }

  /** @throws LEASE_STALE */
  #assertLease(lease: bigint): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (lease !== this.#info.lease)
      throw new LockstepError('LEASE_STALE', `the lease ${lease} is not the folder's newest; acquire another`);
  }
}

/** Of a content that is there already: what still comes of it is not needed, and nobody has to end it. */
function completeUpload(sizeBytes: number): Upload {
  return {
    committedSizeBytes: sizeBytes,
    complete: true,
    write: async () => sizeBytes,
    finish: async () => undefined,
    suspend: async () => undefined,
  };
}
