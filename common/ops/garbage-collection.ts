/**
 * What V8's garbage collector is to do differently: with contents that pass through, and when there is nothing to do.
 */
import { constants, performance, PerformanceObserver } from 'node:perf_hooks';
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { saveCompiledCode } from './compile-cache.ts';

/**
 * Contents pass through as buffers outside of the heap, hardly any of them for longer than a few milliseconds. V8 counts
 * them, and marks the whole heap after every 64 MiB: measured on 1 GiB over loopback, 50 times in each program, a third
 * of all processor time. Two settings let the collector of young objects, which costs a millisecond, free them instead:
 * the young generation grows no more, so that it is collected often; and what lies outside of the heap counts
 * against the limit of the whole heap, not against one of its own. Both also keep the programs some 70 MB smaller.
 * A third keeps that limit from following a small heap too closely: it is four times of what a collection has left, where V8 would
 * choose little more than that, and mark 10 MB of heap sixteen times while 400 MB of small files pass.
 *
 * They are set when V8 marks the whole heap for the first time, and what the young generation has grown to since the start is
 * given back: V8 takes no code that was compiled and kept under other settings, Node's own included, and to compile all of
 * it anew is a seventh of a start. Threads have `YOUNG_GENERATION`, which changes no setting.
 */
export function collectYoungOften(): void {
  const observer = new PerformanceObserver((list) => {
    if (!list.getEntries().some(isOfWholeHeap)) return;
    observer.disconnect();
    saveCompiledCode();
    setFlagsFromString('--semi-space-growth-factor=1');
    setFlagsFromString('--external-memory-accounted-in-global-limit');
    setFlagsFromString('--heap-growing-percent=300');
    giveBack();
  });
  observer.observe({ entryTypes: ['gc'] });
}

/**
 * For a thread's `resourceLimits`; V8 shares it among three spaces. Where contents pass through, it stays at its first size. Where
 * many small objects are made, one for each entry that is looked at, collecting it that often is a tenth of the work.
 */
export const YOUNG_GENERATION = {
  ofContents: { maxYoungGenerationSizeMb: 3 },
  ofEntries: { maxYoungGenerationSizeMb: 12 },
} as const;

function isOfWholeHeap(entry: object): boolean {
  const detail: unknown = Reflect.get(entry, 'detail');
  return (
    typeof detail === 'object' && detail !== null && Reflect.get(detail, 'kind') === constants.NODE_PERFORMANCE_GC_MAJOR
  );
}

const LOOK_MS = 10_000;
/** Of the time since the last look. */
const IDLE_SHARE = 0.005;
/** What the heap holds beyond what it kept the last time; collecting for less is not worth its 50 ms. */
const WORTHWHILE_BYTES = 16 * 2 ** 20;

/**
 * After much work V8 keeps the memory that this took, until the next allocations make it collect; where nothing happens, for
 * ever. This thread gives it back once it has had nothing to do for ten seconds: measured after a first sync of 200,000
 * files, 100 MB of 300. How much of what is held is garbage V8 knows only when it has collected. The timer keeps no thread alive.
 */
export function giveBackMemoryWhenIdle(lookMs = LOOK_MS): void {
  let keptBytes = 0;
  let before = performance.eventLoopUtilization();
  const look = (): void => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    if (utilization > IDLE_SHARE) return;
    if (getHeapStatistics().total_heap_size - keptBytes < WORTHWHILE_BYTES) return;
    if (giveBack()) keptBytes = getHeapStatistics().total_heap_size;
  };
  setInterval(look, lookMs).unref();
}

const GIVING_BACK = { type: 'major', execution: 'sync', flavor: 'last-resort' } as const;
type Collect = (options: typeof GIVING_BACK) => void;
let collect: Collect | undefined;

/** Returns whether it could be done. */
function giveBack(): boolean {
  collect ??= exposedCollector();
  collect?.(GIVING_BACK);
  return collect !== undefined;
}

/**
 * V8 gives it to contexts that are made while the flag is set; to no other. Undefined where another thread, whose flags these are
 * too, took it back in between.
 */
function exposedCollector(): Collect | undefined {
  setFlagsFromString('--expose-gc');
  const found: unknown = runInNewContext('globalThis.gc');
  setFlagsFromString('--no-expose-gc');
  return found as Collect | undefined;
}
