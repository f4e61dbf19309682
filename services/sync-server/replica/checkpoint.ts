/**
 * Makes the replica itself durable, off the applier's thread, and then shortens the log (E93). Until that is done the old
 * segments stay, so a crash at any moment in here loses nothing.
 */
import { spawn } from 'node:child_process';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { ReplicaCore } from './replica-core.ts';

/** A log of so many segments' length stops the applier until a checkpoint has caught up. */
const MAX_SEGMENTS_BEHIND = 4;

export type SyncFileSystem = (directory: string) => Promise<void>;

export class Checkpointer {
  readonly #core: ReplicaCore;
  readonly #syncFileSystem: SyncFileSystem;
  #running: Promise<void> | undefined;
  #done = { count: 0, lastMs: 0 };

  constructor(core: ReplicaCore, syncFileSystem: SyncFileSystem = syncWithCoreutils) {
    this.#core = core;
    this.#syncFileSystem = syncFileSystem;
  }

  /** How many were made since the start, and how long the last one took in milliseconds. */
  get done(): { readonly count: number; readonly lastMs: number } {
    return this.#done;
  }

  get isDue(): boolean {
    return this.#running === undefined && this.#core.log.segmentBytes > this.#core.settings.checkpointBytes;
  }

  /** True while no more may be logged. */
  get isBehind(): boolean {
    return this.#core.log.sizeBytes > MAX_SEGMENTS_BEHIND * this.#core.settings.checkpointBytes;
  }

  /** Not while a group is under way. @throws IO when the file system could not be synced: the log then keeps everything */
  async run(): Promise<void> {
    this.#running ??= this.#checkpoint().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #checkpoint(): Promise<void> {
    const { log, index, settings, crashPoint } = this.#core;
    if (log.sizeBytes === 0) return;
    const startedAtMs = performance.now();
    log.mend();
    const segment = log.rotate();
    crashPoint('rotated');
    await this.#syncFileSystem(settings.directory);
    crashPoint('synced the replica');
    index.checkpoint();
    crashPoint('synced the index');
    log.removeBefore(segment);
    this.#done = { count: this.#done.count + 1, lastMs: performance.now() - startedAtMs };
  }
}

/**
 * syncfs(2) of the file system that holds the directory, by coreutils' `sync -f`, because Node has no call for it; where
 * that is not to be had, `sync` for all file systems.
 */
export async function syncWithCoreutils(directory: string): Promise<void> {
  try {
    await run('sync', ['-f', directory]);
  } catch {
    // Older or smaller systems have no -f; what cannot be synced at all fails here again, and that is reported.
    await run('sync', []);
  }
}

function run(command: string, parameters: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, parameters, { stdio: 'ignore' });
    child.on('error', (cause) => reject(new LockstepError('IO', `cannot run ${command}`, { cause })));
    child.on('close', (code) => {
      if (code === 0) resolve();
      else reject(new LockstepError('IO', `${command} ended with status ${code}: the disk may have lost data`));
    });
  });
}
