/**
 * One log line per acknowledged change, as long as people can read them: beyond a rate that no eye follows, changes are
 * counted and summed up, so that a first sync does not write a line per file.
 */
import { type Logger, logChange } from '../../../common/ops/logger.ts';
import { formatBytes } from '../../../common/ops/units.ts';
import { displayPath } from '../../../common/tree/tree-path.ts';
import type { AcknowledgedChange } from '../engine/messages.ts';
import { type PackedChanges, unpackChanges } from '../engine/packed-changes.ts';

/** Lines at once, and lines per second after that. */
const BURST = 200;
const LINES_PER_SECOND = 50;
const SUMMARY_MS = 1_000;

export class ChangeLog {
  readonly #logger: Logger;
  readonly #now: () => number;
  #budget = BURST;
  #filledMs: number;
  #skipped = 0;
  #skippedBytes = 0;
  #skippedRevision = 0n;
  #timer: NodeJS.Timeout | undefined;

  /** `now` is monotonic, in milliseconds. */
  constructor(logger: Logger, now: () => number = () => performance.now()) {
    this.#logger = logger;
    this.#now = now;
    this.#filledMs = now();
  }

  write(changes: PackedChanges): void {
    if (!this.#logger.isLevelEnabled('info')) return;
    const lines = this.#logger.isLevelEnabled('debug') ? changes.count : this.#affordable(changes.count);
    let { count, contentBytes } = changes;
    if (lines > 0) {
      for (const change of unpackChanges(changes)) {
        this.#writeLine(change);
        contentBytes -= change.contentBytes;
        if (changes.count - --count >= lines) break;
      }
    }
    if (count > 0) this.#skip(count, contentBytes, changes.revision);
  }

  #writeLine(change: AcknowledgedChange): void {
    logChange(this.#logger, {
      op: change.operation,
      path: shownPaths(change),
      revision: change.revision,
      bytes: change.operation === 'put' ? change.contentBytes : undefined,
      ms: Math.round(change.milliseconds * 10) / 10,
    });
  }

  /** Writes what is still only counted. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#skipped === 0) return;
    const { bytes, count } = { bytes: this.#skippedBytes, count: this.#skipped };
    this.#logger.info(
      { changes: count, revision: this.#skippedRevision, bytes },
      `… and ${count} more changes, ${formatBytes(bytes)}`,
    );
    this.#skipped = 0;
    this.#skippedBytes = 0;
  }

  /** How many of so many lines may be written. */
  #affordable(wanted: number): number {
    const nowMs = this.#now();
    this.#budget = Math.min(BURST, this.#budget + ((nowMs - this.#filledMs) * LINES_PER_SECOND) / 1000);
    this.#filledMs = nowMs;
    const lines = Math.min(wanted, Math.floor(this.#budget));
    this.#budget -= lines;
    return lines;
  }

  #skip(count: number, contentBytes: number, revision: bigint): void {
    this.#skipped += count;
    this.#skippedBytes += contentBytes;
    this.#skippedRevision = revision;
    this.#timer ??= setTimeout(() => this.close(), SUMMARY_MS).unref();
  }
}

/** A move as `from -> to`, a hard link as rsync shows it: `name => other name`. */
export function shownPaths({ operation, path, from }: Pick<AcknowledgedChange, 'operation' | 'path' | 'from'>): string {
  if (from === undefined) return displayPath(path);
  return operation === 'link'
    ? `${displayPath(path)} => ${displayPath(from)}`
    : `${displayPath(from)} -> ${displayPath(path)}`;
}
