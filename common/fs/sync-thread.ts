/**
 * A sync that is waited for, under Node's permission model, where `fsyncSync` is refused ("disabled when Permission Model is enabled"). Node 24 leaves
 * `FileHandle.sync`, which makes a promise, while who logs a batch or stages a file does it in one go: so another thread awaits
 * the promise and this one sleeps. Each thread that syncs gets one such thread, the first time. Node 26 leaves nothing: there
 * coreutils' `sync` does it, if commands may be started.
 */
import { execFile, spawnSync } from 'node:child_process';
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { LockstepError } from '../ops/errors.ts';
import { assertPermitted } from '../ops/permissions.ts';
import { workerUrl } from '../ops/worker-url.ts';

/** What a file has; or only what reading its data back needs, as fdatasync(2) has it. */
export type SyncExtent = 'everything' | 'data';

export interface SyncRequest {
  readonly path: string;
  readonly extent: SyncExtent;
}

/** How it ended: `errno` is the name of an error, when there was one. */
export interface SyncAnswer {
  readonly errno?: string | undefined;
  readonly message?: string;
}

export interface SyncThreadData {
  readonly port: MessagePort;
  /** Not ASLEEP from the thread's start, and from each answer, until the next request. */
  readonly signal: Int32Array;
}

/** What the signal says. */
export const ASLEEP = 0;
export const CAN_SYNC = 1;
/** Node refuses that, too. */
export const CANNOT_SYNC = 2;

/** That a thread loads its module takes a fraction of a second; on a busy machine a few. */
const START_MS = 60_000;
const COMMAND = 'sync';

let ownThread: SyncThread | undefined;

/** Opens `path` anew and syncs it. @throws errno errors; ERR_ACCESS_DENIED where neither way is permitted */
export function syncInThread(path: string, extent: SyncExtent): void {
  ownThread ??= new SyncThread();
  if (ownThread.canSync) ownThread.sync({ path, extent });
  else syncByCommand(path, extent);
}

/** For the start of a program. @throws LockstepError USAGE where neither way is permitted */
export function assertSyncsInThread(): void {
  ownThread ??= new SyncThread();
  if (!ownThread.canSync) assertPermitted('child', 'with this version of Node syncing files');
}

/** The second way. @throws errno errors */
export function syncByCommand(path: string, extent: SyncExtent): void {
  const { error, status, stderr } = spawnSync(COMMAND, argumentsFor(path, extent), { ...OPTIONS, encoding: 'utf8' });
  if (error !== undefined) throw error;
  if (status !== 0) throw commandError(stderr);
}

/** The same, beside this thread's work. */
export async function syncByCommandBeside(path: string, extent: SyncExtent): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    execFile(COMMAND, argumentsFor(path, extent), OPTIONS, (error, _stdout, stderr) => {
      if (error === null) resolve();
      else reject(typeof error.code === 'number' ? commandError(stderr) : error);
    });
  });
}

const OPTIONS = { env: { ...process.env, LC_ALL: 'C' } };

function argumentsFor(path: string, extent: SyncExtent): string[] {
  return extent === 'data' ? ['-d', '--', path] : ['--', path];
}

/** Its words stand for an error's name; whatever it is, nothing is known to be durable but where there is nothing to sync. */
function commandError(words: string): Error {
  return syncError(/Invalid argument/.test(words) ? 'EINVAL' : 'EIO', words.trim());
}

function syncError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code, syscall: 'fsync' });
}

class SyncThread {
  readonly canSync: boolean;
  readonly #port: MessagePort;
  readonly #signal = new Int32Array(new SharedArrayBuffer(4));

  constructor() {
    const { port1, port2 } = new MessageChannel();
    const workerData: SyncThreadData = { port: port2, signal: this.#signal };
    const worker = new Worker(workerUrl('./sync-worker.ts', import.meta.url), { workerData, transferList: [port2] });
    this.#port = port1;
    // Nobody is kept from ending by it.
    worker.unref();
    port1.unref();
    if (Atomics.wait(this.#signal, 0, ASLEEP, START_MS) === 'timed-out')
      throw new LockstepError('INTERNAL', 'the thread that syncs files did not start');
    this.canSync = Atomics.load(this.#signal, 0) === CAN_SYNC;
  }

  sync(request: SyncRequest): void {
    Atomics.store(this.#signal, 0, ASLEEP);
    this.#port.postMessage(request);
    Atomics.wait(this.#signal, 0, ASLEEP);
    const answer = receiveMessageOnPort(this.#port)?.message as SyncAnswer | undefined;
    if (answer === undefined) throw new LockstepError('INTERNAL', 'the thread that syncs files did not answer');
    if (answer.errno !== undefined) throw syncError(answer.errno, answer.message ?? answer.errno);
  }
}
