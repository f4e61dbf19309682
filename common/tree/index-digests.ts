/**
 * Tree digests of the index's directories: forgotten when something below changes, computed when asked for.
 * Invariant: what holds a dirty directory is dirty itself, so marking stops at the first ancestor already dirty, and
 * computing descends into dirty directories only.
 */
import type { Digest, DigestFunction } from '../content/digest.ts';
import type { IndexDatabase } from './index-database.ts';
import { DIGEST_COLUMNS, digestOfBlob, nameOfRow, treeDigestChild } from './index-rows.ts';
import { ABOVE_ROOT } from './index-schema.ts';
import { damaged, type Query } from './sqlite-query.ts';
import { TreeDigestBuilder } from './tree-digest.ts';

const PAGE_ROWS = 512;
/** How many dirty directories are remembered, to save a statement per change. */
const MAX_KNOWN_DIRTY = 16_384;

export class IndexDigests {
  readonly #builder: TreeDigestBuilder;
  readonly #clear: Query;
  readonly #select: Query;
  readonly #store: Query;
  readonly #firstDirtyChild: Query;
  readonly #children: Query;
  readonly #computed: Query;
  readonly #knownDirty = new Set<number>();

  constructor(database: IndexDatabase, digestFunction: DigestFunction) {
    this.#builder = new TreeDigestBuilder(digestFunction);
    this.#clear = database.prepare(
      'UPDATE entries SET tree_digest = NULL WHERE id = ? AND tree_digest IS NOT NULL RETURNING parent',
    );
    this.#select = database.prepare('SELECT tree_digest FROM entries WHERE id = ?');
    this.#store = database.prepare('UPDATE entries SET tree_digest = ? WHERE id = ?');
    this.#firstDirtyChild = database.prepare(
      `SELECT id FROM entries INDEXED BY subdirectories
       WHERE parent = ? AND tree_digest IS NULL AND id IS NOT NULL LIMIT 1`,
    );
    this.#children = database.prepare(
      `SELECT ${DIGEST_COLUMNS} FROM entries WHERE parent = ? AND name > ? ORDER BY name LIMIT ${PAGE_ROWS}`,
      true,
    );
    this.#computed = database.prepare(
      `SELECT id, tree_digest FROM entries INDEXED BY directories
       WHERE id > ? AND id IS NOT NULL AND tree_digest IS NOT NULL ORDER BY id LIMIT ${PAGE_ROWS}`,
    );
  }

  /** Something in this directory changed. */
  markDirty(directoryId: number): void {
    for (let id = directoryId; id !== ABOVE_ROOT; ) {
      if (this.#knownDirty.has(id)) return;
      if (this.#knownDirty.size >= MAX_KNOWN_DIRTY) this.#knownDirty.clear();
      this.#knownDirty.add(id);
      const parent = this.#clear.get(id)?.[0];
      if (typeof parent !== 'number') return;
      id = parent;
    }
  }

  /** Changes were undone: what was dirty may be clean again. */
  forgetAll(): void {
    this.#knownDirty.clear();
  }

  /** Writes what it computes; call it inside a transaction. Iterative, because trees may be deeper than the stack (E05). */
  digestOf(directoryId: number): Digest {
    const known = this.#stored(directoryId);
    if (known !== undefined) return known;
    const pending = [directoryId];
    for (;;) {
      const id = pending.at(-1) ?? directoryId;
      const dirtyChild = this.#firstDirtyChild.get(id)?.[0];
      if (typeof dirtyChild === 'number') {
        pending.push(dirtyChild);
        continue;
      }
      const digest = this.#compute(id);
      this.#store.run(digest, id);
      this.#knownDirty.delete(id);
      pending.pop();
      if (pending.length === 0) return digest;
    }
  }

  /** Holds every stored digest against the rows it was made from. @throws LockstepError INDEX_DAMAGED. */
  verify(): void {
    for (let last = 0; ; ) {
      const page = this.#computed.all(last);
      for (const [id, digest] of page) {
        last = Number(id);
        if (!this.#compute(last).equals(digestOfBlob(digest))) throw damaged('an entry of the index was altered');
      }
      if (page.length < PAGE_ROWS) return;
    }
  }

  #stored(directoryId: number): Digest | undefined {
    const digest = this.#select.get(directoryId)?.[0] ?? null;
    return digest === null ? undefined : digestOfBlob(digest);
  }

  /** All subdirectories must be clean. */
  #compute(directoryId: number): Digest {
    this.#builder.reset();
    for (let last = ''; ; ) {
      const page = this.#children.all(directoryId, last);
      for (const row of page) this.#builder.add(treeDigestChild(row));
      const final = page.at(-1);
      if (final === undefined || page.length < PAGE_ROWS) return this.#builder.finish();
      last = nameOfRow(final);
    }
  }
}
