/**
 * The content worker's day: uploads, downloads, verification and tidying, each in steps, so that none holds up the
 * others. Writes only below staging.
 */
import { closeSync } from 'node:fs';
import type { Digest } from '../../../common/content/digest.ts';
import { Accounts } from '../../../common/fs/accounts.ts';
import type { HeldDirectory } from '../../../common/fs/directory.ts';
import { readFully } from '../../../common/fs/full-io.ts';
import type { SafeRoot } from '../../../common/fs/safe-root.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import type { LocatedFile, VerificationPage, VerificationRow } from './applier-api.ts';
import type { ContentApi, Findings, PageFindings, StagedUpload, StagedUploadBegin } from './content-api.ts';
import { signContent } from './content-signature.ts';
import { OwnerKeeper } from './owner-keeper.ts';
import type { UploadPart } from './replica.ts';
import { openStaging } from './replica-core.ts';
import type { ReplicaLog } from './replica-log.ts';
import type { ReplicaSettings } from './replica-options.ts';
import { SpaceGuard } from './space-guard.ts';
import { sweepStaging } from './staging-sweep.ts';
import { runInTurns, type Steps } from './steps.ts';
import type { UnclaimedNames } from './unclaimed-names.ts';
import { UploadStore } from './upload-store.ts';
import { type VerifiedDisk, verifyEntries, verifyPage } from './verification.ts';

/** Between two looks for staged contents whose time is over. */
const MAX_SWEEP_INTERVAL_MS = 60_000;

export interface ContentServiceOptions {
  readonly settings: ReplicaSettings;
  readonly logger: ReplicaLog;
  readonly space?: SpaceGuard | undefined;
}

export class ContentService implements ContentApi {
  readonly #settings: ReplicaSettings;
  readonly #logger: ReplicaLog;
  readonly #root: SafeRoot;
  readonly #staging: HeldDirectory;
  /** Looks only: undefined where owners are not kept. */
  readonly #owners: OwnerKeeper | undefined;
  readonly #uploads: UploadStore;
  /** Files being downloaded. */
  readonly #open = new Map<number, number>();
  /** Of directories that are verified page by page. */
  readonly #listings = new Map<number, UnclaimedNames>();
  readonly #sweepTimer: NodeJS.Timeout;
  #nextHandle = 1;
  #sweeping: Promise<void> | undefined;
  #sweepAgain = false;
  #signing: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  /** A slow verification must not hold up the end. */
  readonly #closing = new AbortController();

  constructor({ settings, logger, space }: ContentServiceOptions) {
    const { root, staging } = openStaging(settings.directory);
    const { digestFunction, limits } = settings;
    this.#settings = settings;
    this.#logger = logger;
    this.#root = root;
    this.#staging = staging;
    this.#owners = settings.keepsOwners ? new OwnerKeeper({ staging, accounts: new Accounts() }) : undefined;
    this.#uploads = new UploadStore({
      root,
      staging,
      digestFunction,
      space: space ?? new SpaceGuard(settings.directory),
      maxContentBytes: limits.maxContentBytes,
    });
    this.#sweepTimer = setInterval(() => this.#sweepSoon(), Math.min(MAX_SWEEP_INTERVAL_MS, limits.stagedContentTtlMs));
    this.#sweepTimer.unref();
  }

  beginUpload(begin: StagedUploadBegin): Promise<StagedUpload> {
    return this.#uploads.begin(begin);
  }

  writeUpload(handle: number, part: UploadPart): Promise<number> {
    return this.#uploads.write(handle, part);
  }

  finishUpload(handle: number, digest: Digest | undefined): Promise<Digest> {
    return this.#uploads.finish(handle, digest);
  }

  suspendUpload(handle: number): Promise<void> {
    return this.#uploads.suspend(handle);
  }

  async openContent(file: LocatedFile): Promise<number | undefined> {
    const fd = this.#uploads.open(file);
    if (fd === undefined) return undefined;
    const handle = this.#nextHandle++;
    this.#open.set(handle, fd);
    return handle;
  }

  async readContent(handle: number, offset: number, length: number): Promise<Buffer> {
    const fd = this.#downloadOf(handle);
    const data = Buffer.allocUnsafeSlow(length);
    const count = readFully(fd, data, 0, length, offset);
    return data.subarray(0, count);
  }

  signContent(handle: number, sizeBytes: number): Promise<Buffer | undefined> {
    const read = (target: Buffer, length: number, position: number) =>
      readFully(this.#downloadOf(handle), target, 0, length, position);
    // One at a time: each holds as much memory as its signature takes.
    const signed = this.#signing.then(() =>
      runInTurns(signContent(this.#settings.digestFunction, sizeBytes, read), {
        minimumMs: () => 0,
        signal: this.#closing.signal,
      }),
    );
    this.#signing = signed.catch(() => undefined);
    return signed;
  }

  async closeContent(handle: number): Promise<void> {
    const fd = this.#open.get(handle);
    this.#open.delete(handle);
    if (fd !== undefined) closeSync(fd);
  }

  async verifyPage(
    directory: TreePath,
    page: VerificationPage,
    listing: number | undefined,
    bytesPerSecond?: number,
  ): Promise<PageFindings> {
    const names = listing === undefined ? undefined : this.#listings.get(listing);
    if (listing !== undefined && names === undefined)
      throw new LockstepError('CANCELLED', 'the listing of a directory has ended');
    const { unclaimed, ...findings } = await this.#verify(
      (disk) => verifyPage(disk, directory, page, names),
      bytesPerSecond,
    );
    const isDone = unclaimed === undefined || (page.isLast && unclaimed.size === 0);
    if (isDone) {
      if (listing !== undefined) this.#listings.delete(listing);
      return { ...findings, listing: undefined };
    }
    const kept = listing ?? this.#nextHandle++;
    this.#listings.set(kept, unclaimed);
    return { ...findings, listing: kept };
  }

  verifyEntries(
    directory: TreePath,
    rows: readonly VerificationRow[],
    extra: readonly string[],
    bytesPerSecond?: number,
  ): Promise<Findings> {
    return this.#verify((disk) => verifyEntries(disk, directory, rows, extra), bytesPerSecond);
  }

  async closeListing(listing: number): Promise<void> {
    this.#listings.delete(listing);
  }

  async sweep(): Promise<void> {
    if (this.#sweeping !== undefined) {
      this.#sweepAgain = true;
      return this.#sweeping;
    }
    this.#sweeping = this.#sweepAll();
    try {
      await this.#sweeping;
    } finally {
      this.#sweeping = undefined;
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#closing.abort(new LockstepError('CANCELLED', 'the folder is closed'));
    clearInterval(this.#sweepTimer);
    await this.#sweeping?.catch(() => undefined); // Reported where it was started.
    await this.#uploads.close();
    for (const fd of this.#open.values()) closeSync(fd);
    this.#open.clear();
    this.#listings.clear();
    this.#staging.close();
    this.#root.close();
  }

  #verify<T>(stepsOn: (disk: VerifiedDisk) => Steps<T>, bytesPerSecond = Number.POSITIVE_INFINITY): Promise<T> {
    let readBytes = 0;
    const onRead = (count: number): void => {
      readBytes += count;
    };
    const { digestFunction } = this.#settings;
    const steps = stepsOn({ root: this.#root, owners: this.#owners, digestFunction, onRead });
    return runInTurns(steps, { minimumMs: () => (readBytes / bytesPerSecond) * 1000, signal: this.#closing.signal });
  }

  #downloadOf(handle: number): number {
    const fd = this.#open.get(handle);
    if (fd === undefined) throw new LockstepError('CANCELLED', 'the download has ended');
    return fd;
  }

  async #sweepAll(): Promise<void> {
    const { limits } = this.#settings;
    do {
      this.#sweepAgain = false;
      await runInTurns(
        sweepStaging(this.#root, this.#staging, limits.stagedContentTtlMs, (name) => this.#uploads.isActive(name)),
      );
    } while (this.#sweepAgain && !this.#isClosed);
  }

  #sweepSoon(): void {
    this.sweep().catch((error: unknown) => this.#logger.error({ err: error }, 'staging could not be tidied'));
  }
}
