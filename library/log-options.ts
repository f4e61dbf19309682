/**
 * Where an embedded engine's log goes: to a function of the embedding program, or nowhere.
 */
import { createLogger, type Logger } from '../common/ops/logger.ts';
import type { LogLevel } from '../common/ops/log-levels.ts';

export interface LogOptions {
  /** Gets each line of the log, JSON with a line break at its end. Without it nothing is logged. */
  readonly log?: ((line: string) => void) | undefined;
  /** Default: info. */
  readonly logLevel?: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | undefined;
}

export function loggerOf(name: string, { log, logLevel }: LogOptions): Logger {
  const level: LogLevel = log === undefined ? 'silent' : (logLevel ?? 'info');
  return createLogger({ name, level, format: 'json', destination: { write: (line) => log?.(line) } });
}
