/**
 * The thread that reads and hashes contents, so that neither a slow disk nor the hashing delays an acknowledgement.
 * Serves its transfers in turn, one chunk each, as far as they have grants.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { describeError, LockstepError } from '../../../common/ops/errors.ts';
import { saveCompiledCode } from '../../../common/ops/compile-cache.ts';
import { giveBackMemoryWhenIdle } from '../../../common/ops/garbage-collection.ts';
import { CHUNK_BUFFER_BYTES, type ContentCommand, type ContentEvent } from './content-messages.ts';
import { ContentTransfer, type Transfer } from './content-transfer.ts';
import { DeltaTransfer } from './delta-transfer.ts';

interface OpenTransfer {
  readonly transfer: Transfer;
  grants: number;
}

/** Buffers that came back and are not in use; more than this are left to the collector. */
const MAX_POOLED_BUFFERS = 32;

if (parentPort === null) throw new LockstepError('INTERNAL', 'the content worker was not started as a worker');
const port = parentPort;
saveCompiledCode();
giveBackMemoryWhenIdle();
const { directory } = workerData as { readonly directory: string };
const pool: ArrayBuffer[] = [];
/** In turn: the first one is served next. */
const transfers = new Map<number, OpenTransfer>();
let root: SafeRoot | undefined;
let isServing = false;

port.on('message', (command: ContentCommand) => {
  switch (command.type) {
    case 'open':
      open(command);
      break;
    case 'grant': {
      if (command.buffer !== undefined && pool.length < MAX_POOLED_BUFFERS) pool.push(command.buffer);
      const granted = transfers.get(command.transfer);
      if (granted !== undefined) granted.grants++;
      break;
    }
    case 'cancel':
      end(command.transfer);
      break;
    case 'close':
      for (const id of transfers.keys()) end(id);
      port.close();
      return;
  }
  serveSoon();
});

function post(event: ContentEvent, transfer: readonly ArrayBuffer[] = []): void {
  port.postMessage(event, transfer);
}

function open({ transfer: id, file, options, grants }: Extract<ContentCommand, { type: 'open' }>): void {
  try {
    root ??= SafeRoot.open(directory);
    const transfer =
      options.basis === undefined
        ? ContentTransfer.open(root, file, options)
        : DeltaTransfer.open(root, file, { ...options, basis: options.basis });
    if (transfer === undefined) post({ type: 'changed', transfer: id });
    else transfers.set(id, { transfer, grants });
  } catch (error) {
    fail(id, error);
  }
}

function end(id: number): void {
  transfers.get(id)?.transfer.close();
  transfers.delete(id);
}

function fail(id: number, error: unknown): void {
  end(id);
  const reason = error instanceof LockstepError ? error.reason : 'INTERNAL';
  post({ type: 'failed', transfer: id, reason, message: describeError(error) });
}

/** A turn of the loop lies between two steps, so that grants and cancellations come in. */
function serveSoon(): void {
  if (isServing || nextServed() === undefined) return;
  isServing = true;
  setImmediate(() => {
    isServing = false;
    const next = nextServed();
    if (next !== undefined) serve(...next);
    serveSoon();
  });
}

function nextServed(): readonly [number, OpenTransfer] | undefined {
  for (const served of transfers) {
    const [, { transfer, grants }] = served;
    if (grants > 0 || transfer.isRehashing) return served;
  }
  return undefined;
}

function serve(id: number, open: OpenTransfer): void {
  // To the end of the line.
  transfers.delete(id);
  transfers.set(id, open);
  const buffer = pool.pop() ?? new ArrayBuffer(CHUNK_BUFFER_BYTES);
  try {
    const step = open.transfer.step(buffer);
    if (step === 'rehashed') {
      pool.push(buffer);
      return;
    }
    if (step === 'changed') {
      pool.push(buffer);
      end(id);
      post({ type: 'changed', transfer: id });
      return;
    }
    open.grants--;
    if (step.data.buffer !== buffer) pool.push(buffer);
    if (step.digest !== undefined) end(id);
    post({ type: 'chunk', transfer: id, ...step }, [step.data.buffer]);
  } catch (error) {
    pool.push(buffer);
    fail(id, error);
  }
}
