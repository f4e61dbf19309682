/**
 * The thread that looks ahead of a scan. Knows no index and no rules; what it cannot see is left to the scan.
 */
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { SafeRoot } from '../../../common/fs/safe-root.ts';
import { saveCompiledCode } from '../../../common/ops/compile-cache.ts';
import { LockstepError } from '../../../common/ops/errors.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { Claim, type LookAheadData, type LookedAhead, WAITING_NAMES, type WantedDirectory } from './look-ahead.ts';
import { orUnseen, packDirectory, type PackedDirectory, STAT_BYTES } from './seen-directory.ts';

/** Names in one message: each message costs the scan some 20 microseconds. */
const NAMES_PER_MESSAGE = 256;
/** What the scan comes to next it does itself: else it would only ever wait for this thread. */
const LEFT_TO_SCAN = 4;
/** How long what was opened may stand for its path, in milliseconds; as in a slice of the scan. */
const PASS_MS = 15;

const port = parentPort;
if (port === null) throw new LockstepError('INTERNAL', 'the look ahead runs in a worker thread only');
saveCompiledCode();
const { directory: rootPath, maxWaitingNames, shared: memory } = workerData as LookAheadData;
const shared = new Int32Array(memory);
const root = SafeRoot.open(rootPath);

/** The last one is looked at first, as the scan does it. */
const waiting: WantedDirectory[] = [];
let answers: LookedAhead[] = [];
let answeredNames = 0;
let passEndsMs = 0;

port.on('message', (wanted: readonly WantedDirectory[]) => {
  waiting.push(...wanted.toReversed());
  work(port);
});

function work(from: MessagePort): void {
  for (let next = takeNext(); next !== undefined; next = takeNext()) {
    awaitRoom();
    const isMine = Atomics.compareExchange(shared, next.slot, Claim.nobody, Claim.ahead) === Claim.nobody;
    answer(next.slot, isMine ? look(next.path) : undefined);
    for (let more = receiveMessageOnPort(from); more !== undefined; more = receiveMessageOnPort(from))
      waiting.push(...(more.message as readonly WantedDirectory[]).toReversed());
  }
  send();
}

function takeNext(): WantedDirectory | undefined {
  for (let last = waiting.at(-1); last !== undefined; last = waiting.at(-1)) {
    if (Atomics.load(shared, last.slot) === Claim.nobody) break;
    answer(last.slot, undefined);
    waiting.pop();
  }
  return waiting.splice(Math.max(0, waiting.length - 1 - LEFT_TO_SCAN), 1)[0];
}

function answer(slot: number, seen: PackedDirectory | undefined): void {
  answers.push({ slot, seen });
  const names = seen === undefined ? 0 : seen.stats.byteLength / STAT_BYTES;
  Atomics.add(shared, WAITING_NAMES, names);
  answeredNames += names + 1;
  if (answeredNames >= NAMES_PER_MESSAGE) send();
}

function send(): void {
  if (answers.length === 0) return;
  port?.postMessage(
    answers,
    answers.flatMap(({ seen }) => (seen === undefined ? [] : [seen.stats])),
  );
  answers = [];
  answeredNames = 0;
}

function awaitRoom(): void {
  for (;;) {
    const names = Atomics.load(shared, WAITING_NAMES);
    if (names < maxWaitingNames) return;
    send();
    Atomics.wait(shared, WAITING_NAMES, names);
  }
}

function look(path: TreePath): PackedDirectory | undefined {
  if (performance.now() > passEndsMs) {
    root.forgetAll();
    passEndsMs = performance.now() + PASS_MS;
  }
  return orUnseen(() => {
    const directory = root.tryDirectory(path);
    const names = directory?.list();
    if (directory === undefined || names === undefined || names.length > maxWaitingNames) return undefined;
    return packDirectory(names.sort(), (name) => orUnseen(() => directory.lstat(name)));
  });
}
