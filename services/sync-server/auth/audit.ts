/**
 * What the server tells its audit logs, one log for each folder. What concerns no folder that exists goes to the first.
 * Failed attempts are bounded in rate, so that strangers cannot fill the disk; how many were left out is told by the next
 * line. A log that cannot be written is reported and does not stop the service.
 */
import type { Logger } from '../../../common/ops/logger.ts';
import { AttemptLimiter } from './attempt-limiter.ts';
import { type AuditEvent, AuditLog } from './audit-log.ts';

/** Failures that are written at once, and how long until one more is: about 2 MB a day under a lasting attack. */
const FAILURES_AT_ONCE = 100;
const FAILURE_REFILL_MS = 10_000;

export interface AuditedFolder {
  readonly name: string;
  readonly stateDirectory: string;
}

export class Audit {
  readonly #logs: ReadonlyMap<string, AuditLog>;
  readonly #logger: Logger;
  readonly #failures: AttemptLimiter;
  /** By folder: failures since the last one that was written. */
  readonly #leftOut = new Map<string, number>();

  constructor(folders: readonly AuditedFolder[], logger: Logger) {
    this.#logs = new Map(folders.map(({ name, stateDirectory }) => [name, new AuditLog(stateDirectory)]));
    this.#logger = logger;
    const limits = { burst: FAILURES_AT_ONCE, refillMs: FAILURE_REFILL_MS, maxAddresses: folders.length + 1 };
    this.#failures = new AttemptLimiter(limits);
  }

  /** Something that a caller with credentials, or the operator, did. */
  record(event: AuditEvent): void {
    const log = this.#logs.get(event.folder) ?? this.#logs.values().next().value;
    try {
      log?.append(event);
    } catch (error) {
      this.#logger.error({ err: error, folder: event.folder, what: event.what }, 'cannot write the audit log');
    }
  }

  /**
   * Something that was refused, and that anyone can bring about as often as he likes. Who may not know whether the folder exists
   * has one budget for all names: else a name that is written down, where others are not any more, would show by its time (S19).
   */
  recordFailure(event: AuditEvent): void {
    const isStranger = event.what === 'authentication-failed' || event.result === 'FOLDER_NOT_FOUND';
    const key = !isStranger && this.#logs.has(event.folder) ? event.folder : '';
    const leftOut = this.#leftOut.get(key) ?? 0;
    if (!this.#failures.tryTake(key)) {
      this.#leftOut.set(key, leftOut + 1);
      return;
    }
    this.#leftOut.delete(key);
    this.record(leftOut === 0 ? event : { ...event, details: { ...event.details, leftOut: String(leftOut) } });
  }

  close(): void {
    for (const log of this.#logs.values()) log.close();
  }
}
