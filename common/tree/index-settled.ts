/**
 * Directories in which nothing differed when they were last looked through. Whoever sees the same again need not read their rows.
 * The index itself forgets it as soon as a row of theirs changes (index-schema.ts).
 */
import type { IndexDatabase } from './index-database.ts';
import type { Query } from './sqlite-query.ts';

export class IndexSettled {
  readonly #select: Query;
  readonly #store: Query;

  constructor(database: IndexDatabase) {
    this.#select = database.prepare(
      'SELECT look FROM settled WHERE directory = (SELECT id FROM entries WHERE parent = ? AND name = ?)',
    );
    this.#store = database.prepare('INSERT INTO settled VALUES (?, ?) ON CONFLICT DO UPDATE SET look = excluded.look');
  }

  /** Of the directory `name` in the one with this id. */
  lookOf(parentId: number, name: string): string | undefined {
    const look = this.#select.get(parentId, name)?.[0];
    return typeof look === 'string' ? look : undefined;
  }

  settle(directoryId: number, look: string): void {
    this.#store.run(directoryId, look);
  }
}
