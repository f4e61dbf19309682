/**
 * The status page's live connection: server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)
 * to a bounded number of viewers. Sampling begins with the first viewer and ends with the last, so that a server at
 * which nobody looks does nothing. Who does not read is dropped; a browser connects again by itself.
 */
import type { ServerResponse } from 'node:http';
import { type AnsweredBatch, shownPath } from '../rpc/folder-traffic.ts';
import type { Viewer } from './door.ts';
import type { ServerStatus } from './server-status.ts';

export interface LiveFeedOptions {
  readonly status: (viewer: Viewer) => ServerStatus;
  /** Tells of each batch of each folder from now on. @returns a function that ends it */
  readonly subscribe: (listener: (batch: AnsweredBatch) => void) => () => void;
  readonly bounds?: Partial<LiveFeedBounds> | undefined;
}

export interface LiveFeedBounds {
  readonly maxViewers: number;
  /** A sample is sent this often; it is the heartbeat as well. */
  readonly sampleMs: number;
  /** Changes are gathered for so long. */
  readonly gatherMs: number;
  /** What may wait for one viewer. */
  readonly maxQueuedBytes: number;
  /** A viewer who takes nothing for so long is gone. */
  readonly stallMs: number;
}

/** One sample, for one viewer. */
export interface LiveSample {
  readonly timeMs: number;
  readonly status: ServerStatus;
  /** From a batch's arrival to its answer, since the last sample; null when there was none. */
  readonly latencyMs: { readonly p50: number; readonly p99: number } | null;
}

/** What was applied since the last such message. */
export interface LiveChanges {
  readonly changes: readonly LiveChange[];
  /** So many more were applied than are listed. */
  readonly omitted: number;
}

export interface LiveChange {
  readonly timeMs: number;
  readonly folder: string;
  readonly revision: string;
  readonly operation: string;
  /** Null when the viewer may not see names, or the batch came before he did. */
  readonly path: string | null;
  readonly from: string | null;
  readonly sizeBytes: number | null;
}

const BOUNDS: LiveFeedBounds = {
  maxViewers: 16,
  sampleMs: 1000,
  gatherMs: 250,
  maxQueuedBytes: 256 * 1024,
  stallMs: 30_000,
};
/** Of one message. */
const MAX_CHANGES = 40;
const MAX_DURATIONS = 4096;
const RECONNECT_MS = 3000;

type Duration = Pick<AnsweredBatch, 'folder' | 'durationMs'>;

interface Seat {
  readonly viewer: Viewer;
  readonly response: ServerResponse;
  readonly stopWatching: () => void;
  stalledSinceMs: number | undefined;
}

export class LiveFeed {
  readonly #options: LiveFeedOptions;
  readonly #bounds: LiveFeedBounds;
  readonly #seats = new Set<Seat>();
  #durations: Duration[] = [];
  #gathered: { readonly timeMs: number; readonly batch: AnsweredBatch }[] = [];
  #gatheredChanges = 0;
  #omitted = new Map<string, number>();
  #sampling: NodeJS.Timeout | undefined;
  #gathering: NodeJS.Timeout | undefined;
  #unsubscribe = () => {};

  constructor(options: LiveFeedOptions) {
    this.#options = options;
    this.#bounds = { ...BOUNDS, ...options.bounds };
  }

  get viewers(): number {
    return this.#seats.size;
  }

  /** Takes the response over, with its headers unsent. @returns false when all seats are taken */
  open(response: ServerResponse, viewer: Viewer, headers: Readonly<Record<string, string>>): boolean {
    if (this.#seats.size >= this.#bounds.maxViewers) return false;
    const seat: Seat = {
      viewer,
      response,
      stopWatching: viewer.onRevoked(() => this.#leave(seat)),
      stalledSinceMs: undefined,
    };
    response.on('close', () => this.#leave(seat));
    response.on('error', () => this.#leave(seat));
    response.on('drain', () => {
      seat.stalledSinceMs = undefined;
    });
    response.writeHead(200, { ...headers, 'content-type': 'text/event-stream' });
    response.write(`retry: ${RECONNECT_MS}\n\n`);
    this.#seats.add(seat);
    if (this.#seats.size === 1) this.#start();
    this.#send(seat, 'sample', this.#sampleFor(viewer, []));
    return true;
  }

  close(): void {
    for (const seat of [...this.#seats]) this.#leave(seat);
  }

  #start(): void {
    this.#unsubscribe = this.#options.subscribe((batch) => this.#take(batch));
    this.#sampling = setInterval(() => this.#sample(), this.#bounds.sampleMs).unref();
  }

  #stop(): void {
    this.#unsubscribe();
    clearInterval(this.#sampling);
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    this.#durations = [];
    this.#forget();
  }

  #leave(seat: Seat): void {
    if (!this.#seats.delete(seat)) return;
    seat.stopWatching();
    seat.response.destroy();
    if (this.#seats.size === 0) this.#stop();
  }

  #take(batch: AnsweredBatch): void {
    const { folder, durationMs, changes } = batch;
    if (this.#durations.length < MAX_DURATIONS) this.#durations.push({ folder, durationMs });
    if (changes.length === 0) return;
    const room = MAX_CHANGES - this.#gatheredChanges;
    // The newest are of most use, but what has been gathered is shown first anyway.
    const kept = changes.slice(0, Math.max(0, room));
    this.#gatheredChanges += kept.length;
    if (kept.length > 0) this.#gathered.push({ timeMs: Date.now(), batch: { ...batch, changes: kept } });
    const omitted = changes.length - kept.length;
    if (omitted > 0) this.#omitted.set(folder, (this.#omitted.get(folder) ?? 0) + omitted);
    this.#gathering ??= setTimeout(() => this.#tellChanges(), this.#bounds.gatherMs).unref();
  }

  #tellChanges(): void {
    this.#gathering = undefined;
    for (const seat of [...this.#seats]) this.#send(seat, 'changes', this.#changesFor(seat.viewer));
    this.#forget();
  }

  #changesFor(viewer: Viewer): LiveChanges {
    const seen = this.#gathered.filter(({ batch }) => viewer.maySee(batch.folder));
    const changes = seen.flatMap(({ timeMs, batch }) =>
      batch.changes.map(({ operation, path, from, sizeBytes }) => ({
        timeMs,
        folder: batch.folder,
        revision: String(batch.revision),
        operation,
        path: viewer.seesNames ? (shownPath(path) ?? null) : null,
        from: viewer.seesNames && from !== undefined ? (shownPath(from) ?? null) : null,
        sizeBytes: sizeBytes ?? null,
      })),
    );
    let omitted = 0;
    for (const [folder, count] of this.#omitted) if (viewer.maySee(folder)) omitted += count;
    return { changes, omitted };
  }

  #sample(): void {
    const durations = this.#durations;
    this.#durations = [];
    for (const seat of [...this.#seats]) this.#send(seat, 'sample', this.#sampleFor(seat.viewer, durations));
  }

  #sampleFor(viewer: Viewer, durations: readonly Duration[]): LiveSample {
    const seen = durations.filter(({ folder }) => viewer.maySee(folder)).map(({ durationMs }) => durationMs);
    return { timeMs: Date.now(), status: this.#options.status(viewer), latencyMs: latencyOf(seen) };
  }

  #send(seat: Seat, event: 'sample' | 'changes', data: LiveSample | LiveChanges): void {
    const { response } = seat;
    const nowMs = performance.now();
    const { maxQueuedBytes, stallMs } = this.#bounds;
    const isStalled = seat.stalledSinceMs !== undefined && nowMs - seat.stalledSinceMs > stallMs;
    if (isStalled || response.writableLength > maxQueuedBytes) this.#leave(seat);
    // JSON has no line ends of its own: one line of data is one message.
    else if (!response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)) seat.stalledSinceMs ??= nowMs;
  }

  #forget(): void {
    this.#gathered = [];
    this.#gatheredChanges = 0;
    this.#omitted = new Map();
  }
}

function latencyOf(durationsMs: readonly number[]): LiveSample['latencyMs'] {
  if (durationsMs.length === 0) return null;
  const sorted = durationsMs.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  return { p50: round(at(0.5)), p99: round(at(0.99)) };
}

function round(milliseconds: number): number {
  return Math.round(milliseconds * 100) / 100;
}
