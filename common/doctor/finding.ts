/**
 * What a doctor found: one line a thing, each with a remedy where something is to be done. Pure.
 */
import { ExitCode } from '../ops/errors.ts';

export const LEVELS = ['ok', 'warn', 'fail'] as const;
export type Level = (typeof LEVELS)[number];

export interface Finding {
  /** What was looked at, in a word or two that stay the same: programs compare them. */
  readonly check: string;
  readonly level: Level;
  /** What was found, without a full stop. */
  readonly message: string;
  /** What to do; only where it is not ok. */
  readonly remedy?: string | undefined;
}

/** 0 unless something fails; a warning does not keep anything from working. */
export function exitCodeOfFindings(findings: readonly Finding[]): ExitCode {
  return findings.some(({ level }) => level === 'fail') ? ExitCode.SOME_FAILED : ExitCode.OK;
}

/** Lines for people, with a line break at the end; for programs one JSON object. */
export function printedFindings(findings: readonly Finding[], asJson: boolean): string {
  if (asJson) {
    const counts = Object.fromEntries(
      LEVELS.map((name) => [name, findings.filter(({ level }) => level === name).length]),
    );
    return `${JSON.stringify({ ...counts, findings })}\n`;
  }
  const width = Math.max(0, ...findings.map(({ check }) => check.length));
  return findings
    .map(({ check, level, message, remedy }) => {
      const line = `${level.padEnd(4)}  ${check.padEnd(width)}  ${message}\n`;
      return remedy === undefined || level === 'ok' ? line : `${line}${' '.repeat(width + 8)}${remedy}\n`;
    })
    .join('');
}
