/**
 * The open database under a tree index: transactions, durability, counters, meta values.
 * Knows the tables' existence, not what an entry is; index-file.ts creates and opens it.
 */
import type { DatabaseSync } from 'node:sqlite';
import { LockstepError } from '../ops/errors.ts';
import { FIRST_FREE_ID } from './index-schema.ts';
import { damaged, Query, sqliteError, type WriteHealth } from './sqlite-query.ts';

/** What would cost a scan to find out, kept beside the entries. */
export interface IndexCounters {
  /** Without the root. */
  entries: number;
  /** Total size of the files. Sparse files may lead beyond 2^53, where it is no longer exact. */
  bytes: number;
  /** For the next directory. */
  nextId: number;
}

export class IndexDatabase {
  readonly counters: IndexCounters = { entries: 0, bytes: 0, nextId: FIRST_FREE_ID };
  /** Called when changes were undone: whatever was cached about them is void. */
  onUndo: () => void = () => undefined;
  readonly #db: DatabaseSync;
  readonly #health: WriteHealth = { failed: false };
  #saved: Readonly<IndexCounters> = { ...this.counters };
  #inTransaction = false;
  #savepoints = 0;
  readonly #prepared = new Map<string, Query>();

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  loadCounters(): void {
    const [entries, bytes, nextId] = this.#query('SELECT entries, bytes, next_id FROM counters').get() ?? [];
    if (typeof entries !== 'number' || typeof bytes !== 'number' || typeof nextId !== 'number') {
      throw damaged('the index has no counters');
    }
    Object.assign(this.counters, { entries, bytes, nextId });
    this.#saved = { entries, bytes, nextId };
  }

  /** `bigints`: integers come back as bigint, needed wherever a time or an inode is read. */
  prepare(sql: string, bigints = false): Query {
    return new Query(this.#db, this.#health, sql, bigints);
  }

  /** For the few statements of this file: prepared at first use, when the tables are there. */
  #query(sql: string): Query {
    let query = this.#prepared.get(sql);
    if (query === undefined) {
      query = this.prepare(sql);
      this.#prepared.set(sql, query);
    }
    return query;
  }

  getMeta(key: string): string | undefined {
    const value = this.#query('SELECT value FROM meta WHERE key = ?').get(key)?.[0];
    return typeof value === 'string' ? value : undefined;
  }

  /** Those whose keys begin with `prefix` (ASCII, not empty), by what follows it. */
  allMeta(prefix: string): ReadonlyMap<string, string> {
    const rows = this.#query('SELECT key, value FROM meta WHERE key >= ? AND key < ?').all(
      prefix,
      `${prefix}\u{10ffff}`,
    );
    return new Map(rows.map(([key, value]) => [String(key).slice(prefix.length), String(value)]));
  }

  setMeta(key: string, value: string): void {
    this.#query('INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value').run(key, value);
  }

  get inTransaction(): boolean {
    return this.#inTransaction;
  }

  /** All of `fn` or nothing of it. Inside another transaction, an error undoes only what `fn` did. */
  transaction<T>(fn: () => T): T {
    if (this.#inTransaction) return this.#nested(fn);
    this.begin();
    try {
      const result = fn();
      this.commit();
      return result;
    } catch (error) {
      this.rollback();
      throw error;
    }
  }

  #nested<T>(fn: () => T): T {
    const before = { ...this.counters };
    const failedBefore = this.#health.failed;
    const savepoint = `s${++this.#savepoints}`;
    this.exec(`SAVEPOINT ${savepoint}`);
    try {
      const result = fn();
      this.exec(`RELEASE ${savepoint}`);
      return result;
    } catch (error) {
      // A full disk can make SQLite undo everything on its own; then the outer transaction fails at its commit.
      if (this.#db.isTransaction) {
        this.exec(`ROLLBACK TO ${savepoint}; RELEASE ${savepoint}`);
        this.#health.failed = failedBefore;
      }
      Object.assign(this.counters, before);
      this.onUndo();
      throw error;
    } finally {
      this.#savepoints--;
    }
  }

  begin(): void {
    if (this.#inTransaction) throw new LockstepError('INTERNAL', 'a transaction of the index was begun inside another');
    this.exec('BEGIN IMMEDIATE');
    this.#inTransaction = true;
    this.#health.failed = false;
  }

  /**
   * When it throws, nothing is kept; `rollback` ends what is left of the transaction.
   * @throws LockstepError INTERNAL when a statement failed since `begin`, so that an operation may be half done.
   */
  commit(): void {
    if (this.#health.failed || !this.#db.isTransaction) {
      this.rollback();
      throw new LockstepError('INTERNAL', 'a transaction of the index failed and cannot be committed');
    }
    const { entries, bytes, nextId } = this.counters;
    const saved = this.#saved;
    if (entries !== saved.entries || bytes !== saved.bytes || nextId !== saved.nextId) {
      this.#query('UPDATE counters SET entries = ?, bytes = ?, next_id = ?').run(entries, bytes, nextId);
    }
    this.exec('COMMIT');
    this.#saved = { entries, bytes, nextId };
    this.#inTransaction = false;
  }

  /** Undoes everything since `begin`; without a transaction it does nothing. */
  rollback(): void {
    if (!this.#inTransaction) return;
    if (this.#db.isTransaction) this.exec('ROLLBACK');
    this.#inTransaction = false;
    this.#health.failed = false;
    Object.assign(this.counters, this.#saved);
    this.onUndo();
  }

  /**
   * Makes all that was committed certain to survive a power cut, and the write-ahead log short. With
   * synchronous=NORMAL a checkpoint syncs the log before and the database after copying (sqlite.org/wal.html).
   * When a reader is in the way, the log alone is synced, by a commit with synchronous=FULL.
   */
  checkpoint(): void {
    const isBlocked = this.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get()?.[0] !== 0;
    if (!isBlocked) return;
    this.exec('PRAGMA synchronous = FULL');
    try {
      this.transaction(() => this.prepare('UPDATE counters SET only = 1').run());
    } finally {
      this.exec('PRAGMA synchronous = NORMAL');
    }
  }

  close(): void {
    if (!this.#db.isOpen) return;
    this.rollback();
    this.#db.close();
  }

  /** Statements without values and without results. */
  exec(sql: string): void {
    try {
      this.#db.exec(sql);
    } catch (error) {
      throw sqliteError(error);
    }
  }
}
