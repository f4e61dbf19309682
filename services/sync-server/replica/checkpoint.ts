/**
 * Makes the replica itself durable, off the applier's thread, and then shortens the log (E93). Until that is done the old
 * segments stay, so a crash at any moment in here loses nothing.
 *
 * A sync that failed is not tried again until what it was for is written anew (E86, rewrite-unsynced.ts); that it may be
 * needed is noted on the disk before each sync, because a crash can come between the error and whoever would have heard it.
 */
import { SYSTEM } from '../../../common/fs/system.ts';
import type { ReplicaCore } from './replica-core.ts';
import { rewriteUnsynced } from './rewrite-unsynced.ts';
import { runInTurns } from './steps.ts';
import { type SyncFileSystem, syncWithCoreutils } from './sync-file-system.ts';
import { syncTouched } from './sync-touched.ts';

/** A log of so many segments' length stops the applier until a checkpoint has caught up. */
const MAX_SEGMENTS_BEHIND = 4;

export class Checkpointer {
  readonly #core: ReplicaCore;
  /** Undefined where the system has no such call: then each file is synced by itself, and nothing is applied meanwhile. */
  readonly #syncFileSystem: SyncFileSystem | undefined;
  #running: Promise<void> | undefined;
  #isHolding = false;
  #hasSyncFailed = false;
  #rewrittenFiles = 0;
  #done = { count: 0, lastMs: 0 };

  constructor(core: ReplicaCore, syncFileSystem?: SyncFileSystem) {
    this.#core = core;
    this.#syncFileSystem = syncFileSystem ?? (SYSTEM === 'win32' ? undefined : syncWithCoreutils);
  }

  /** How many were made since the start, and how long the last one took in milliseconds. */
  get done(): { readonly count: number; readonly lastMs: number } {
    return this.#done;
  }

  /** Files written anew since the start, because a sync failed. */
  get rewrittenFiles(): number {
    return this.#rewrittenFiles;
  }

  /** From a sync that failed until one that can be believed succeeded. */
  get isSyncInDoubt(): boolean {
    return this.#hasSyncFailed;
  }

  get isDue(): boolean {
    return this.#running === undefined && this.#core.log.segmentBytes > this.#core.settings.checkpointBytes;
  }

  /** True while no more may be logged. */
  get isBehind(): boolean {
    return this.#core.log.sizeBytes > MAX_SEGMENTS_BEHIND * this.#core.settings.checkpointBytes;
  }

  /** True while nothing may be applied, recovered or looked through: files of the log are being written anew, or synced one by one. */
  get isHolding(): boolean {
    return this.#isHolding;
  }

  /**
   * Not while a group is under way.
   * @throws IO when the file system could not be synced: the log then keeps everything, and the next run begins with
   * writing it anew
   */
  async run(): Promise<void> {
    this.#running ??= this.#checkpoint().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #checkpoint(): Promise<void> {
    const { log, index, doubt, settings, crashPoint } = this.#core;
    if (log.sizeBytes === 0) {
      if (doubt.isRaised) doubt.clear();
      return;
    }
    const startedAtMs = performance.now();
    log.mend();
    const segment = doubt.isRaised ? await this.#rotateAfterRewriting() : log.rotate();
    crashPoint('rotated');
    doubt.raise();
    crashPoint('raised the doubt');
    try {
      if (this.#syncFileSystem === undefined) await this.#holding(() => runInTurns(syncTouched(this.#core)));
      else await this.#syncFileSystem(settings.directory);
    } catch (error) {
      this.#hasSyncFailed = true;
      throw error;
    }
    crashPoint('synced the replica');
    doubt.clear();
    this.#hasSyncFailed = false;
    crashPoint('cleared the doubt');
    index.checkpoint();
    crashPoint('synced the index');
    log.removeBefore(segment);
    this.#done = { count: this.#done.count + 1, lastMs: performance.now() - startedAtMs };
  }

  /** Nothing gets into the log in between, which would have been written before the failure was known. */
  async #rotateAfterRewriting(): Promise<number> {
    const { logger, log } = this.#core;
    return this.#holding(async () => {
      logger.warn({ logBytes: log.sizeBytes }, 'a sync of the replica is in doubt: writing its newest files anew');
      const files = await runInTurns(rewriteUnsynced(this.#core));
      this.#rewrittenFiles += files;
      logger.info({ files }, 'wrote anew what a sync may have lost');
      return log.rotate();
    });
  }

  async #holding<T>(work: () => Promise<T>): Promise<T> {
    this.#isHolding = true;
    try {
      return await work();
    } finally {
      this.#isHolding = false;
    }
  }
}
