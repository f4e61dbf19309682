/**
 * Reads a whole replica now and then, slowly, and repairs what it finds (E98): a disk that loses bits says nothing of it,
 * and a file that nobody reads would be wrong for ever. Knows only how to ask for a verification.
 */
import { sleep } from '../../../common/ops/async.ts';
import { describeError } from '../../../common/ops/errors.ts';
import type { ScrubCounts, VerifyItem } from './replica.ts';
import type { ReplicaLog } from './replica-log.ts';

/** So soon after the start at the earliest: a restart has enough to do. */
const MAX_FIRST_DELAY_MS = 3_600_000;

export interface ScrubSettings {
  /** Between the end of a pass and the next one. */
  readonly intervalMs: number;
  /** Contents are read no faster, on average. */
  readonly bytesPerSecond: number;
}

export interface ScrubOptions extends ScrubSettings {
  /** Verifies everything, at the rate of the settings, and repairs. */
  readonly verify: (signal: AbortSignal) => AsyncIterable<VerifyItem>;
  readonly logger: ReplicaLog;
}

export class Scrub {
  readonly #options: ScrubOptions;
  readonly #stop = new AbortController();
  #reading: ScrubCounts['reading'];
  #counts: ScrubCounts = { passes: 0, entries: 0, contentBytes: 0, mismatches: 0 };

  /** Begins at once to wait for the first pass. */
  constructor(options: ScrubOptions) {
    this.#options = options;
    void this.#run();
  }

  /** Since the start. */
  get counts(): ScrubCounts {
    return this.#reading === undefined ? this.#counts : { ...this.#counts, reading: this.#reading };
  }

  stop(): void {
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    const { intervalMs, logger } = this.#options;
    const { signal } = this.#stop;
    for (let pauseMs = Math.min(intervalMs, MAX_FIRST_DELAY_MS); !signal.aborted; pauseMs = intervalMs) {
      try {
        await sleep(pauseMs, signal);
        this.#reading = { entries: 0, contentBytes: 0 };
        await this.#pass();
      } catch (error) {
        // Ended by `stop`, or the replica cannot be read now: then the next pass tries again.
        if (!signal.aborted) logger.error({ error: describeError(error) }, 'a scrub could not be finished');
      } finally {
        this.#reading = undefined;
      }
    }
  }

  async #pass(): Promise<void> {
    const { verify, logger } = this.#options;
    const before = this.#counts;
    for await (const item of verify(this.#stop.signal)) {
      switch (item.type) {
        case 'mismatch':
          this.#counts = { ...this.#counts, mismatches: this.#counts.mismatches + 1 };
          logger.warn({ kind: item.kind }, `a scrub found that ${item.message}`);
          break;
        case 'progress':
        case 'summary': {
          const { mismatches, passes } = this.#counts;
          const entries = before.entries + item.counts.entries;
          const contentBytes = before.contentBytes + item.counts.contentBytes;
          const { entries: passEntries, contentBytes: passBytes } = item.counts;
          this.#counts = { passes, entries, contentBytes, mismatches };
          this.#reading = { entries: passEntries, contentBytes: passBytes };
        }
      }
    }
    if (this.#stop.signal.aborted) return;
    this.#counts = { ...this.#counts, passes: before.passes + 1 };
    const { entries, contentBytes, mismatches } = this.#counts;
    const found = {
      entries: entries - before.entries,
      bytes: contentBytes - before.contentBytes,
      mismatches: mismatches - before.mismatches,
    };
    logger.info(found, 'scrubbed the replica');
  }
}
