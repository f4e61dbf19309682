/**
 * Prepared statements of node:sqlite, with rows as arrays and errors as LockstepErrors.
 * Knows no table; the only file, with index-database.ts, that touches node:sqlite.
 */
import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from 'node:sqlite';
import { LockstepError, type Reason } from '../ops/errors.ts';

export type Row = readonly SQLOutputValue[];

/** Whether a statement failed that may have left an operation half done. */
export interface WriteHealth {
  failed: boolean;
}

export class Query {
  readonly #statement: StatementSync;
  readonly #health: WriteHealth;

  constructor(db: DatabaseSync, health: WriteHealth, sql: string, bigints: boolean) {
    this.#health = health;
    try {
      this.#statement = db.prepare(sql);
    } catch (error) {
      throw this.#failure(error);
    }
    this.#statement.setReturnArrays(true);
    this.#statement.setReadBigInts(bigints);
  }

  get(...values: SQLInputValue[]): Row | undefined {
    try {
      // The types know only the form of rows as objects.
      return this.#statement.get(...values) as unknown as Row | undefined;
    } catch (error) {
      throw this.#failure(error);
    }
  }

  all(...values: SQLInputValue[]): readonly Row[] {
    try {
      return this.#statement.all(...values) as unknown as readonly Row[];
    } catch (error) {
      throw this.#failure(error);
    }
  }

  /** Returns the number of changed rows. */
  run(...values: SQLInputValue[]): number {
    try {
      return Number(this.#statement.run(...values).changes);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #failure(error: unknown): LockstepError {
    this.#health.failed = true;
    return sqliteError(error);
  }
}

/** Result codes (https://sqlite.org/rescode.html) that say nothing against the file's content. */
const REASON_OF_CODE: ReadonlyMap<number, Reason> = new Map([
  [3, 'PERMISSION_DENIED'],
  [5, 'LOCKED'],
  [6, 'LOCKED'],
  [7, 'IO'],
  [8, 'READ_ONLY'],
  [10, 'IO'],
  [13, 'NO_SPACE'],
  [14, 'IO'],
]);
const LOCKED_BY_OTHERS =
  'another process has locked the index in the state directory; end what reads or copies it (sqlite3, a backup), and try again';
const CORRUPT = 11;
const NOT_A_DATABASE = 26;

/** What SQLite threw, as the house's error. */
export function sqliteError(error: unknown): LockstepError {
  if (error instanceof LockstepError) return error;
  const code = resultCodeOf(error);
  if (code === CORRUPT || code === NOT_A_DATABASE) return damaged('the index is damaged', error);
  const reason = (code === undefined ? undefined : REASON_OF_CODE.get(code)) ?? 'INTERNAL';
  // SQLite's own words say less than that, and would stand behind it.
  if (reason === 'LOCKED') return new LockstepError(reason, LOCKED_BY_OTHERS);
  return new LockstepError(reason, `the index cannot be used: ${messageOf(error)}`, { cause: error });
}

export function damaged(message: string, cause?: unknown): LockstepError {
  return new LockstepError('INDEX_DAMAGED', `${message}; it must be rebuilt from the tree`, { cause });
}

function resultCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return undefined;
  return error.errcode & 0xff;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
