/**
 * What the replica says to people. The applier and the content worker run in threads of their own, where no logger
 * can be handed over; pino's `Logger` fits this shape, and so does the one that posts lines to the main thread.
 */
export interface ReplicaLog {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void;
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}
