/**
 * A second thread of a scan: lists directories, and looks at the names in them, before the scan gets there. Half of the time of a
 * look through a tree that has not changed is the kernel's, and the scan itself can use it for something else.
 *
 * What was seen ahead counts only for names that look as the index has them (scanner.ts); everything else is looked at anew. So it is
 * as if those had been looked at a little earlier, and after their directory was watched: what changes later is hinted at.
 *
 * Both threads work on what is wanted. Who begins with a directory says so in shared memory; the other one leaves it alone.
 */
import { Worker } from 'node:worker_threads';
import { Deferred } from '../../../common/ops/async.ts';
import { YOUNG_GENERATION } from '../../../common/ops/garbage-collection.ts';
import type { TreePath } from '../../../common/tree/tree-path.ts';
import { workerUrl } from '../../../common/ops/worker-url.ts';
import { type PackedDirectory, SeenDirectory } from './seen-directory.ts';

/** Directories wanted and not yet through at a time. */
const MAX_WANTED = 4096;
/** Names that may wait for the scan, some 100 bytes each. */
const MAX_WAITING_NAMES = 65_536;

export interface LookAheadData {
  readonly directory: string;
  /** Beyond them the thread waits; a directory with more is left to the scan. */
  readonly maxWaitingNames: number;
  /** Int32: one `Claim` for each slot, then the number of names that wait to be fetched. */
  readonly shared: SharedArrayBuffer;
}

export interface WantedDirectory {
  readonly slot: number;
  readonly path: TreePath;
}

/** A slot that is through: what was seen; undefined for what the scan itself has begun with, and for what could not be seen. */
export interface LookedAhead {
  readonly slot: number;
  readonly seen: PackedDirectory | undefined;
}

/** Who has begun with what is wanted in a slot. */
export const Claim = { nobody: 0, ahead: 1, scan: 2 } as const;

/** Where the number of waiting names is. */
export const WAITING_NAMES = MAX_WANTED;

interface Wanted {
  readonly slot: number;
  readonly answer: Deferred<SeenDirectory | undefined>;
}

export class LookAhead {
  readonly #shared = new Int32Array(new SharedArrayBuffer((MAX_WANTED + 1) * 4));
  readonly #worker: Worker;
  readonly #wanted = new Map<TreePath, Wanted>();
  /** What is not through, by slot. */
  readonly #bySlot: (Wanted | undefined)[] = [];
  readonly #free = Array.from({ length: MAX_WANTED }, (_, slot) => slot);
  #isOver = false;

  /** Starts the thread. */
  constructor(directory: string, maxWaitingNames = MAX_WAITING_NAMES) {
    const workerData: LookAheadData = { directory, maxWaitingNames, shared: this.#shared.buffer };
    this.#worker = new Worker(workerUrl('./look-ahead-worker.ts', import.meta.url), {
      workerData,
      resourceLimits: YOUNG_GENERATION.ofEntries,
    });
    this.#worker.on('message', (answers: readonly LookedAhead[]) => {
      for (const answer of answers) this.#answered(answer);
    });
    // Without it the scan does everything itself, and tells what is wrong.
    this.#worker.on('error', () => this.#end());
    this.#worker.on('exit', () => this.#end());
  }

  /** Names that were seen, and not fetched yet. */
  get waitingNames(): number {
    return Atomics.load(this.#shared, WAITING_NAMES);
  }

  /** Directories that the scan will come to, in this order, and before those that it wanted earlier. They are watched by now. */
  want(directories: readonly TreePath[]): void {
    if (this.#isOver) return;
    const wanted: WantedDirectory[] = [];
    for (const path of directories) {
      if (this.#wanted.has(path)) continue;
      const slot = this.#free.pop();
      if (slot === undefined) break;
      const entry = { slot, answer: new Deferred<SeenDirectory | undefined>() };
      this.#wanted.set(path, entry);
      this.#bySlot[slot] = entry;
      this.#shared[slot] = Claim.nobody;
      wanted.push({ slot, path });
    }
    if (wanted.length > 0) this.#worker.postMessage(wanted);
  }

  /** What was seen of a directory that the scan begins with now; undefined where it has to look itself. */
  async claim(path: TreePath): Promise<SeenDirectory | undefined> {
    const wanted = this.#wanted.get(path);
    if (wanted === undefined || this.#isOver) return undefined;
    this.#wanted.delete(path);
    if (Atomics.compareExchange(this.#shared, wanted.slot, Claim.nobody, Claim.scan) === Claim.nobody) return undefined;
    const seen = await wanted.answer.promise;
    this.#makeRoom(seen?.names.length ?? 0);
    return seen;
  }

  async close(): Promise<void> {
    this.#end();
    await this.#worker.terminate();
  }

  #answered({ slot, seen }: LookedAhead): void {
    this.#bySlot[slot]?.answer.resolve(seen && new SeenDirectory(seen));
    this.#bySlot[slot] = undefined;
    this.#free.push(slot);
  }

  #makeRoom(names: number): void {
    Atomics.sub(this.#shared, WAITING_NAMES, names);
    Atomics.notify(this.#shared, WAITING_NAMES);
  }

  #end(): void {
    this.#isOver = true;
    for (const wanted of this.#bySlot) wanted?.answer.resolve(undefined);
    this.#wanted.clear();
  }
}
